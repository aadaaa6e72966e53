# SPDX-License-Identifier: Apache-2.0
"""What are the bytes of a pickle and of the buffers that go beside it?

::

    strongroom-pickle/1⏎             the format and its version
    item*                            kind (1 byte, then 7 of zero), size (8 bytes, little-endian), content

``P`` is a piece of the pickle. ``B`` is a buffer, whose content begins at the next multiple of 64 bytes, counted from
the start. ``E``, of size 0, is the end. A buffer stands before the piece that needs it, so that both sides go straight
through, whatever the size: pickle hands out a buffer before it writes that there is one.
"""

from __future__ import annotations

import io
import struct
from collections import deque
from typing import TYPE_CHECKING, BinaryIO

from strongroom_pickle._memory import take, unreadable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pickle import PickleBuffer

    from _typeshed import ReadableBuffer, WriteableBuffer

    from strongroom_pickle._memory import Memory

__all__ = ["IN_BAND", "ItemReader", "ItemWriter"]

_MAGIC = b"strongroom-pickle/1\n"
_HEADER = struct.Struct("<c7xQ")
_PIECE, _BUFFER, _END = b"P", b"B", b"E"
_ALIGNMENT = 64
_CHUNK = 4 << 20
_READ_AHEAD = 1 << 16

IN_BAND = 1 << 16
"""Buffers smaller than this stay in the pickle: a view of them is not worth keeping all the memory around it."""


class ItemWriter:
    """The file that a pickler writes to, and the place where it puts its buffers."""

    def __init__(self, sink: BinaryIO) -> None:
        self._sink = sink
        self._size = 0
        self.error: Exception | None = None
        """What the sink raised; it is not the value's fault."""
        self._write(_MAGIC)

    def write(self, data: ReadableBuffer) -> int:
        """Write a piece of the pickle."""
        view = memoryview(data).cast("B")
        self._write(_HEADER.pack(_PIECE, len(view)))
        self._write(view)
        return len(view)

    def add_buffer(self, buffer: PickleBuffer) -> bool:
        """Write *buffer* beside the pickle, or return True if it is to stand in there."""
        view = buffer.raw()
        if len(view) < IN_BAND:
            return True
        self._write(_HEADER.pack(_BUFFER, len(view)))
        self._write(bytes(-self._size % _ALIGNMENT))
        self._write(view)
        return False

    def finish(self) -> None:
        """Say that this is all."""
        self._write(_HEADER.pack(_END, 0))

    def _write(self, data: ReadableBuffer) -> None:
        view = memoryview(data)
        try:
            # In chunks: a sink that copies what it is given never copies much.
            for start in range(0, len(view), _CHUNK):
                self._sink.write(view[start : start + _CHUNK])
        except Exception as exc:
            self.error = exc
            raise
        self._size += len(view)


class ItemReader:
    """The file that an unpickler reads from, and the buffers that it asks for."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._buffers: deque[memoryview] = deque()
        self._left = 0
        self._ended = False
        if take(memory, len(_MAGIC)) != _MAGIC:
            raise unreadable("it does not begin as this version begins")
        self.file = io.BufferedReader(_Pieces(self), _READ_AHEAD)

    def buffers(self) -> Iterator[memoryview]:
        """The buffers in the order in which they were written, each once it has been read."""
        while self._buffers:
            yield self._buffers.popleft()

    def finish(self) -> None:
        """Make sure that everything was read, and that there is no more."""
        if self.file.read(1) or self._buffers or not self._memory.at_end():
            raise unreadable("there is more than one value")

    def read_piece(self, target: memoryview) -> int:
        """Read some of the pickle into *target*; returns how much, 0 at the end."""
        while not self._left and not self._ended:
            self._read_header()
        size = min(self._left, len(target))
        self._memory.fill(target[:size])
        self._left -= size
        return size

    def _read_header(self) -> None:
        header = take(self._memory, _HEADER.size)
        kind, size = _HEADER.unpack(header)
        if header != _HEADER.pack(kind, size) or kind not in (_PIECE, _BUFFER, _END):
            raise unreadable("it has a part of an unknown kind")
        if kind == _PIECE:
            self._left = size
        elif kind == _BUFFER:
            take(self._memory, -self._memory.position % _ALIGNMENT)
            self._buffers.append(self._memory.view(size))
        else:
            self._ended = True


class _Pieces(io.RawIOBase):
    """The pickle as a file: it has no seams."""

    def __init__(self, items: ItemReader) -> None:
        super().__init__()
        self._items = items

    def readable(self) -> bool:
        return True

    def readinto(self, target: WriteableBuffer, /) -> int:
        return self._items.read_piece(memoryview(target).cast("B"))
