# SPDX-License-Identifier: Apache-2.0
"""Where do records lie, and how does one get there whole or not at all?"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol

import msgspec

from strongroom._place import LOCAL, Where, as_place
from strongroom.errors import PermanentStorageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

__all__ = ["Entry", "Storage", "check_key", "is_key", "open_storage"]

_MAX_PART = 200
# Nearly all keys are of this kind, which is told in one step.
_PLAIN = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,199}(/[A-Za-z0-9_-][A-Za-z0-9_.-]{0,199})*")


class Entry(msgspec.Struct, frozen=True):
    """What a storage says of something in it, without opening it. None of that is authenticated."""

    key: str
    size: int
    """In bytes."""
    modified: int | None
    """When it was written by the storage's clock, in microseconds since 1970-01-01 UTC; None if it does not say."""


class Storage(Protocol):
    """A folder of records, under keys such as ``runs/1f0c.../9a3e...``."""

    @property
    def url(self) -> str:
        """What `open_storage` takes to open this storage again; never with credentials."""
        ...

    @property
    def at_once(self) -> int:
        """How many records are read at once in less time than one after the other, at most."""
        ...

    def locate(self, key: str) -> str:
        """The place of *key* as a person would look it up."""
        ...

    def create(self, key: str) -> AbstractContextManager[BinaryIO]:
        """A file whose bytes lie under *key* once the block ends, replacing what was there, durably.

        If the block raises, or the process dies, *key* is as it was: never half of one and half of the other. If only
        the last step fails, which makes the new name durable, an error is raised although the new bytes are in place.
        """
        ...

    def open(self, key: str) -> tuple[BinaryIO, int]:
        """The bytes under *key*, and how many they are.

        Raises:
            NotFoundError: there are none.
        """
        ...

    def exists(self, key: str) -> bool:
        """True if something lies under *key*."""
        ...

    def walk(self, prefix: str = "") -> Iterator[Entry]:
        """All that lies in the folder *prefix* and in the folders below it, in no order; without leftovers.

        What is written or deleted meanwhile may be seen or not.
        """
        ...

    def delete(self, key: str) -> None:
        """See to it that nothing lies under *key*, whether or not something did. Folders may stay behind, empty."""
        ...

    def leftovers(self) -> Iterator[Entry]:
        """The temporary files of writers that died, and of those that are at it right now; only age tells them apart.

        Their keys are for `discard` only.
        """
        ...

    def discard(self, leftover: Entry) -> None:
        """Delete what `leftovers` found, unless it is gone by now."""
        ...


def check_key(key: str) -> str:
    """*key*, if it stays inside its storage and is a name on every system.

    Raises:
        PermanentStorageError: it does not.
    """
    if not isinstance(key, str):
        raise PermanentStorageError(f"a {type(key).__qualname__}", "the key of a record is a text")
    if _PLAIN.fullmatch(key):
        return key
    for part in key.split("/"):
        # Printable first: what is not, such as half a surrogate, cannot even be measured.
        if not part.isprintable() or any(character in '\\:*?"<>|%#;' for character in part):
            raise PermanentStorageError(key, 'a key has no control characters and none of \\ : * ? " < > | % # ;')
        if not part or part.startswith(".") or len(part.encode()) > _MAX_PART:
            raise PermanentStorageError(key, "each part of a key has 1 to 200 bytes and does not begin with a dot")
    return key


def is_key(text: str) -> bool:
    """True if *text* may be a key: what else lies in a storage was put there by somebody else."""
    try:
        check_key(text)
    except PermanentStorageError:
        return False
    return True


def open_storage(where: Where) -> Storage:
    """The storage at a place; a connection is made when it is first needed.

    Raises:
        SettingsError: there is no such kind of storage, or the URL holds a password.
    """
    from urllib.parse import urlsplit  # as in `_place`

    place = as_place(where)
    scheme = "" if place.filesystem is not None else urlsplit(place.url).scheme
    if place.filesystem is None and (scheme in LOCAL or isinstance(where, Path)):
        from strongroom._local_storage import LocalStorage  # only what is used is imported

        return LocalStorage(Path(_folder(place.url) if scheme in LOCAL - {""} else place.url).expanduser())
    from strongroom._remote_storage import RemoteStorage  # fsspec is slow to import

    return RemoteStorage(place)


def _folder(url: str) -> str:
    """The folder that a ``file:`` URL names, which has %20 where the folder has a space."""
    from urllib.parse import unquote, urlsplit

    return unquote(urlsplit(url).path)
