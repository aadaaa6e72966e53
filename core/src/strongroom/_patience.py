# SPDX-License-Identifier: Apache-2.0
"""How long is a storage waited for that gives no sign of life?

The libraries of file systems try again by themselves, some for many minutes, and few can be told not to.
"""

from __future__ import annotations

import contextvars
import math
import threading
import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Patience", "wait_for"]

_T = TypeVar("_T")


class Patience:
    """So many seconds from the last sign of life on."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._last = math.inf
        self.renew()

    def renew(self, extra: float = 0.0) -> None:
        """Something has moved: wait from now on, and *extra* seconds longer this time."""
        self._end = min(self._last, self._clock() + self._seconds + extra)

    def lose(self) -> None:
        """Give up, whatever moves from now on."""
        self._last = self._end = self._clock()

    @property
    def left(self) -> float:
        """Seconds; 0 if nothing has moved for too long."""
        return max(0.0, self._end - self._clock())


def wait_for(step: Callable[[], _T], patience: Patience) -> _T:
    """What *step* returns or raises, as long as there is *patience*.

    It is called in a thread of its own, since nothing else ends a call that hangs; that thread stays until it does.

    Raises:
        TimeoutError: nothing moved for too long.
    """
    outcome: list[tuple[_T | None, BaseException | None]] = []
    done = threading.Event()

    def call() -> None:
        try:
            outcome.append((step(), None))
        except BaseException as exc:  # whatever it is, the caller is told
            outcome.append((None, exc))
        done.set()

    # A daemon, or the end of the process would wait for what nobody waits for any more.
    threading.Thread(
        target=contextvars.copy_context().run, args=(call,), name="strongroom-storage", daemon=True
    ).start()
    while not done.wait(patience.left):
        if not patience.left:
            # What hangs may yet go on, and must not take that for a reason to be waited for again.
            patience.lose()
            raise TimeoutError("nothing moved for too long")
    ((value, error),) = outcome
    if error is not None:
        raise error
    return value  # type: ignore[return-value]  # there is one where there is no error
