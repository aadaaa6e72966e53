# SPDX-License-Identifier: Apache-2.0
"""How are the records of a storage checked: one after the other, or several at once where each has to be waited for?"""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future
from queue import SimpleQueue
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from strongroom._stored import Checked
from strongroom.errors import NotFoundError, StorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from strongroom._storage import Storage
    from strongroom._stored import Metadata

__all__ = ["check_all", "in_order"]

_T = TypeVar("_T")
_R = TypeVar("_R")
_Jobs: TypeAlias = "SimpleQueue[tuple[Future[_R], _T] | None]"


def check_all(storage: Storage, prefix: str, check: Callable[[str], Metadata]) -> Iterator[Checked]:
    """What *check* finds of each record in the folder *prefix* and below, in the order of the listing."""

    def checked(key: str) -> Checked | None:
        try:
            return Checked(key, check(key), None)
        except NotFoundError:
            return None  # deleted since it was listed
        except StorageError as exc:
            return Checked(key, None, exc)

    keys = (entry.key for entry in storage.walk(prefix))
    found = in_order(checked, keys, storage.at_once) if storage.at_once > 1 else map(checked, keys)
    return (each for each in found if each is not None)


def in_order(work: Callable[[_T], _R], items: Iterable[_T], at_once: int) -> Iterator[_R]:
    """What *work* makes of each of *items*, in their order, by so many threads at once.

    They are at most twice as many items ahead of whoever asks. An error of *work* is raised in its turn. When nobody
    asks any more, nothing is begun any more, and what was begun is not waited for, not even at the end of the process.
    """
    jobs: _Jobs[_R, _T] = SimpleQueue()
    waiting: deque[Future[_R]] = deque()
    threads = 0
    try:
        for item in items:
            waiting.append(Future())
            jobs.put((waiting[-1], item))
            if threads < at_once:
                # A daemon, since a read that hangs would hold up the end of the process.
                threading.Thread(target=_work, args=(work, jobs), name="strongroom-check", daemon=True).start()
                threads += 1
            if len(waiting) >= 2 * at_once:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()
        for _ in range(threads):
            jobs.put(None)


def _work(work: Callable[[_T], _R], jobs: _Jobs[_R, _T]) -> None:
    while (job := jobs.get()) is not None:
        future, item = job
        if future.set_running_or_notify_cancel():
            try:
                future.set_result(work(item))
            except BaseException as exc:  # whatever it is, whoever asks is told
                future.set_exception(exc)
