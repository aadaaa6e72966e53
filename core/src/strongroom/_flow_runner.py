# SPDX-License-Identifier: Apache-2.0
"""In which order do the tasks of a flow run, and how does the run end?"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import queue
from typing import TYPE_CHECKING

from strongroom._task_runner import TaskRunner
from strongroom.context import context
from strongroom.errors import EgressError
from strongroom.states import Cancelled, Failed, Pending, Running, Scheduled, State, Success

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from concurrent.futures import Future

    from strongroom._graph import Graph
    from strongroom._run import Run
    from strongroom._task import Task
    from strongroom.abc import Executor

__all__ = ["FlowRunner"]

# Python hears of a ctrl-C only between two waits: the system may have told another thread of it.
_LISTEN = 0.2


class FlowRunner:
    """Runs the tasks of one graph, each as soon as all that it waits for is finished."""

    def __init__(self, graph: Graph, tasks: tuple[Task, ...], run: Run, executor: Executor) -> None:
        self._graph = graph
        self._tasks = tasks
        self._run = run
        self._executor = executor
        self._states: dict[Task, State] = {}
        self._run_counts: dict[Task, int] = {}
        self._waiting_for: dict[Task, int] = {}
        self._running: dict[Task, Future[object] | None] = {}
        self._done: queue.SimpleQueue[tuple[Task, Future[object]]] = queue.SimpleQueue()
        self._later: list[tuple[float, int, Task]] = []
        self._numbers = itertools.count()

    def run(self, handlers: Iterable[Callable[..., State | None]]) -> State:
        """Run everything; the result of the state that comes back maps each task to its state."""
        with context.use(self._run.context):
            state = self._change(Pending(), Running("the run has begun"), handlers)
            if not state.is_running():
                return state
            try:
                with self._executor:
                    self._run_tasks()
            except BaseException as exc:
                self._stop(state, exc, handlers)
                raise
            return self._change(state, self._final_state(), handlers)

    def _run_tasks(self) -> None:
        tasks = self._tasks
        self._states = dict.fromkeys(tasks, Pending())
        self._waiting_for = {task: len({edge.upstream for edge in self._graph.edges_to(task)}) for task in tasks}
        # The first ones only: whatever waits is submitted by what it waits for, so that no list of all is gone through.
        for task in [task for task, count in self._waiting_for.items() if count == 0]:
            self._submit(task)
            self._take_finished()
        while self._running or self._later:
            self._take(self._next_done())
            self._submit_due()

    def _take_finished(self) -> None:
        """Take what is finished by now, so that a synchronous executor goes on in depth and frees inputs early."""
        while not self._done.empty():
            self._take(self._done.get())

    def _next_done(self) -> tuple[Task, Future[object]] | None:
        """The next task that comes back; None if one that waits for its time is due, or nothing came for a while."""
        timeout = _LISTEN
        if self._later:
            timeout = min(timeout, max(0.0, self._later[0][0] - self._run.clock()))
        try:
            return self._done.get(timeout=timeout)
        except queue.Empty:
            return None

    def _submit_due(self) -> None:
        while self._later and self._later[0][0] <= self._run.clock():
            self._submit(heapq.heappop(self._later)[2])

    def _submit(self, task: Task) -> None:
        graph, states = self._graph, self._states
        upstream = {edge: states[edge.upstream] for edge in graph.edges_to(task)}
        runner = TaskRunner(task, self._run, upstream, graph.constants(task), self._run_counts.get(task, 0))
        self._running[task] = None
        self._running[task] = future = self._executor.submit(runner.run, states[task])
        future.add_done_callback(lambda done: self._done.put((task, done)))

    def _take(self, done: tuple[Task, Future[object]] | None) -> None:
        if done is None:
            return
        task, future = done
        # What raises here, an interrupt, leaves its task among the running ones, so that it is written down as stopped.
        state = future.result()
        del self._running[task]
        assert isinstance(state, State)  # noqa: S101  # what TaskRunner.run returns
        self._states[task] = state
        if state.is_finished():
            self._release(task)
        elif isinstance(state, Scheduled):
            self._run_counts[task] = self._run_counts.get(task, 0) + 1
            heapq.heappush(self._later, (state.start_time.timestamp(), next(self._numbers), task))

    def _release(self, task: Task) -> None:
        for downstream in {edge.downstream: None for edge in self._graph.edges_from(task)}:
            self._waiting_for[downstream] -= 1
            if self._waiting_for[downstream] == 0:
                self._submit(downstream)

    def _final_state(self) -> State:
        states = self._states
        if not all(states[task].is_finished() for task in self._graph.terminal_tasks):
            return Running("tasks are waiting", result=states)
        failed = [task.slug for task in self._graph.reference_tasks if states[task].is_failed()]
        if failed:
            return Failed(f"failed: {', '.join(failed[:5])}{' and more' if len(failed) > 5 else ''}", result=states)  # noqa: PLR2004
        return Success("all reference tasks succeeded", result=states)

    def _stop(self, state: State, error: BaseException, handlers: Iterable[Callable[..., State | None]]) -> None:
        """Write down that the run ends here."""
        message = f"stopped by {type(error).__name__}"
        waiting = [task for _, _, task in self._later]
        running = [task for task, future in self._running.items() if not _ended_by_itself(future)]
        for task in (*running, *waiting):
            # What ended the run is worth more than the news that a plugin did not let this out.
            with contextlib.suppress(EgressError):
                self._run.recorder.state(Cancelled(message), task=task.slug, name=task.name)
        kind = Cancelled if not isinstance(error, Exception) else Failed
        self._change(state, kind(message, result=error), handlers)

    def _change(self, old: State, new: State, handlers: Iterable[Callable[..., State | None]]) -> State:
        new = new.replace(context={"run_id": self._run.id})
        return self._run.change(self._graph, old, new, handlers, self._record)

    def _record(self, state: State) -> None:
        self._run.recorder.state(state, name=self._graph.name)


def _ended_by_itself(future: Future[object] | None) -> bool:
    """True if a task came to its end while the executor was closed: what it wrote down holds."""
    return future is not None and future.done() and not future.cancelled() and future.exception() is None
