# SPDX-License-Identifier: Apache-2.0
"""Where do the tasks of a flow run: here, one after the other, or in threads?"""

from __future__ import annotations

import contextvars
import os
import threading
from concurrent.futures import Future
from concurrent.futures._base import FINISHED
from functools import partial
from typing import TYPE_CHECKING

from strongroom._threads import Threads
from strongroom.abc import Executor, StoppedAtOnce
from strongroom.errors import DefinitionError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

__all__ = ["SyncExecutor", "ThreadExecutor", "executor_of"]

_CLOSED = "this executor is not open; use it in a `with` block"
_IN_USE = "this executor is in use by another run; give each run one of its own"


class _Finished(Future[object]):
    """A future that nobody ever waits for: it is made when the result is there.

    A `Future` makes a lock and a condition for those who wait, which takes longer than all the rest of submitting a
    task. These share one; what else a finished future has is the same in all of them.
    """

    _condition = threading.Condition()
    _state = FINISHED
    _exception = None

    def __init__(self, result: object) -> None:
        self._result = result
        self._waiters = []
        self._done_callbacks: list[object] = []

    def done(self) -> bool:
        return True

    def result(self, timeout: float | None = None) -> object:  # noqa: ARG002  # nobody waits
        return self._result


class SyncExecutor(Executor):
    """Runs each callable at once, in the thread that submits it."""

    id = "sync"

    def __init__(self) -> None:
        self._open = False

    def __enter__(self) -> Self:
        if self._open:
            raise RuntimeError(_IN_USE)
        self._open = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open = False

    def submit(self, function: Callable[..., object], /, *args: object) -> Future[object]:
        if not self._open:
            raise RuntimeError(_CLOSED)
        try:
            return _Finished(function(*args))
        except Exception as exc:  # the future carries whatever the callable raises
            future: Future[object] = Future()
            future.set_exception(exc)
            return future


class ThreadExecutor(Executor):
    """Runs callables in threads of this process; each sees the context variables of the thread that submitted it.

    Threads cannot be stopped: the end of the block waits for what they do, unless it ends by a second ctrl-C. What
    they do then goes on until the process ends, which does not wait for it.
    """

    id = "threads"

    def __init__(self, max_workers: int | None = None) -> None:
        if max_workers is not None and (type(max_workers) is not int or max_workers < 1):
            raise DefinitionError("max_workers must be a whole number from 1")
        self._max_workers = max_workers or min(32, (os.cpu_count() or 1) + 4)
        self._threads: Threads[object] | None = None

    def __enter__(self) -> Self:
        if self._threads is not None:
            raise RuntimeError(_IN_USE)
        self._threads = Threads(self._max_workers, "strongroom-task")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        threads, self._threads = self._threads, None
        if threads is None:
            return
        if kind is not None:
            threads.cancel()
        threads.end(wait=kind is not StoppedAtOnce)

    def submit(self, function: Callable[..., object], /, *args: object) -> Future[object]:
        if self._threads is None:
            raise RuntimeError(_CLOSED)
        return self._threads.submit(partial(contextvars.copy_context().run, function, *args))


def executor_of(chosen: Executor | str | None, find: Callable[[str], Executor]) -> Executor:
    """The executor that *chosen* means; *find* finds those of plugins by their ids.

    Raises:
        DefinitionError: it means none.
        MissingPluginError: there is none of this id.
    """
    if chosen is None:
        return SyncExecutor()
    if isinstance(chosen, Executor):
        return chosen
    if isinstance(chosen, type):
        raise DefinitionError(f"the executor is the class {chosen.__name__}; make one of it: {chosen.__name__}()")
    if not isinstance(chosen, str):
        raise DefinitionError(f"the executor is a {type(chosen).__name__}; give an Executor, or the id of one")
    built_in: dict[str, Callable[[], Executor]] = {SyncExecutor.id: SyncExecutor, ThreadExecutor.id: ThreadExecutor}
    return built_in[chosen]() if chosen in built_in else find(chosen)
