# SPDX-License-Identifier: Apache-2.0
"""How does a ctrl-C come between two steps of a run, and never into the middle of one?

Python raises KeyboardInterrupt wherever the main thread happens to be: also where a document has been sent, and its
number is not yet counted. So it is held off for as long as something is written down.
"""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType, TracebackType
    from typing import Self

__all__ = ["CancelledElsewhere", "Interrupts"]


class CancelledElsewhere(KeyboardInterrupt):
    """A run ends as by ctrl-C, because another process asked for that."""

    def __init__(self) -> None:
        super().__init__("cancelled from another process")


class Interrupts:
    """While its ``with`` block is open, SIGINT waits for the end of what is between `hold` and `let_go`.

    What comes of it then is up to whoever was to hear of it before. Only the main thread hears of signals, so in any
    other thread all of this does nothing.
    """

    __slots__ = ("_before", "_depth", "_is_pending", "_thread")

    def __init__(self) -> None:
        self._before: Callable[[int, FrameType | None], object] | None = None
        self._depth = 0
        self._is_pending = False
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
        # A task may have put something else in its place, which is to stay.
        if self._before is not None and signal.getsignal(signal.SIGINT) == self._hear:
            signal.signal(signal.SIGINT, self._before)

    def hold(self) -> None:
        """Hold interrupts off until `let_go` was called as often as this."""
        if threading.get_ident() == self._thread:
            self._depth += 1

    def let_go(self) -> None:
        """Let one come through that was held off."""
        if threading.get_ident() != self._thread:
            return
        self._depth -= 1
        if self._is_pending and not self._depth and self._before is not None:
            self._is_pending = False
            self._before(signal.SIGINT, None)

    @contextmanager
    def held_off(self) -> Iterator[None]:
        """A ``with`` block that no interrupt comes into."""
        self.hold()
        try:
            yield
        finally:
            self.let_go()

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if self._depth:
            self._is_pending = True
        elif self._before is not None:
            self._before(number, frame)
