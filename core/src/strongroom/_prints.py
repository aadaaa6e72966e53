# SPDX-License-Identifier: Apache-2.0
"""How do the prints of a task become lines of its log?"""

from __future__ import annotations

import sys
import threading
from contextvars import ContextVar
from typing import TYPE_CHECKING, TextIO, cast

from strongroom._call import call
from strongroom.context import context

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import timedelta

__all__ = ["call_logging_prints"]

# A print without an end must not fill the memory.
_LONGEST = 64 << 10


def call_logging_prints(
    function: Callable[..., object], inputs: Mapping[str, object], timeout: timedelta | None
) -> object:
    """As `call`, with what *function* prints to standard output logged line by line, and not printed."""
    prints = _Prints()
    _stdout.open()
    token = _printing.set(prints)
    try:
        return call(function, inputs, timeout)
    finally:
        _printing.reset(token)
        prints.finish()
        _stdout.close()


class _Prints:
    """What one task prints: whole lines go to its logger."""

    def __init__(self) -> None:
        self._rest = ""
        # A task may print from several threads.
        self._lock = threading.Lock()

    def write(self, text: str) -> None:
        with self._lock:
            *lines, self._rest = (self._rest + text).split("\n")
            if len(self._rest) > _LONGEST:
                lines.append(self._rest)
                self._rest = ""
        self._log(lines)

    def finish(self) -> None:
        with self._lock:
            rest, self._rest = self._rest, ""
        self._log([rest] if rest else [])

    def _log(self, lines: list[str]) -> None:
        # A handler may print in its turn, and that is no print of the task's.
        token = _printing.set(None)
        try:
            for line in lines:
                context.logger.info("%s", line)
        finally:
            _printing.reset(token)


_printing: ContextVar[_Prints | None] = ContextVar("strongroom_prints", default=None)


class _Stdout:
    """Stands in place of ``sys.stdout``, which all threads share, while a task's prints are logged."""

    def __init__(self) -> None:
        self._tasks = 0
        self._turns = threading.Lock()
        self._real: TextIO = sys.__stdout__  # type: ignore[assignment]  # replaced before anybody writes

    def open(self) -> None:
        with self._turns:
            if self._tasks == 0:
                self._real, sys.stdout = sys.stdout, cast("TextIO", self)
            self._tasks += 1

    def close(self) -> None:
        with self._turns:
            self._tasks -= 1
            # Whoever has put something else there meanwhile is to keep it.
            if self._tasks == 0 and sys.stdout is cast("TextIO", self):
                sys.stdout = self._real

    def write(self, text: str) -> int:
        prints = _printing.get()
        if prints is None:
            return self._real.write(text)
        prints.write(text)
        return len(text)

    def writelines(self, lines: list[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> object:
        return getattr(self._real, name)


_stdout = _Stdout()
