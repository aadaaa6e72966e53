# SPDX-License-Identifier: Apache-2.0
"""How do keys lie in a file, and how are they changed so that none is ever lost?"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from strongroom._fsync import fsync
from strongroom._key_text import KeyText, plain, revealed, written
from strongroom._keys import Key
from strongroom.abc import KeySource
from strongroom.errors import KeyringError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from strongroom._key_text import Entries
    from strongroom._keys import KeySet

__all__ = ["KeyFile"]

_LEFT = ("heads.d", "logs", "outbox")


@dataclass(frozen=True)
class KeyFile(KeySource):
    """Keys in a file of their owner's, closed to everybody else.

    A subclass may keep something else in it than the secrets, such as secrets that a key service has wrapped.
    """

    path: Path

    id = "file"
    heading: ClassVar[str] = (
        "The keys of this project. Whoever has them can open everything; without them nothing can be opened."
    )
    """The first line of the file, for whoever finds it."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", Path(self.path).absolute())

    def __reduce__(self) -> tuple[object, ...]:
        # As text: a path object is pickled part by part, and takes three times as long.
        return type(self), (str(self.path),)

    @property
    def place(self) -> str:
        return f"{self.id} {self.path}"

    def load(self) -> KeySet:
        try:
            return self._read().keys(self.reveal)
        except FileNotFoundError:
            # A new one would be of no use: it could open nothing.
            raise KeyringError(f"{self._what} is gone; restore it from a backup") from None

    @property
    def is_missed(self) -> bool:
        """True if it is not there, although a run has left something beside it, which it does only with keys."""
        home = self.path.parent
        was_used = any((home / name).exists() for name in _LEFT) or any((home / "results").glob("*/*"))
        # In this order: another process may make the keyring just now, and then leave something.
        return was_used and not self.path.exists()

    def create(self) -> None:
        if self.path.exists():
            return
        if self.is_missed:
            # Once the right one is back, what was sealed with a new one could not be opened any more.
            raise KeyringError(
                f"{self._what} is gone, and what lies beside it cannot be read without it; restore it from a backup, "
                "or choose another home"
            )
        self._write(*self.first(), replace=False)

    def stamp(self) -> object:
        try:
            status = self.path.stat()
        except OSError:
            return None
        return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns

    def add(self) -> str:
        """Make a key that opens and does not seal yet, durably; returns its id."""
        key, entry = self.generate()
        with self._alone():
            found = self._read()
            self._write(found.primary, {**found.entries, key.id: entry})
        return key.id

    def promote(self, key_id: str) -> None:
        """Let the key *key_id* seal from now on, durably; the one that did goes on opening.

        Raises:
            KeyringError: there is no such key.
        """
        with self._alone():
            found = self._read()
            self._check(key_id, found.entries)
            self._write(key_id, found.entries)

    def remove(self, key_id: str) -> None:
        """Forget the key *key_id*, durably; nothing that it sealed opens from now on.

        Raises:
            KeyringError: there is no such key, or it is the one that seals.
        """
        with self._alone():
            found = self._read()
            self._check(key_id, found.entries)
            if key_id == found.primary:
                raise KeyringError(f"the key {key_id!r} seals; let another one do that first: `strongroom keys rotate`")
            self._write(found.primary, {id_: entry for id_, entry in found.entries.items() if id_ != key_id})

    def first(self) -> tuple[str, Mapping[str, Mapping[str, object]]]:
        """What is written into a new file: the id of the key that seals, and the entry of each key."""
        key, entry = self.generate()
        return key.id, {key.id: entry}

    def generate(self) -> tuple[Key, Mapping[str, object]]:
        """A new key, and what is written into the file of it."""
        key = Key.generate()
        return key, plain(key)

    def reveal(self, key_id: str, entry: Mapping[str, object]) -> bytes:
        """The secret of the key *key_id*, which *entry* was written for.

        Raises:
            ValueError: the entry is not one that `generate` gave.
            KeyringError: its secret cannot be had.
        """
        return revealed(key_id, entry)

    @property
    def _what(self) -> str:
        return f"the keyring {str(self.path)!r}"

    def _check(self, key_id: str, entries: Entries) -> None:
        if key_id not in entries:
            raise KeyringError(f"{self._what} has no key {key_id!r}")

    def _read(self) -> KeyText:
        try:
            with self.path.open("rb") as file:
                _check_permissions(self.path, os.fstat(file.fileno()))
                data = file.read()
        except FileNotFoundError:
            raise
        except OSError as exc:
            raise KeyringError(f"{self._what} cannot be read: {exc.strerror}") from exc
        return KeyText.read(data, self._what, "restore it from a backup")

    def _write(self, primary: str, entries: Entries, *, replace: bool = True) -> None:
        """Write the file, whole or not at all; if it is not to be replaced, the first of two writers wins."""
        path = self.path
        temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.tmp")
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                with os.fdopen(descriptor, "w", encoding="ascii") as file:
                    file.write(written(self.heading, primary, entries))
                    file.flush()
                    os.fsync(file.fileno())
                if replace:
                    temporary.replace(path)
                else:
                    # A link fails where a rename would replace: somebody else's new keyring may already be in use.
                    with contextlib.suppress(FileExistsError):
                        os.link(temporary, path)
                # Its name, and that of its folder: results that outlive a power cut need their key.
                for each in (path.parent, path.parent.parent):
                    fsync(each)
            finally:
                temporary.unlink(missing_ok=True)
        except OSError as exc:
            raise KeyringError(f"{self._what} cannot be made: {exc.strerror}") from exc

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Nobody else changes the file meanwhile: of two who read it and write it, one would lose the other's key."""
        try:
            descriptor = os.open(self.path.parent, os.O_RDONLY)
        except OSError as exc:
            raise KeyringError(f"{self._what} cannot be changed: {exc.strerror}") from exc
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        except FileNotFoundError:
            raise KeyringError(f"{self._what} is gone; restore it from a backup") from None
        finally:
            os.close(descriptor)


def _check_permissions(path: Path, status: os.stat_result) -> None:
    if stat.S_IMODE(status.st_mode) & 0o077:
        raise KeyringError(f"others may read the keyring {str(path)!r}; close it: chmod 600 {str(path)!r}")
    if status.st_uid not in {os.geteuid(), 0}:
        raise KeyringError(f"the keyring {str(path)!r} belongs to another user; copy it and set STRONGROOM_HOME")
