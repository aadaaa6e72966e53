# SPDX-License-Identifier: Apache-2.0
"""How does a record get to any other file system that fsspec knows?"""

from __future__ import annotations

import contextlib
import io
import tempfile
from datetime import UTC, datetime
from typing import TYPE_CHECKING, BinaryIO, cast

import fsspec

from strongroom._storage import Entry, check_key, is_key
from strongroom.errors import NotFoundError, PermanentStorageError, SettingsError, StorageError, TransientStorageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["RemoteStorage"]

_SPOOL = 16 << 20
_BUFFER = 1 << 16
# What the file systems call the time of the last change.
_MODIFIED = ("LastModified", "last_modified", "mtime", "updated", "modified", "modify", "created")


class RemoteStorage:
    """A folder of a file system that fsspec opens: S3, Azure, GCS, SFTP, memory. Picklable."""

    def __init__(self, url: str) -> None:
        try:
            self._fs, self._root = fsspec.url_to_fs(url)
        except (ValueError, ImportError) as exc:
            kind = url.partition("://")[0]
            raise SettingsError(f"no storage of the kind {kind!r} can be opened here: {exc}") from exc
        self._url = url.rstrip("/")

    def __repr__(self) -> str:
        return f"RemoteStorage({self._url!r})"

    @property
    def url(self) -> str:
        return self._url

    def locate(self, key: str) -> str:
        return f"{self._url}/{key}"

    @contextlib.contextmanager
    def create(self, key: str) -> Iterator[BinaryIO]:
        path = self._path(key)
        with tempfile.SpooledTemporaryFile(max_size=_SPOOL) as spool:
            yield cast("BinaryIO", spool)
            size = spool.tell()
            spool.seek(0)
            # One put of the whole object: until it is complete, stores show what was there before.
            with _storage_errors(self.locate(key)):
                self._put(spool, path)
                stored = self._fs.info(path)["size"]
            if stored != size:
                raise TransientStorageError(self.locate(key), OSError(None, "fewer bytes arrived than were sent"))

    def open(self, key: str) -> tuple[BinaryIO, int]:
        path = self._path(key)
        with _storage_errors(self.locate(key)):
            size = self._fs.info(path)["size"]
            # Buffered once more, since the files of some stores cannot read lines, and headers are lines.
            return cast("BinaryIO", io.BufferedReader(self._fs.open(path, "rb"), _BUFFER)), size

    def exists(self, key: str) -> bool:
        with _storage_errors(self.locate(key)):
            return bool(self._fs.isfile(self._path(key)))

    def list(self, prefix: str) -> Iterator[str]:
        with contextlib.suppress(NotFoundError), _storage_errors(self.locate(prefix)):
            self._fs.invalidate_cache()
            for path in self._fs.ls(self._path(prefix), detail=False):
                yield f"{prefix}/{str(path).rstrip('/').rpartition('/')[2]}"

    def walk(self, prefix: str = "") -> Iterator[Entry]:
        start = self._path(prefix) if prefix else self._root
        found: dict[str, Mapping[str, object]] = {}
        with contextlib.suppress(NotFoundError), _storage_errors(self.locate(prefix)):
            # Others write here, too: a listing from before is no answer.
            self._fs.invalidate_cache()
            found = self._fs.find(start, detail=True)
        root = self._root.strip("/")
        for path, info in found.items():
            key = str(path).strip("/").removeprefix(root).lstrip("/")
            if is_key(key):
                yield Entry(key, _size(info), _modified(info))

    def delete(self, key: str) -> None:
        with contextlib.suppress(NotFoundError), _storage_errors(self.locate(key)):
            self._fs.rm_file(self._path(key))

    def leftovers(self) -> Iterator[Entry]:
        # What is not complete has no name: stores forget an upload that was given up.
        return iter(())

    def discard(self, leftover: Entry) -> None:
        raise PermanentStorageError(self.locate(leftover.key), "it is no temporary file of ours")

    def _put(self, spool: tempfile.SpooledTemporaryFile[bytes], path: str) -> None:
        self._fs.makedirs(path.rpartition("/")[0], exist_ok=True)
        target = self._fs.open(path, "wb")
        try:
            while chunk := spool.read(_SPOOL):
                target.write(chunk)
        except BaseException:
            # Never close what is not complete: for a store, closing says that this is all, and replaces what was there.
            with contextlib.suppress(Exception):  # the library's own code; what ended the upload is worth more
                target.discard()
            # Or else the file closes itself when nobody holds it any more.
            target.closed = True
            raise
        target.close()

    def _path(self, key: str) -> str:
        return f"{self._root.rstrip('/')}/{check_key(key)}"


@contextlib.contextmanager
def _storage_errors(location: str) -> Iterator[None]:
    try:
        yield
    except StorageError:
        raise
    except FileNotFoundError as exc:
        raise NotFoundError(location) from exc
    except Exception as exc:  # each file system raises what its library does; their texts may hold credentials
        raise TransientStorageError(location, exc) from exc


def _size(info: Mapping[str, object]) -> int:
    size = info.get("size")
    return size if isinstance(size, int) else 0


def _modified(info: Mapping[str, object]) -> int | None:
    """When something was written, in microseconds, from whatever its file system says of it."""
    for name in _MODIFIED:
        if (told := info.get(name)) is None:
            continue
        if isinstance(told, datetime):
            # FTP and WebDAV tell no zone: theirs is UTC.
            return int((told if told.tzinfo else told.replace(tzinfo=UTC)).timestamp() * 1_000_000)
        if isinstance(told, (int, float)):
            return int(told * 1_000_000)
        with contextlib.suppress(ValueError):
            told = datetime.fromisoformat(str(told))
            return int((told if told.tzinfo else told.replace(tzinfo=UTC)).timestamp() * 1_000_000)
    return None
