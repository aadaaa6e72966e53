# SPDX-License-Identifier: Apache-2.0
"""What of one run is on its way to the backend, on this machine's disk?

A box is a folder of segments, numbered from 0. Whoever puts documents into it or delivers them has its lock, which the
system takes from a process that dies; then the next one that comes delivers what is left.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import time
import weakref
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, TypeVar

import msgspec

from strongroom._segment import OVERHEAD, Segment
from strongroom.abc import Envelope
from strongroom.errors import OutboxDamagedError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["About", "Box", "Contents", "Slit", "segment_size", "size_of"]

T = TypeVar("T")

_NAME = re.compile(r"[0-9]{8}")

_SEGMENT = 1 << 20
# Each time somebody has to come in a certain moment.
_TRIES = 100
# More than that at once gains nothing, and lets a backend that answers late be asked for more than it can do.
_MOST = 1024


class About(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whose documents are in a box, and for whom: the first frame of each segment, so that each can stand alone."""

    run_id: str
    backend: str
    """The id of the backend."""
    address: str
    """Which of the backends of that id it is."""


_encode = msgspec.msgpack.Encoder().encode
_envelope = msgspec.msgpack.Decoder(Envelope)
_about = msgspec.msgpack.Decoder(About)


class Slit:
    """The way into a box. One thread puts at a time."""

    def __init__(self, folder: Path, about: About, most_bytes: int) -> None:
        """Put into the box *folder*, as long as all boxes beside it together have at most *most_bytes*."""
        self._folder = folder
        self._about = _encode(about)
        self._most_bytes = most_bytes
        self._next = 0
        self._segment: Segment | None = None

    def put(self, envelope: Envelope, *, anyway: bool = False) -> bool:
        """Keep *envelope*; False if there is no room, unless it is to be kept *anyway*.

        Raises:
            OSError: the disk does not take it.
        """
        data = _encode(envelope)
        return (self._segment is not None and self._segment.append(data)) or self._go_on(data, anyway=anyway)

    def _go_on(self, data: bytes, *, anyway: bool) -> bool:
        """Put *data* into a new segment."""
        needed = 2 * OVERHEAD + len(self._about) + len(data)
        size = max(segment_size(self._most_bytes), needed)
        if not anyway and size_of(self._folder.parent) + size > self._most_bytes:
            return False
        segment = Segment.create(self._folder / f"{self._next:08}", size, self._about)
        segment.append(data)
        self._next += 1
        self.close()
        self._segment = segment
        return True

    def close(self) -> None:
        """Let go of the file, and give back the room that nothing was put into. Closing twice is allowed."""
        if self._segment is not None:
            self._segment.trim()
            self._segment = None


class Box:
    """The documents of one run that wait, for one thread to deliver; the lock is held until it is closed."""

    def __init__(self, folder: Path, lock: int, *, is_left: bool) -> None:
        self.folder = folder
        self.about: About | None = None
        """None as long as `look` found nothing."""
        self.is_torn = False
        """True if a crash of the machine tore off the end, of which nobody had been told that it was safe."""
        self._lock: int | None = lock
        self._is_left = is_left
        self._segment: Segment | None = None
        self._taken = 0
        _locked.add(self)

    @classmethod
    def create(cls, root: Path, run_id: str) -> Box:
        """A new box below *root*, which is made if it is not there.

        Raises:
            OSError: it cannot be made.
        """
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        for _ in range(_TRIES):
            # By the time, so that what was first put is first delivered.
            folder = root / f"{time.time_ns():016x}-{run_id}"
            folder.mkdir(mode=0o700)
            # Whoever looks for what others left may find it before it is locked, and takes away what is empty.
            lock = _lock_of_what_stays(folder)
            if lock is not None:
                return cls(folder, lock, is_left=False)
        raise BlockingIOError(errno.EBUSY, "others take away each box as soon as it is made", str(root))

    @classmethod
    def open(cls, folder: Path) -> Box | None:
        """A box that another process left; None if there is one that has it, or has just delivered it."""
        try:
            lock = _lock(folder)
        except FileNotFoundError:
            return None
        return None if lock is None else cls(folder, lock, is_left=True)

    def look(self) -> About | None:
        """Whose box it is; None if nobody has put anything into it.

        Raises:
            OutboxDamagedError: what is there is not what was put.
        """
        self._current(_numbers(self.folder))
        return self.about

    def take(self) -> list[Envelope]:
        """The next envelopes that are not delivered, in their order; none if all are. `confirm` says that they are now.

        Raises:
            OutboxDamagedError: what is there is not what was put.
        """
        if self._segment is not None and (frames := self._waiting(self._segment)):
            return frames
        while True:
            # Before the segment is looked at: the one before another gets nothing more.
            numbers = _numbers(self.folder)
            segment = self._current(numbers)
            if segment is None:
                return []
            frames = self._waiting(segment)
            if frames or len(numbers) == 1 or not self._has_begun(numbers[1]):
                return frames
            if self.is_torn:
                raise OutboxDamagedError(str(segment.path), "a crash of the machine tore it, and more follows")
            self._segment = None
            segment.close()
            segment.path.unlink()

    def _waiting(self, segment: Segment) -> list[Envelope]:
        """The next envelopes of *segment* that are not delivered."""
        if not self._is_left:
            segment.refresh()
        frames, self._taken = segment.waiting(_MOST)
        return _decoded(segment, _envelope, frames)

    def confirm(self) -> None:
        """What was taken last has been delivered."""
        if self._segment is not None:
            self._segment.deliver(self._taken)

    def _current(self, numbers: list[int]) -> Segment | None:
        if self._segment is None and numbers:
            path = _path(self.folder, numbers[0])
            segment = Segment.open(path)
            if segment is not None and self._is_left:
                self.is_torn = not segment.check()
            first = None if segment is None else segment.first()
            if segment is None or first is None:
                # Whoever is making it, or died when he did, has not put anything into it.
                if len(numbers) > 1:
                    raise OutboxDamagedError(str(path), "it is empty")
                return None
            self.about = _decoded(segment, _about, [first])[0]
            self._segment = segment
        return self._segment

    def _has_begun(self, number: int) -> bool:
        # Until it has, the last document of all is in the segment before it, and tells how far the run has come.
        segment = Segment.open(_path(self.folder, number))
        if segment is None:
            return False
        has_begun = segment.holds_more
        segment.close()
        return has_begun

    def sync(self) -> None:
        """Bring everything to the disk, so that a crash of the machine leaves it there."""
        for number in _numbers(self.folder):
            segment = Segment.open(_path(self.folder, number))
            if segment is not None:
                segment.sync()
                segment.close()

    def remove(self) -> None:
        """Remove the box, whatever is in it, and let go of it."""
        for number in _numbers(self.folder):
            _path(self.folder, number).unlink(missing_ok=True)
        with suppress(OSError):  # something else is in it, which is not ours
            self.folder.rmdir()
        self.close()

    def close(self) -> None:
        """Let go of it, for others to deliver what is left. Closing twice is allowed."""
        if self._segment is not None:
            self._segment.close()
            self._segment = None
        self.unlock()

    def unlock(self) -> None:
        """Let go of the lock alone: in a process that was forked, where it is the parent's."""
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)


class Contents:
    """What is in a box, whoever has its lock; nothing is changed there.

    Raises:
        OutboxDamagedError: what is there is not what was put.
    """

    def __init__(self, folder: Path) -> None:
        self.about: About | None = None
        """None if nobody has put anything into it."""
        self.documents = 0
        """How many of them wait."""
        self._newest = b""
        for number in _numbers(folder):
            with suppress(FileNotFoundError):  # it was delivered meanwhile
                self._add(Segment.open(_path(folder, number)))

    @property
    def newest(self) -> Envelope | None:
        """The envelope that was put last, delivered or not."""
        return _envelope.decode(self._newest) if self._newest else None

    def _add(self, segment: Segment | None) -> None:
        if segment is None:
            return
        segment.check()
        (_, first), *rest = (*segment.frames(), (0, b""))
        if first:
            self.about = _decoded(segment, _about, [first])[0]
        for end, frame in rest[:-1]:
            self.documents += end > segment.delivered
            self._newest = frame
        segment.close()


def segment_size(most_bytes: int) -> int:
    """How many bytes more a box takes at once, where all boxes may have *most_bytes*."""
    return min(_SEGMENT, most_bytes // 4)


def size_of(root: Path, files: str = "*/*") -> int:
    """How many bytes all boxes below *root* take, or all *files* there."""
    size = 0
    for file in root.glob(files):
        with suppress(FileNotFoundError):  # it was delivered meanwhile
            size += file.stat().st_size
    return size


def _path(folder: Path, number: int) -> Path:
    return folder / f"{number:08}"


def _numbers(folder: Path) -> list[int]:
    """The segments that are there, the oldest first."""
    try:
        with os.scandir(folder) as entries:
            return sorted(int(entry.name) for entry in entries if _NAME.fullmatch(entry.name))
    except FileNotFoundError:
        return []


def _decoded(segment: Segment, decoder: msgspec.msgpack.Decoder[T], frames: list[bytes]) -> list[T]:
    try:
        return list(map(decoder.decode, frames))
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise OutboxDamagedError(str(segment.path), "it holds something else than documents") from None


def _lock(folder: Path) -> int | None:
    """A descriptor that has the lock of *folder*; None if somebody else has it."""
    _let_go_in_forks()
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException as exc:
        os.close(descriptor)
        if isinstance(exc, BlockingIOError):
            return None
        raise
    return descriptor


def _lock_of_what_stays(folder: Path) -> int | None:
    """As `_lock`; None, too, if somebody has removed *folder* before this process had the lock."""
    lock = None
    with suppress(FileNotFoundError):
        lock = _lock(folder)
        if lock is None or os.path.samestat(os.fstat(lock), folder.stat()):
            return lock
    if lock is not None:
        os.close(lock)
    return None


_locked: weakref.WeakSet[Box] = weakref.WeakSet()


@cache
def _let_go_in_forks() -> None:
    """A forked process has the locks, too, and would keep what it never delivers when this one has died."""
    os.register_at_fork(after_in_child=_let_go)


def _let_go() -> None:
    for box in _locked:
        box.unlock()
