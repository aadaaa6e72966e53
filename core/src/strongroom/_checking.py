# SPDX-License-Identifier: Apache-2.0
"""How are the records of a storage checked: one after the other, or several at once where each has to be waited for?"""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from strongroom._stored import Checked
from strongroom._threads import Threads
from strongroom.errors import NotFoundError, StorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Future

    from strongroom._storage import Storage
    from strongroom._stored import Metadata

__all__ = ["check_all", "in_order"]

_T = TypeVar("_T")
_R = TypeVar("_R")


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
    threads = Threads[_R](at_once, "strongroom-check")
    waiting: deque[Future[_R]] = deque()
    try:
        for item in items:
            waiting.append(threads.submit(partial(work, item)))
            if len(waiting) >= 2 * at_once:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        threads.cancel()
        threads.end(wait=False)
