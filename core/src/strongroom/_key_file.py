# SPDX-License-Identifier: Apache-2.0
"""How do keys lie in a file, and how are they changed so that none is ever lost?"""

from __future__ import annotations

import base64
import binascii
import contextlib
import fcntl
import os
import stat
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from strongroom._keys import Key, KeySet, KeySource
from strongroom.errors import KeyringError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["KeyFile"]

_Entries = dict[str, dict[str, object]]


@dataclass(frozen=True)
class KeyFile(KeySource):
    """Keys in a file of their owner's, closed to everybody else.

    A subclass may keep something else in it than the secrets, such as secrets that a key service has wrapped.
    """

    path: Path

    id = "file"

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", Path(self.path).absolute())

    def __reduce__(self) -> tuple[object, ...]:
        # As text: a path object is pickled part by part, and takes three times as long.
        return type(self), (str(self.path),)

    def load(self) -> KeySet:
        try:
            primary, entries = self._read()
        except FileNotFoundError:
            # A new one would be of no use: it could open nothing.
            raise KeyringError(f"the keyring {str(self.path)!r} is gone; restore it from a backup") from None
        return KeySet(tuple(self._key_of(id_, entry) for id_, entry in entries.items()), primary)

    def create(self) -> None:
        if not self.path.exists():
            key, entry = self.generate()
            self._write(key.id, {key.id: entry}, replace=False)

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
            primary, entries = self._read()
            self._write(primary, {**entries, key.id: entry})
        return key.id

    def promote(self, key_id: str) -> None:
        """Let the key *key_id* seal from now on, durably; the one that did goes on opening.

        Raises:
            KeyringError: there is no such key.
        """
        with self._alone():
            _, entries = self._read()
            if key_id not in entries:
                raise KeyringError(f"the keyring {str(self.path)!r} has no key {key_id!r}")
            self._write(key_id, entries)

    def generate(self) -> tuple[Key, dict[str, object]]:
        """A new key, and what is written into the file of it."""
        key = Key.generate()
        return key, {"secret": base64.b64encode(key.secret).decode(), "created": key.created}

    def reveal(self, entry: Mapping[str, object]) -> bytes:
        """The secret of the key that *entry* was written for."""
        if set(entry) - {"created"} != {"secret"}:
            raise ValueError
        return base64.b64decode(str(entry["secret"]), validate=True)

    def _key_of(self, id_: str, entry: Mapping[str, object]) -> Key:
        created = entry.get("created")
        try:
            key = Key(self.reveal(entry), created if isinstance(created, datetime) else None)
        except (ValueError, binascii.Error, KeyringError) as exc:
            if isinstance(exc, KeyringError) and type(self) is not KeyFile:
                raise
            raise KeyringError(f"the key {id_!r} in {str(self.path)!r} is damaged; restore it from a backup") from None
        if key.id != id_:
            raise KeyringError(
                f"the key {id_!r} in {str(self.path)!r} is not the key of that name; restore it from a backup"
            )
        return key

    def _read(self) -> tuple[str, _Entries]:
        """The id of the primary, and the entries, the oldest first."""
        import tomllib  # where keys come from elsewhere, nobody needs it

        path = self.path
        try:
            with path.open("rb") as file:
                _check_permissions(path, os.fstat(file.fileno()))
                document = tomllib.load(file)
        except FileNotFoundError:
            raise
        except OSError as exc:
            raise KeyringError(f"the keyring {str(path)!r} cannot be read: {exc.strerror}") from exc
        except (tomllib.TOMLDecodeError, UnicodeDecodeError):
            # The parser's message quotes the line, and the line may be a secret.
            raise KeyringError(f"the keyring {str(path)!r} is damaged; restore it from a backup") from None
        if document.get("version") != 1:
            raise KeyringError(
                f"the keyring {str(path)!r} has a version that this strongroom does not know; upgrade it"
            )
        entries, primary = document.get("keys"), document.get("primary")
        if not isinstance(entries, dict):
            entries = {}
        whole = set(document) == {"version", "primary", "keys"} and primary in entries
        if not whole or not all(isinstance(entry, dict) for entry in entries.values()):
            raise KeyringError(f"the keyring {str(path)!r} is damaged; restore it from a backup")
        return str(primary), entries

    def _write(self, primary: str, entries: _Entries, *, replace: bool = True) -> None:
        """Write the file, whole or not at all; if it is not to be replaced, the first of two writers wins."""
        path = self.path
        temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.tmp")
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                with os.fdopen(descriptor, "w", encoding="ascii") as file:
                    file.write(_text(primary, entries))
                    file.flush()
                    os.fsync(file.fileno())
                if replace:
                    temporary.replace(path)
                else:
                    # A link fails where a rename would replace: somebody else's new keyring may already be in use.
                    with contextlib.suppress(FileExistsError):
                        os.link(temporary, path)
                _fsync_folders(path.parent)
            finally:
                temporary.unlink(missing_ok=True)
        except OSError as exc:
            raise KeyringError(f"the keyring {str(path)!r} cannot be made: {exc.strerror}") from exc

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Nobody else changes the file meanwhile: of two who read it and write it, one would lose the other's key."""
        try:
            descriptor = os.open(self.path.parent, os.O_RDONLY)
        except OSError as exc:
            raise KeyringError(f"the keyring {str(self.path)!r} cannot be changed: {exc.strerror}") from exc
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        except FileNotFoundError:
            raise KeyringError(f"the keyring {str(self.path)!r} is gone; restore it from a backup") from None
        finally:
            os.close(descriptor)


def _check_permissions(path: Path, status: os.stat_result) -> None:
    if stat.S_IMODE(status.st_mode) & 0o077:
        raise KeyringError(f"others may read the keyring {str(path)!r}; close it: chmod 600 {str(path)!r}")
    if status.st_uid not in {os.geteuid(), 0}:
        raise KeyringError(f"the keyring {str(path)!r} belongs to another user; copy it and set STRONGROOM_HOME")


def _text(primary: str, entries: _Entries) -> str:
    lines = [
        "# The keys of this project. Whoever has them can open everything; without them nothing can be opened.",
        f'version = 1\nprimary = "{primary}"',
    ]
    for id_, entry in entries.items():
        lines += ["", f"[keys.{id_}]", *(f"{name} = {_value(value)}" for name, value in entry.items())]
    return "\n".join(lines) + "\n"


def _value(value: object) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    # What we write into an entry is base64 or an id of a key service: quotes and backslashes are somebody's doing.
    if not isinstance(value, str) or not value.isascii() or not value.isprintable() or set(value) & set('"\\'):
        raise KeyringError("the keyring has an entry that strongroom did not write; it was left as it is")
    return f'"{value}"'


def _fsync_folders(folder: Path) -> None:
    """Make the names in *folder* durable, and its own: results that outlive a power cut need their key."""
    for each in (folder, folder.parent):
        descriptor = os.open(each, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
