# SPDX-License-Identifier: Apache-2.0
"""Which files does a record pass through on its way to a remote file system, and back?"""

from __future__ import annotations

import contextlib
import io
from typing import TYPE_CHECKING, Any, BinaryIO

from strongroom.errors import TransientStorageError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

    from strongroom._patience import Patience
    from strongroom._remote_storage import RemoteStorage

__all__ = ["Reader", "Watched", "abandon"]

# Bytes that any server puts together in a second.
_PUT_TOGETHER = 64 << 20


class Watched(io.RawIOBase):
    """A file that is being uploaded: whoever reads it gives a sign of life."""

    def __init__(self, file: BinaryIO, patience: Patience) -> None:
        super().__init__()
        self._file = file
        self._patience = patience
        self._size = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        return self._file.seek(offset, whence)

    def read(self, size: int | None = -1, /) -> bytes:
        data = self._file.read(-1 if size is None else size)
        self._size += len(data)
        # At the end the server puts together what it got in parts, and says nothing for as long as that takes.
        self._patience.renew(0 if data else self._size / _PUT_TOGETHER)
        return data


class Reader(io.RawIOBase):
    """Reads a remote file from its start to its end, and goes on where it was when the connection breaks."""

    def __init__(self, storage: RemoteStorage, path: str, location: str, size: int) -> None:
        super().__init__()
        self._storage = storage
        self._path = path
        self._location = location
        self._size = size
        self._position = 0
        self._source: Any = None
        self._read_some(0)  # that it cannot be read is known before somebody reads

    def readable(self) -> bool:
        return True

    def readinto(self, target: WriteableBuffer, /) -> int:
        out = memoryview(target).cast("B")
        data = self._read_some(min(len(out), self._size - self._position))
        out[: len(data)] = data
        self._position += len(data)
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._let_go()
        super().close()

    def _read_some(self, count: int) -> bytes:
        return self._storage.trying(
            lambda patience: self._attempt(count, patience), self._location, forget=self._let_go
        )

    def _attempt(self, count: int, patience: Patience) -> bytes:
        source = self._source
        if source is None:
            source = self._source = self._storage.reader(self._path, self._position, patience)
        data = bytes(source.read(count)) if count else b""
        # A server that dies may look as if the file had ended.
        if count and not data:
            raise TransientStorageError(self._location, "the file ended too early")
        return data[:count]

    def _let_go(self) -> None:
        source, self._source = self._source, None
        if source is not None:
            self._storage.close(source)


def abandon(target: Any, *, discard: bool) -> None:  # noqa: ANN401  # a file of fsspec's
    """Let go of an upload that is not complete."""
    # Never close it: for a store, closing says that this is all, and replaces what was there.
    if discard:
        with contextlib.suppress(Exception):  # the library's own code; what ended the upload is worth more
            target.discard()
    # Or else the file closes itself when nobody holds it any more.
    with contextlib.suppress(AttributeError):
        target.closed = True
        return
    target._closed = True  # noqa: SLF001  # sshfs has it so
