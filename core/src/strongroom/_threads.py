# SPDX-License-Identifier: Apache-2.0
"""How is something done in threads that nobody has to wait for in the end?"""

from __future__ import annotations

import queue
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Generic, TypeAlias, TypeVar

from strongroom._interrupts import LISTEN

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Threads"]

_R = TypeVar("_R")
_Work: TypeAlias = "tuple[Future[_R], Callable[[], _R]]"


class Threads(Generic[_R]):
    """At most so many threads that do one thing after the other; they are started when they are needed.

    Those of `concurrent.futures` keep a process from ending until they end, so that nothing would end a run whose task
    goes on for ever, or a check that reads from a storage that hangs.
    """

    def __init__(self, most: int, name: str) -> None:
        self._most = most
        self._name = name
        self._work: queue.SimpleQueue[_Work[_R] | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._ended: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._unfinished = 0
        self._lock = threading.Lock()

    def submit(self, call: Callable[[], _R]) -> Future[_R]:
        """What will become of *call*, which is made when a thread is free."""
        future: Future[_R] = Future()
        self._work.put((future, call))
        with self._lock:
            self._unfinished += 1
            if len(self._threads) < min(self._unfinished, self._most):
                name = f"{self._name}_{len(self._threads)}"
                thread = threading.Thread(target=self._work_on, name=name, daemon=True)
                thread.start()
                self._threads.append(thread)
        return future

    def cancel(self) -> None:
        """Let nobody begin with what has not begun."""
        try:
            while (work := self._work.get_nowait()) is not None:
                work[0].cancel()
        except queue.Empty:
            pass

    def end(self, *, wait: bool) -> None:
        """Let them end when nothing is left, and *wait* for that."""
        for _ in self._threads:
            self._work.put(None)
        left = len(self._threads) if wait else 0
        # Nothing that an interrupt could leave locked, as it could within `Thread.join`.
        while left:
            try:
                self._ended.get(timeout=LISTEN)
                left -= 1
            except queue.Empty:
                continue
        for thread in self._threads if wait else ():
            thread.join()

    def _work_on(self) -> None:
        while (work := self._work.get()) is not None:
            future, call = work
            if future.set_running_or_notify_cancel():
                _fulfil(future, call)
            # Not until the next one comes: what it holds may be large.
            del work, future, call
            with self._lock:
                self._unfinished -= 1
        self._ended.put(None)


def _fulfil(future: Future[_R], call: Callable[[], _R]) -> None:
    try:
        result = call()
    except BaseException as exc:  # the future carries whatever the callable raises
        future.set_exception(exc)
    else:
        future.set_result(result)
