# SPDX-License-Identifier: Apache-2.0
"""How does a record get onto a local disk, whole or not at all?"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import re
import secrets
import stat
import threading
from typing import TYPE_CHECKING, BinaryIO, cast

from strongroom._fsync import fsync
from strongroom._storage import Entry, check_key, is_key
from strongroom._storage_errors import PERMANENT_ERRNO
from strongroom.errors import NotFoundError, PermanentStorageError, StorageError, TransientStorageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from _typeshed import ReadableBuffer

__all__ = ["LocalStorage"]

_SMALL = 1 << 16
_NO_FILE = "it is not a file"
_AHEAD = 32 << 20
"""So much is written before the disk is asked to begin. A file that is smaller is synced once."""
# As `create` names them; nothing else that begins with a dot is ours to delete.
_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{16}\.tmp")


class LocalStorage:
    """A folder on this machine. Picklable; the folder is made when the first record is written."""

    at_once = 1
    """Threads that read from memory wait for each other only, and a disk is quickest from start to end."""

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()
        # Each receipt has it, and to make it takes longer than to open a record.
        self._url = self._root.as_uri()
        self._prefix = f"{self._root}/"

    def __repr__(self) -> str:
        return f"LocalStorage({str(self._root)!r})"

    @property
    def url(self) -> str:
        return self._url

    def locate(self, key: str) -> str:
        return f"{self._prefix}{key}"

    @contextlib.contextmanager
    def create(self, key: str) -> Iterator[BinaryIO]:
        path = self._path(key)
        # In the same folder, since a rename is atomic within one file system only.
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
        with _storage_errors(str(path)):
            file = self._open_new(temporary)
        try:
            with file:
                yield cast("BinaryIO", file)
                file.sync()
            with _storage_errors(str(path)):
                os.replace(temporary, path)  # noqa: PTH105  # Path.replace, with no object made
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
        # The rename is not durable before its folder is.
        with _storage_errors(str(path)):
            fsync(path.parent)

    def open(self, key: str) -> tuple[BinaryIO, int]:
        # A link that somebody planted is followed: wherever it leads, only a record of this key is believed.
        place = self._prefix + check_key(key)
        # No `_storage_errors`, which takes as long as one of the calls: each cached result is opened here.
        try:
            # Without waiting: whoever can write to the storage could put a pipe there that nobody ever writes to.
            descriptor = os.open(place, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            try:
                # A small record is there with one call, and nobody has to ask first how large it is.
                data = os.pread(descriptor, _SMALL + 1, 0)
                if 0 < len(data) <= _SMALL:
                    return io.BytesIO(data), len(data)
                status = os.fstat(descriptor)
                if not stat.S_ISREG(status.st_mode):
                    raise PermanentStorageError(place, _NO_FILE)
                return os.fdopen(os.dup(descriptor), "rb"), status.st_size
            finally:
                os.close(descriptor)
        except StorageError:
            raise
        except OSError as exc:
            raise _as_storage_error(exc, place) from exc

    def exists(self, key: str) -> bool:
        path = self._path(key)
        with _storage_errors(str(path)):
            return path.is_file()

    def walk(self, prefix: str = "") -> Iterator[Entry]:
        for key, entry in self._files(check_key(prefix) if prefix else ""):
            if is_key(key) and (found := _as_entry(key, entry)):
                yield found

    def delete(self, key: str) -> None:
        self._remove(self._path(key))

    def leftovers(self) -> Iterator[Entry]:
        for key, entry in self._files(""):
            if _TEMPORARY.fullmatch(entry.name) and (found := _as_entry(key, entry)):
                yield found

    def discard(self, leftover: Entry) -> None:
        folder, _, name = leftover.key.rpartition("/")
        if not _TEMPORARY.fullmatch(name):
            raise PermanentStorageError(self.locate(leftover.key), "it is no temporary file of ours")
        self._remove((self._path(folder) if folder else self._root) / name)

    def _files(self, prefix: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
        """The files below the folder *prefix*. Links are not followed: they lead anywhere, and back."""
        folders = [prefix]
        while folders:
            prefix = folders.pop()
            folder = self._path(prefix) if prefix else self._root
            with contextlib.suppress(NotFoundError), _storage_errors(str(folder)), os.scandir(folder) as entries:
                for entry in entries:
                    key = f"{prefix}/{entry.name}" if prefix else entry.name
                    if entry.is_file(follow_symlinks=False):
                        yield key, entry
                    elif is_key(key) and entry.is_dir(follow_symlinks=False):
                        folders.append(key)

    def _remove(self, path: Path) -> None:
        with contextlib.suppress(NotFoundError), _storage_errors(str(path)):
            path.unlink()

    def _path(self, key: str) -> Path:
        # Whoever can write to the storage could plant a link in it that leads elsewhere. Folder by folder from the root
        # on, since to resolve the whole path would look at all that is above the root, too.
        path = folder = self._root
        for part in check_key(key).split("/"):
            folder, path = path, path / part
            if folder != self._root and _is_link(folder):
                raise PermanentStorageError(f"{self._root}/{key}", "a link on its path leads out of the storage")
        return path

    def _open_new(self, path: Path) -> _RecordFile:
        try:
            return _create_file(path)
        except FileNotFoundError:
            pass
        try:
            self._make_folder(path.parent)
            return _create_file(path)
        except FileNotFoundError:
            # Who writes looks for nothing: some places, such as /proc, say this when no folder can be made in them.
            raise PermanentStorageError(str(path), "its folder cannot be made") from None

    def _make_folder(self, folder: Path) -> None:
        missing = [folder]
        while not missing[-1].parent.exists():
            missing.append(missing[-1].parent)
        for path in reversed(missing):
            path.mkdir(mode=0o700, exist_ok=True)
            fsync(path.parent)


def _is_link(folder: Path) -> bool:
    try:
        return folder.is_symlink()
    except OSError as exc:
        raise _as_storage_error(exc, str(folder)) from exc


def _as_entry(key: str, entry: os.DirEntry[str]) -> Entry | None:
    try:
        with _storage_errors(entry.path):
            status = entry.stat(follow_symlinks=False)
    except NotFoundError:  # deleted since it was listed
        return None
    return Entry(key, status.st_size, status.st_mtime_ns // 1000)


class _RecordFile(io.FileIO):
    """An unbuffered file that writes all it is given, and raises errors of storage."""

    def __init__(self, descriptor: int, location: str) -> None:
        # Before anything that can fail: what fails is closed, too.
        self._location = location
        self._syncing: threading.Thread | None = None
        self._failure: OSError | None = None
        self._unsynced = 0
        super().__init__(descriptor, "wb")

    def write(self, data: ReadableBuffer, /) -> int:
        rest = memoryview(data).cast("B")
        size = len(rest)
        with _storage_errors(self._location):
            # The system may take less than it is given, above all shortly before a disk is full.
            while rest:
                rest = rest[super().write(rest) :]
            self._unsynced += size
            if self._unsynced >= _AHEAD:
                self._sync_ahead()
        return size

    def sync(self) -> None:
        """Return when all that was written is durable."""
        with _storage_errors(self._location):
            self._wait()
            os.fsync(self.fileno())

    def close(self) -> None:
        # The number of a descriptor that is closed may be that of another file at once.
        if self._syncing is not None:
            self._syncing.join()
        # Some file systems tell only now that they could not keep what they took.
        with _storage_errors(self._location):
            super().close()

    def _sync_ahead(self) -> None:
        """Let the disk begin while the rest is still being made: at the end there is less to wait for."""
        if self._syncing is not None and self._syncing.is_alive():
            return
        self._wait()
        self._unsynced = 0
        thread = threading.Thread(target=self._sync_in_background, name="strongroom-sync", daemon=True)
        # Where no further thread can be had, all of it is synced at the end.
        with contextlib.suppress(RuntimeError):
            thread.start()
            self._syncing = thread

    def _sync_in_background(self) -> None:
        try:
            os.fsync(self.fileno())
        except OSError as exc:
            # The system tells of an error once: the sync at the end would be told that all is well.
            self._failure = exc

    def _wait(self) -> None:
        if self._syncing is not None:
            self._syncing.join()
        if self._failure is not None:
            raise self._failure


def _create_file(path: Path) -> _RecordFile:
    # Nobody else may read a result, whatever the umask says.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    return _RecordFile(descriptor, str(path))


@contextlib.contextmanager
def _storage_errors(location: str) -> Iterator[None]:
    try:
        yield
    except StorageError:
        raise
    except OSError as exc:
        raise _as_storage_error(exc, location) from exc


def _as_storage_error(exc: OSError, location: str) -> StorageError:
    if isinstance(exc, FileNotFoundError):
        return NotFoundError(location)
    if exc.errno == errno.ESPIPE:
        return PermanentStorageError(location, _NO_FILE)
    if (reason := PERMANENT_ERRNO.get(exc.errno or 0)) is not None:
        return PermanentStorageError(location, reason)
    return TransientStorageError(location, exc)
