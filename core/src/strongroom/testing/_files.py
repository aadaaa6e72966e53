# SPDX-License-Identifier: Apache-2.0
"""Which files may a serializer or a codec meet? The least that its contract promises it."""

from __future__ import annotations

import io
from itertools import cycle
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from _typeshed import ReadableBuffer, WriteableBuffer

__all__ = ["BufferSource", "PlainSink", "TricklingSource"]


class PlainSink(io.RawIOBase):
    """A sink that can be written to, and nothing else: it cannot seek, tell, or be read."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: ReadableBuffer, /) -> int:
        if self.closed:
            raise ValueError("write to a closed file")
        piece = memoryview(data).cast("B")
        self.written += piece
        return len(piece)


class TricklingSource(io.RawIOBase):
    """A source that cannot seek, and gives a few bytes at a time, as a network may."""

    def __init__(self, data: ReadableBuffer, sizes: Sequence[int] = (1, 7, 2, 64, 3)) -> None:
        super().__init__()
        self._left = memoryview(data).cast("B")
        self._sizes = cycle(sizes)

    def readable(self) -> bool:
        return True

    def readinto(self, target: WriteableBuffer, /) -> int:
        out = memoryview(target).cast("B")
        piece = self._left[: min(next(self._sizes), len(out))]
        out[: len(piece)] = piece
        self._left = self._left[len(piece) :]
        return len(piece)


class BufferSource(io.RawIOBase):
    """A source whose bytes are in memory and may be had as a whole; they can be changed if *memory* can be."""

    def __init__(self, memory: bytes | bytearray) -> None:
        super().__init__()
        self._memory = memoryview(memory)
        self._reader = io.BytesIO(memory)

    def getbuffer(self) -> memoryview:
        return self._memory

    def readable(self) -> bool:
        return True

    def readinto(self, target: WriteableBuffer, /) -> int:
        return self._reader.readinto(target)
