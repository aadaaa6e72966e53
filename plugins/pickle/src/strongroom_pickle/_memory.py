# SPDX-License-Identifier: Apache-2.0
"""May the bytes of a source be used where they are, or are they read into memory of our own?"""

from __future__ import annotations

import io
from typing import BinaryIO, Protocol, cast

from strongroom.abc import SupportsBuffer
from strongroom.errors import SerializationError

__all__ = ["Memory", "memory_of", "take", "unreadable"]


class Memory(Protocol):
    """Bytes that are gone through once, from the start."""

    position: int

    def fill(self, target: memoryview) -> None:
        """Copy the next bytes into *target*, all of it."""
        ...

    def view(self, size: int) -> memoryview:
        """The next *size* bytes, in memory that can be changed and belongs to whoever holds it."""
        ...

    def at_end(self) -> bool:
        """True if there are no more bytes."""
        ...


def memory_of(source: BinaryIO) -> Memory:
    """The bytes of *source*: where they are if that is private memory, else as they are read."""
    # A BytesIO is memory too, but of its owner, who may read it again, or close it, which it refuses under a view.
    if isinstance(source, SupportsBuffer) and not isinstance(source, io.BytesIO):
        view = source.getbuffer().cast("B")
        if not view.readonly:
            return _Whole(view)
    return _Stream(source)


def take(memory: Memory, size: int) -> bytes:
    """A copy of the next *size* bytes of *memory*."""
    target = bytearray(size)
    memory.fill(memoryview(target))
    return bytes(target)


def unreadable(why: str) -> SerializationError:
    """The error for bytes that are not what the plugin writes."""
    return SerializationError("pickle", f"what is stored cannot be read: {why}")


class _Whole:
    def __init__(self, view: memoryview) -> None:
        self._view = view
        self.position = 0

    def fill(self, target: memoryview) -> None:
        target[:] = self.view(len(target))

    def view(self, size: int) -> memoryview:
        start, end = self.position, self.position + size
        if end > len(self._view):
            raise unreadable("it is cut off")
        self.position = end
        return self._view[start:end]

    def at_end(self) -> bool:
        return self.position == len(self._view)


class _Stream:
    def __init__(self, source: BinaryIO) -> None:
        # Typing's BinaryIO does not have it, but every binary file that derives from io's has.
        self._source = cast("io.BufferedReader", source)
        self.position = 0

    def fill(self, target: memoryview) -> None:
        self.position += len(target)
        while target:
            count = self._source.readinto(target)
            if not count:
                raise unreadable("it is cut off")
            target = target[count:]

    def view(self, size: int) -> memoryview:
        memory = memoryview(bytearray(size))
        self.fill(memory)
        return memory

    def at_end(self) -> bool:
        return not self._source.read(1)
