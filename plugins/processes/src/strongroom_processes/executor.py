# SPDX-License-Identifier: Apache-2.0
"""Where do tasks run that are to have a process each?"""

from __future__ import annotations

import threading
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, ClassVar, cast

from loky import cpu_count

from strongroom import Executor
from strongroom.errors import DefinitionError, TaskTimeoutError, TransferError, WorkerDiedError
from strongroom_processes._pickling import Definitions, dumps, loads
from strongroom_processes._worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

__all__ = ["ProcessExecutor"]

_CLOSED = "this executor is not open; use it in a `with` block"
_IN_USE = "this executor is in use by another run; give each run one of its own"


class ProcessExecutor(Executor):
    """Runs callables in processes of this machine, one at a time in each; they are started when they are needed.

    A process that dies takes nothing with it but the callable that it ran: another one is started in its place.

    Args:
        max_workers: how many processes; by default as many as this one may use cores.
    """

    id = "processes"
    crosses_processes: ClassVar[bool] = True

    def __init__(self, max_workers: int | None = None) -> None:
        if max_workers is not None and (type(max_workers) is not int or max_workers < 1):
            raise DefinitionError("max_workers must be a whole number from 1")
        self.workers = max_workers or cpu_count()
        self._threads: ThreadPoolExecutor | None = None
        self._lock = threading.Lock()
        self._idle: list[Worker] = []
        self._busy: set[Worker] = set()
        self._stopping = False
        self._definitions: Definitions = {}

    def __enter__(self) -> Self:
        if self._threads is not None:
            raise RuntimeError(_IN_USE)
        self._stopping = False
        self._definitions = {}
        self._threads = ThreadPoolExecutor(self.workers, thread_name_prefix="strongroom-process")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        threads, self._threads = self._threads, None
        if threads is None:
            return
        if kind is not None:
            self._stop()
        threads.shutdown(wait=True, cancel_futures=kind is not None)
        workers, self._idle = self._idle, []
        # All of them first, so that they end at the same time.
        for worker in workers:
            worker.close()
        for worker in workers:
            worker.join()

    def submit(self, function: Callable[..., object], /, *args: object) -> Future[object]:
        if self._threads is None:
            raise RuntimeError(_CLOSED)
        return self._threads.submit(self._run, function, args)

    def _stop(self) -> None:
        with self._lock:
            self._stopping = True
            for worker in self._busy:
                worker.kill()

    def _run(self, function: Callable[..., object], args: tuple[object, ...]) -> object:
        instead = "give them what can be pickled, or use the executor 'threads'"
        what = "the task, its inputs, its storage or the context"
        message = dumps((function, args), what, instead=instead, definitions=self._definitions)
        worker = self._take()
        try:
            answer = worker.call(message)
        except WorkerDiedError:
            self._lose(worker)
            if self._stopping:
                raise CancelledError from None
            raise
        returned, value = self._read(worker, answer)
        if returned:
            return value
        assert isinstance(value, BaseException)  # noqa: S101  # what was raised
        raise value

    def _read(self, worker: Worker, answer: bytes) -> tuple[bool, object]:
        try:
            returned, value = cast("tuple[bool, object]", loads(answer))
        except Exception as exc:  # the user's classes may raise anything while they are made
            self._give_back(worker)
            raise TransferError("what the task returned", exc, instead="see that this process can import it") from exc
        if not returned and isinstance(value, TaskTimeoutError) and value.goes_on:
            # Here it can be stopped, with its process.
            worker.kill()
            worker.join()
            self._lose(worker)
            return False, TaskTimeoutError(value.seconds, goes_on=False)
        self._give_back(worker)
        return returned, value

    def _take(self) -> Worker:
        with self._lock:
            if self._stopping:
                raise CancelledError
            worker = self._idle.pop() if self._idle else None
            # One that died while nobody used it is nobody's failure.
            if worker is not None and worker.is_alive:
                self._busy.add(worker)
                return worker
        if worker is not None:
            worker.join()
        worker = Worker()
        with self._lock:
            self._busy.add(worker)
            if self._stopping:
                worker.kill()
        return worker

    def _give_back(self, worker: Worker) -> None:
        with self._lock:
            self._busy.discard(worker)
            self._idle.append(worker)

    def _lose(self, worker: Worker) -> None:
        with self._lock:
            self._busy.discard(worker)
