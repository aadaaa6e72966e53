# SPDX-License-Identifier: Apache-2.0
"""How is a task's function called: plain or async, and for how long?"""

from __future__ import annotations

import contextlib
import contextvars
import inspect
import threading
import time
from concurrent.futures import Future
from concurrent.futures import wait as wait_for_all
from types import CoroutineType
from typing import TYPE_CHECKING

from strongroom.crossing import last_resort
from strongroom.errors import TaskTimeoutError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence
    from contextlib import AbstractContextManager
    from datetime import timedelta

__all__ = ["call"]

# A coroutine that is cancelled may clean up for so long before it counts as one that cannot be stopped.
_CLEANING_UP = 1.0


def call(function: Callable[..., object], inputs: Mapping[str, object], timeout: timedelta | None) -> object:
    """What *function* returns; a coroutine is run to its end.

    Raises:
        TaskTimeoutError: it took longer than *timeout*. A coroutine is cancelled. A thread cannot be stopped, so a
            plain function goes on in the background, as a coroutine that does not end when it is cancelled; the error
            says that.
    """
    # What comes back says whether to wait for it. To ask the function takes longer than most calls, and one that
    # only passes a coroutine on would not know.
    if timeout is None or inspect.iscoroutinefunction(function):
        value = function(**inputs)
    else:
        value = _in_thread(lambda: function(**inputs), timeout)
    return _call_async(value, timeout) if type(value) is CoroutineType else value


def _call_async(coroutine: Coroutine[object, object, object], timeout: timedelta | None) -> object:
    # A sixth of all the time that `import strongroom` would take, for what most flows do not have.
    import asyncio

    cancel: list[Callable[[], object]] = []

    async def run() -> object:
        loop, this = asyncio.get_running_loop(), asyncio.current_task()
        assert this is not None  # noqa: S101  # a coroutine is run by a task
        cancel.append(lambda: loop.call_soon_threadsafe(this.cancel))
        return await (coroutine if timeout is None else _within(timeout, coroutine))

    if timeout is None and not _loop_is_running():
        return asyncio.run(run())
    # A notebook has a loop in this thread already, and one thread can run only one. And whatever the coroutine does,
    # somebody else has to look at the clock.
    return _in_thread(lambda: asyncio.run(run()), timeout, patience=_CLEANING_UP, cancel=cancel)


async def _within(limit: timedelta, coroutine: Coroutine[object, object, object]) -> object:
    import asyncio

    seconds, started = limit.total_seconds(), time.monotonic()
    try:
        value = await asyncio.wait_for(coroutine, seconds)
    except TimeoutError as exc:
        # The task's own code may raise this too; only the one that follows from cancelling is ours.
        if isinstance(exc.__cause__, asyncio.CancelledError):
            raise TaskTimeoutError(seconds, goes_on=False) from None
        raise
    if time.monotonic() - started > seconds:
        # It held up its loop, or did not let itself be cancelled.
        raise TaskTimeoutError(seconds, goes_on=False)
    return value


def _loop_is_running() -> bool:
    import asyncio

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _in_thread(
    function: Callable[[], object],
    timeout: timedelta | None,
    *,
    patience: float = 0.0,
    cancel: Sequence[Callable[[], object]] = (),
) -> object:
    """Call *function* in a thread of its own, which sees the same context variables, and wait no longer than said.

    If the waiting is interrupted, *cancel* is called, and given as much *patience* as it has.
    """
    future: Future[object] = Future()

    def run() -> None:
        try:
            result = function()
        except BaseException as exc:  # the future carries whatever the user's code raises
            future.set_exception(exc)
        else:
            future.set_result(result)

    seconds = None if timeout is None else min(timeout.total_seconds() + patience, threading.TIMEOUT_MAX)
    # A daemon: what cannot be stopped must not keep the process from ending.
    thread = threading.Thread(target=contextvars.copy_context().run, args=(run,), name="strongroom-timed", daemon=True)
    try:
        with _watched(timeout, seconds):
            thread.start()
            return future.result(seconds)
    except TimeoutError:
        if future.done() or timeout is None:
            raise  # the function's own
        raise TaskTimeoutError(timeout.total_seconds(), goes_on=True) from None
    except KeyboardInterrupt:
        for each in cancel:
            with contextlib.suppress(RuntimeError):  # it has just ended
                each()
        wait_for_all([future], patience)
        raise


def _watched(timeout: timedelta | None, seconds: float | None) -> AbstractContextManager[object]:
    watch = last_resort.get()
    if watch is None or timeout is None or seconds is None:
        return contextlib.nullcontext()
    return watch(seconds, TaskTimeoutError(timeout.total_seconds(), goes_on=True))
