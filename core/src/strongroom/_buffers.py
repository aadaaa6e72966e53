# SPDX-License-Identifier: Apache-2.0
"""Which binary files does a value's bytes pass through, so that memory stays bounded?"""

from __future__ import annotations

import io
import mmap
import os
from typing import TYPE_CHECKING, BinaryIO, cast

from strongroom.codecs import fill

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from _typeshed import ReadableBuffer, WriteableBuffer

__all__ = ["CHUNK", "BoundedReader", "BufferReader", "CountingWriter", "chunks", "private_copy"]

CHUNK = 1 << 20
"""How much is moved at a time: more is not faster, and this is all the memory that moving takes."""

_PASSED_ON = 4 << 20
"""How much is passed on at a time, which takes no memory: each time, a second thread may be given its part."""

_IN_MEMORY = 16 << 20


class CountingWriter(io.RawIOBase):
    """Passes on what is written, in parts that are not too long, and counts it."""

    def __init__(self, write: Callable[[memoryview], object]) -> None:
        super().__init__()
        self._write = write
        self.size = 0

    def writable(self) -> bool:
        return True

    def write(self, data: ReadableBuffer, /) -> int:
        view = memoryview(data).cast("B")
        for start in range(0, len(view), _PASSED_ON):
            self._write(view[start : start + _PASSED_ON])
        self.size += len(view)
        return len(view)

    def discard(self) -> None:
        """Drop whatever is still written: a buffer that nobody holds any more flushes itself, wherever that leads."""
        self._write = _drop


def _drop(data: memoryview) -> None:
    """Where nothing is wanted any more."""


class BufferReader(io.RawIOBase):
    """Reads from memory without copying it first, and offers that memory as a whole."""

    def __init__(self, view: memoryview) -> None:
        super().__init__()
        self._view = view
        self._position = 0

    def getbuffer(self) -> memoryview:
        return self._view

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: len(self._view)}[whence]
        if start + offset < 0:
            raise ValueError("a position before the start")
        self._position = start + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def read(self, size: int | None = -1, /) -> bytes:
        # The one of RawIOBase asks `readinto` twice, which takes longer than to decode a small value.
        end = len(self._view) if size is None or size < 0 else self._position + size
        data = bytes(self._view[self._position : end])
        self._position += len(data)
        return data

    def readinto(self, target: WriteableBuffer, /) -> int:
        out = memoryview(target).cast("B")
        piece = self._view[self._position : self._position + len(out)]
        out[: len(piece)] = piece
        self._position += len(piece)
        return len(piece)


class BoundedReader(io.RawIOBase):
    """Reads what *source* has, and complains if that is more than was stated."""

    def __init__(self, source: BinaryIO, size: int, complaint: Callable[[], Exception]) -> None:
        super().__init__()
        self._source = source
        self._left = size
        self._complaint = complaint

    def readable(self) -> bool:
        return True

    def readinto(self, target: WriteableBuffer, /) -> int:
        out = memoryview(target).cast("B")
        # One byte more than there may be is enough to see that there is more.
        count = fill(self._source, out[: self._left + 1])
        if count > self._left:
            raise self._complaint()
        self._left -= count
        return count


def chunks(source: BinaryIO, size: int) -> Iterator[memoryview]:
    """*size* bytes of *source*, or as many as there are, each chunk valid until the next one is asked for."""
    buffer = memoryview(bytearray(min(size, CHUNK)))
    readinto = cast("io.BufferedReader", source).readinto
    while size > 0:
        count = readinto(buffer[: min(size, len(buffer))])
        if not count:
            return
        size -= count
        yield buffer[:count]


def private_copy(source: BinaryIO, size: int, *, keep_in_memory: bool) -> tuple[BinaryIO, Iterable[memoryview]]:
    """A file that nobody else can write to, and the *size* bytes of *source* that come into it, chunk by chunk.

    Each chunk is copied when it is asked for, and valid until the next one is; there are fewer bytes if *source* has no
    more. The file is anonymous memory if it is small or *keep_in_memory*, so that a value can be views of it; else a
    temporary file without a name. Seek to the start before reading.
    """
    if keep_in_memory or size <= _IN_MEMORY:
        # Pages of its own, so that they go back to the system with the last view of them.
        memory = memoryview(bytearray(size) if size < CHUNK else mmap.mmap(-1, size))
        return cast("BinaryIO", BufferReader(memory)), _read_into(memory, source)
    # Takes long to import, with all its ways to compress, and only what is large needs it.
    import tempfile

    file = tempfile.TemporaryFile()  # noqa: SIM115  # the caller closes it
    return cast("BinaryIO", file), _copied(source, size, file.write)


def _read_into(memory: memoryview, source: BinaryIO) -> Iterator[memoryview]:
    """Fill *memory*; the chunks are parts of it."""
    readinto = cast("io.BufferedReader", source).readinto
    position = 0
    while position < len(memory):
        count = readinto(memory[position : position + CHUNK])
        if not count:
            return
        yield memory[position : position + count]
        position += count


def _copied(source: BinaryIO, size: int, write: Callable[[memoryview], object]) -> Iterator[memoryview]:
    for chunk in chunks(source, size):
        write(chunk)
        yield chunk
