# SPDX-License-Identifier: Apache-2.0
"""How far has a command got that takes long?"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

__all__ = ["Counting"]

_PAUSE = 0.2
_CLEAR = "\r\x1b[K"


class Counting:
    """A count on the terminal that is gone at the end; nothing where nobody looks. A ``with`` block."""

    def __init__(self, what: str, clock: Callable[[], float] = time.monotonic, *, total: int | None = None) -> None:
        """Count *what*, such as ``records checked``; of how many, if that is known."""
        self._what = what if total is None else f"of {total} {what}"
        self._clock = clock
        self._watched = sys.stderr.isatty()
        self._count = 0
        # What is done before anybody could read of it says nothing.
        self._next = clock() + _PAUSE
        self._shown = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, at: TracebackType | None) -> None:
        self.clear()

    def step(self, *_: object) -> None:
        """One more."""
        self._count += 1
        if self._watched and self._clock() >= self._next:
            self._write(f"\r{self._count} {self._what}")
            self._shown = True
            self._next = self._clock() + _PAUSE

    def clear(self) -> None:
        """Make room for something that is printed."""
        if self._shown:
            self._write(_CLEAR)
            self._shown = False

    @staticmethod
    def _write(text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()
