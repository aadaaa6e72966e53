# SPDX-License-Identifier: Apache-2.0
"""How does a ctrl-C come between two steps of a run, and never into the middle of one?

Python raises KeyboardInterrupt wherever the main thread happens to be: also where a document has been sent and its
number is not yet counted, or where a lock was just taken that nobody will ever give back. So it comes only where
somebody is ready for it, which the interrupted code itself says, so that nothing has to be done before and after each
step: at once into a task and where the run waits for one, else at the next of these places. Who does not want to wait
for that presses ctrl-C a second time: then it comes at once, but still not into what is being written down.
"""

from __future__ import annotations

import _thread
import enum
import logging
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING

from strongroom.abc import StoppedAtOnce

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import CodeType, FrameType, TracebackType
    from typing import Self

__all__ = ["LISTEN", "CancelledElsewhere", "Comes", "Interrupts", "RunEnds", "pause"]

_log = logging.getLogger("strongroom")

LISTEN = 0.2
"""How long the main thread waits at once: the system may tell another thread of a ctrl-C, and wake only that one."""
# Most runs end faster than anybody could read why they do not.
_SILENCE = 0.3


class CancelledElsewhere(KeyboardInterrupt):
    """A run ends as by ctrl-C, because another process asked for that."""

    def __init__(self) -> None:
        super().__init__("cancelled from another process")


class RunEnds(BaseException):  # as KeyboardInterrupt, which is mostly why
    """The run is told to stop, so what a thread of it does is not finished, and nobody waits for it."""


def pause(seconds: float) -> None:
    """Do nothing, in a place into which a ctrl-C may come."""
    time.sleep(seconds)


class Comes(enum.Enum):
    """When an interrupt comes into a piece of code."""

    NOW = enum.auto()
    LATER = enum.auto()
    """When that has ended; the second one comes at once."""
    AFTER_IT = enum.auto()
    """When that has ended, however many there are."""


class Interrupts:
    """While its ``with`` block is open, SIGINT comes where *places* says; elsewhere it is `Comes.LATER`.

    The innermost of them decides. What comes of it is up to whoever was to hear of it before. Only the main thread
    hears of signals, so in any other thread all of this does nothing.

    Attributes:
        is_pending: one waits for `check`.
        is_second: two have been pressed, so that nobody is to wait for anything any more.
        who: says, for people, whose end the run would wait for now.
    """

    __slots__ = ("_before", "_has_come", "_places", "_thread", "is_pending", "is_second", "who")

    def __init__(self, places: Mapping[CodeType, Comes] | None = None) -> None:
        self.is_pending = False
        self.who: Callable[[], str] = lambda: "what is being prepared"
        # A run inside of a task of another one hands on what came.
        self._places = {**(places or {}), Interrupts._come.__code__: Comes.NOW}
        self._before: Callable[[int, FrameType | None], object] | None = None
        self._has_come = False
        self.is_second = False
        self._thread = 0

    def __enter__(self) -> Self:
        before = signal.getsignal(signal.SIGINT)
        if threading.current_thread() is threading.main_thread() and callable(before):
            self._before, self._thread = before, threading.get_ident()
            signal.signal(signal.SIGINT, self._hear)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        thread, self._thread = self._thread, 0
        if not thread:
            return
        # A task may have put something else in its place, which is to stay.
        if signal.getsignal(signal.SIGINT) == self._hear:
            signal.signal(signal.SIGINT, self._before)
        # One that came too late for the run is the program's.
        if self.is_pending and (kind is None or not issubclass(kind, KeyboardInterrupt)):
            self._come()

    def check(self) -> None:
        """Let one come through that waits. In any other thread than the main one, do nothing."""
        if self.is_pending and threading.get_ident() == self._thread:
            self._come()

    def _hear(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002  # as Python calls it
        self.is_second = self.is_pending or self._has_come
        comes = self._when(frame)
        if comes is Comes.AFTER_IT or (comes is Comes.LATER and not self.is_second):
            self.is_pending = True
        if not self.is_second:
            # Not a `Thread`: the code that was interrupted may hold the lock that this takes. Not here: it may be
            # writing to the same stream.
            _thread.start_new_thread(self._tell, ())
        if comes is Comes.NOW or (comes is Comes.LATER and self.is_second):
            self._come()

    def _when(self, frame: FrameType | None) -> Comes:
        while frame is not None:
            comes = self._places.get(frame.f_code)
            if comes is not None:
                return comes
            frame = frame.f_back
        return Comes.LATER

    def _come(self) -> None:
        assert self._before is not None  # noqa: S101  # nothing was heard otherwise
        self.is_pending = False
        try:
            self._before(signal.SIGINT, sys._getframe())  # noqa: SLF001  # the only way to say where we are
        except KeyboardInterrupt:
            self._has_come = True
            if self.is_second:
                raise StoppedAtOnce("stopped at once by a second ctrl-C") from None
            raise

    def _tell(self) -> None:
        """Say, if the run is still there after a moment, what it waits for, and how not to wait."""
        time.sleep(_SILENCE)
        if self._thread and not self.is_second and (self.is_pending or self._has_come):
            _log.warning("ctrl-C: waiting for the end of %s; press it again to stop at once", self.who())
