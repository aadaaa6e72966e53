# SPDX-License-Identifier: Apache-2.0
"""How does an exception of the user's code get to a debugger, instead of into a state?"""

from __future__ import annotations

import contextlib
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["is_debugged", "raise_on_exception"]

_is_debugged: ContextVar[bool] = ContextVar("strongroom_debugged", default=False)


@contextlib.contextmanager
def raise_on_exception() -> Iterator[None]:
    """Let the first exception in a task, a trigger or a state handler end the run, and come out of ``flow.run()``.

    For debugging: without it the exception becomes a Failed state, and the run goes on. Signals are no exceptions.
    """
    token = _is_debugged.set(True)
    try:
        yield
    finally:
        _is_debugged.reset(token)


def is_debugged() -> bool:
    """True within `raise_on_exception`."""
    return _is_debugged.get()
