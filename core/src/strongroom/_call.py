# SPDX-License-Identifier: Apache-2.0
"""How is a task's function called: plain or async, and for how long?"""

from __future__ import annotations

import contextvars
import inspect
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING

from strongroom.errors import TaskTimeoutError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping
    from datetime import timedelta

__all__ = ["call"]


def call(function: Callable[..., object], inputs: Mapping[str, object], timeout: timedelta | None) -> object:
    """What *function* returns; a coroutine is run to its end.

    Raises:
        TaskTimeoutError: it took longer than *timeout*. A coroutine is cancelled; a thread cannot be stopped, so a
            plain function goes on in the background, which the error says.
    """
    if inspect.iscoroutinefunction(function):
        return _call_async(function(**inputs), timeout)
    if timeout is None:
        return function(**inputs)
    return _in_thread(lambda: function(**inputs), timeout)


def _call_async(coroutine: Coroutine[object, object, object], timeout: timedelta | None) -> object:
    # A sixth of all the time that `import strongroom` would take, for what most flows do not have.
    import asyncio

    async def run() -> object:
        try:
            return await asyncio.wait_for(coroutine, None if timeout is None else timeout.total_seconds())
        except TimeoutError as exc:
            # The task's own code may raise this too; only the one that follows from cancelling is ours.
            if timeout is not None and isinstance(exc.__cause__, asyncio.CancelledError):
                raise TaskTimeoutError(timeout.total_seconds(), goes_on=False) from None
            raise

    if _loop_is_running():
        # A notebook has a loop in this thread already, and one thread can run only one.
        return _in_thread(lambda: asyncio.run(run()), None)
    return asyncio.run(run())


def _loop_is_running() -> bool:
    import asyncio

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _in_thread(function: Callable[[], object], timeout: timedelta | None) -> object:
    """Call *function* in a thread of its own, which sees the same context variables, and wait no longer than said."""
    future: Future[object] = Future()

    def run() -> None:
        try:
            result = function()
        except BaseException as exc:  # the future carries whatever the user's code raises
            future.set_exception(exc)
        else:
            future.set_result(result)

    # A daemon: what cannot be stopped must not keep the process from ending.
    threading.Thread(target=contextvars.copy_context().run, args=(run,), name="strongroom-timed", daemon=True).start()
    try:
        return future.result(None if timeout is None else timeout.total_seconds())
    except TimeoutError:
        if future.done() or timeout is None:
            raise  # the function's own
        raise TaskTimeoutError(timeout.total_seconds(), goes_on=True) from None
