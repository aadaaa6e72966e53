# SPDX-License-Identifier: Apache-2.0
"""What does a file of the outbox look like, and how much of it is whole?

::

    16 bytes   strongroom/box/1
    3 x 8      marks: up to where it is written, durable, delivered; little-endian
    16         which start of the machine it was written under; zeros if that is not known
    to 64      zeros
    frames     each: 4 bytes length, 4 bytes CRC-32 from a start of its own, then so many bytes
    zeros      room for more

The file is mapped into memory, so that to append is to copy: no system call, for which Python's lock would change hands
twice for each state, and yet what was copied is the kernel's, and outlives a process that is killed in the next moment.
The mark moves after the bytes, so that whoever reads up to it finds whole frames.
"""

from __future__ import annotations

import itertools
import mmap
import os
import struct
from contextlib import suppress
from typing import TYPE_CHECKING
from zlib import crc32

from strongroom._boot import UNKNOWN, boot_id
from strongroom._fsync import fsync
from strongroom.errors import OutboxDamagedError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["OVERHEAD", "Segment"]

_MAGIC = b"strongroom/box/1"
_WRITTEN, _DURABLE, _DELIVERED, _BOOT = slice(16, 24), slice(24, 32), slice(32, 40), slice(40, 56)
_START = 64
_HEAD = struct.Struct("<II")
# So that zeros, which is what stands after the last frame, are no frame.
_SEED = 0x73747267

OVERHEAD = _START + _HEAD.size
"""How much longer than its one frame a file is at least."""


class Segment:
    """One file of a box, as one side sees it: who appends has it open, and who delivers has it open once more."""

    def __init__(self, path: Path, mapped: mmap.mmap) -> None:
        self.path = path
        self._bytes = mapped
        marks = (_WRITTEN, _DURABLE, _DELIVERED)
        self.written, self.durable, self.delivered = (int.from_bytes(mapped[mark], "little") for mark in marks)

    def refresh(self) -> None:
        """See what the other side has appended."""
        self.written = int.from_bytes(self._bytes[_WRITTEN], "little")

    @classmethod
    def create(cls, path: Path, size: int, first: bytes) -> Segment:
        """A new file of *size* bytes with the frame *first*, which only its owner can read.

        Raises:
            OSError: there is no room for it on the disk.
        """
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            # A hole in a mapped file would end the process, when the disk turns out to be full.
            _allocate(descriptor, size)
            mapped = mmap.mmap(descriptor, size)
        except BaseException:
            path.unlink()
            raise
        finally:
            os.close(descriptor)
        for mark in (_WRITTEN, _DURABLE, _DELIVERED):
            mapped[mark] = _START.to_bytes(8, "little")
        mapped[_BOOT] = boot_id()
        segment = cls(path, mapped)
        segment.append(first)
        # Last, so that a file that has it has the rest.
        mapped[: len(_MAGIC)] = _MAGIC
        return segment

    @classmethod
    def open(cls, path: Path) -> Segment | None:
        """The file at *path*; None if whoever is making it, or died when he did, has put nothing into it yet.

        Raises:
            OutboxDamagedError: it is no such file, or its marks make no sense.
        """
        descriptor = os.open(path, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
        try:
            # All of it, however long it is by now: whoever appends may be cutting off what nothing was put into.
            mapped = mmap.mmap(descriptor, 0) if os.fstat(descriptor).st_size else None
        finally:
            os.close(descriptor)
        if mapped is None or not any(mapped[: len(_MAGIC)]):
            return None
        segment = cls(path, mapped)
        marks = (segment.durable, segment.delivered, segment.written)
        if mapped[: len(_MAGIC)] != _MAGIC or not all(_START <= mark <= len(mapped) for mark in marks):
            segment.close()
            raise OutboxDamagedError(str(path), "it is no file of an outbox, or its beginning was changed")
        return segment

    def append(self, frame: bytes) -> bool:
        """Add *frame*; False if there is no room. Only a crash of the machine can take it then."""
        mapped, start = self._bytes, self.written
        body = start + _HEAD.size
        end = body + len(frame)
        if end > len(mapped):
            return False
        _HEAD.pack_into(mapped, start, len(frame), crc32(frame, _SEED))
        mapped[body:end] = frame
        mapped[_WRITTEN] = end.to_bytes(8, "little")
        self.written = end
        return True

    def first(self) -> bytes | None:
        """The first frame, which says whose the others are, and counts as delivered; None if it is not whole."""
        frame = next(self.frames(), None)
        if frame is None:
            return None
        if self.delivered < frame[0]:
            self.deliver(frame[0])
        return frame[1]

    @property
    def holds_more(self) -> bool:
        """True if anything was appended to the first frame."""
        return any(end for end, _ in itertools.islice(self.frames(), 1, 2))

    def waiting(self, most: int) -> tuple[list[bytes], int]:
        """The next frames that are not delivered, at most *most*, and where they end; to be told to `deliver`."""
        found, position, end, mapped = list[bytes](), self.delivered, self.written, self._bytes
        while position < end and len(found) < most:
            length, _ = _HEAD.unpack_from(mapped, position)
            position += _HEAD.size
            found.append(mapped[position : position + length])
            position += length
        return found, position

    def deliver(self, end: int) -> None:
        """Note that everything up to *end* has been delivered."""
        self.delivered = end
        self._bytes[_DELIVERED] = end.to_bytes(8, "little")

    def check(self) -> bool:
        """See that all frames are whole, before `waiting` may be called on what another process left.

        True is the usual answer. False means that the machine crashed, and tore what was not durable by then: nobody
        was told that it was, and it is left out.

        Raises:
            OutboxDamagedError: what cannot have been torn by a crash is not whole.
        """
        end, delivered = _START, _START
        for end, _ in self.frames():
            delivered = end if end <= self.delivered else delivered
        is_whole = end == self.written
        # A process that is killed tears nothing: what it copied is the kernel's.
        if not is_whole and (end < self.durable or self._bytes[_BOOT] == boot_id() != UNKNOWN):
            raise OutboxDamagedError(str(self.path), f"it is not whole after {end} bytes")
        self.written = end
        # What is delivered twice does no harm: a mark that stands between two frames is one that nobody set.
        self.delivered = delivered if delivered == self.delivered else _START
        return is_whole

    def frames(self) -> Iterator[tuple[int, bytes]]:
        """Each whole frame up to the first that is not, with where it ends."""
        position = _START
        while position + _HEAD.size <= self.written:
            length, checksum = _HEAD.unpack_from(self._bytes, position)
            end = position + _HEAD.size + length
            data = self._bytes[position + _HEAD.size : end]
            if end > self.written or crc32(data, _SEED) != checksum:
                return
            yield end, data
            position = end

    def sync(self) -> None:
        """Bring what is written to the disk, for a crash of the machine to leave there."""
        end = self.written
        if self.durable >= end:
            return
        _sync(self.path)
        self.durable = end
        self._bytes[_DURABLE] = end.to_bytes(8, "little")

    def trim(self) -> None:
        """Let go of the file, and cut off the room that nothing was put into."""
        self.close()
        with suppress(OSError):  # it was delivered and removed; or it keeps its size
            os.truncate(self.path, self.written)

    def close(self) -> None:
        """Let go of the file."""
        self._bytes.close()


def _allocate(descriptor: int, size: int) -> None:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)
        return
    left = size
    while left:
        left -= os.write(descriptor, bytes(min(left, 1 << 20)))


def _sync(path: Path) -> None:
    """Bring the file to the disk, and its name, and that of its folder."""
    for each in (path, path.parent, path.parent.parent):
        with suppress(FileNotFoundError):
            fsync(each)
