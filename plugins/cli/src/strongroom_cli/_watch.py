# SPDX-License-Identifier: Apache-2.0
"""What are the tasks of a run doing, as the engine tells it?"""

from __future__ import annotations

import threading
import time
from collections import Counter
from typing import TYPE_CHECKING

from strongroom import Task, hookimpl
from strongroom.states import Cancelled

if TYPE_CHECKING:
    from collections.abc import Callable

    from strongroom import Flow, State

    Listener = Callable[[Task, State, State], None]

__all__ = ["Watch"]


class Watch:
    """A plugin for the time of one run: it remembers the type and the times of each task's state.

    The engine calls it for every change, in the thread in which the task runs, so that it must be quick. States
    themselves are not kept: they hold results.
    """

    def __init__(self, flow: Flow, clock: Callable[[], float] = time.monotonic) -> None:
        self.run_id = ""
        """Empty before the run has begun."""
        self.listener: Listener | None = None
        """Told of each change of a task's state, under a lock: the task, the old state, the new one."""
        # Every task is here from the start, so that nobody who counts sees the dictionary grow.
        self._types = dict.fromkeys(flow.tasks, "Pending")
        # Of these the states of all children come by, too.
        self._mapped = {task for task in flow.tasks if any(edge.mapped for edge in flow.edges_to(task))}
        self._started: dict[Task, float] = {}
        self._ended: dict[Task, float] = {}
        self._finished = 0
        self._run_began: float | None = None
        self._run_ended: float | None = None
        self._clock = clock
        self._lock = threading.Lock()

    @hookimpl
    def strongroom_state_changed(self, subject: object, old: State, new: State) -> None:
        """Take note; see `strongroom.hookspecs`."""
        now = self._clock()
        if not isinstance(subject, Task):
            self.run_id = str(new.context.get("run_id", self.run_id))
            if new.is_running() and self._run_began is None:
                self._run_began = now
            elif new.is_finished():
                self._run_ended = now
                # A mapped task that never got children has told of its end in a way that one of them could have.
                self._finished = self.total if not isinstance(new, Cancelled) else self._finished
            return
        if new.is_running():
            self._started.setdefault(subject, now)
        with self._lock:
            self._types[subject] = type(new).__name__
            self._ended[subject] = now
            self._finished += new.is_mapped() if subject in self._mapped else new.is_finished() - old.is_finished()
            if self.listener is not None:
                self.listener(subject, old, new)

    @property
    def total(self) -> int:
        """How many tasks the run has."""
        return len(self._types)

    @property
    def finished(self) -> int:
        """How many tasks are in a finished state just now; one that failed and is tried again is not.

        A mapped task is one task, and finished with the last of its children.
        """
        return self._finished

    @property
    def elapsed(self) -> float:
        """Seconds from the beginning of the run to its end, or to now."""
        if self._run_began is None:
            return 0.0
        return (self._clock() if self._run_ended is None else self._run_ended) - self._run_began

    def types(self) -> dict[Task, str]:
        """The type of each task's state, in the order of the flow."""
        return self._types

    def counts(self) -> Counter[str]:
        """How many tasks are in a state of each type."""
        return Counter(self._types.values())

    def seconds(self, task: Task) -> float | None:
        """How long *task* has been at it, from its first start to its newest state; None if it was not started."""
        start = self._started.get(task)
        if start is None:
            return None
        end = self._clock() if self._types[task] == "Running" else self._ended[task]
        return end - start
