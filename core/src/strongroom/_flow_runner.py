# SPDX-License-Identifier: Apache-2.0
"""In which order do the tasks of a flow run, and how does the run end?"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import queue
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from strongroom._executors import SyncExecutor, ThreadExecutor
from strongroom._inputs import Constant, Parameter, holds_container, own_items
from strongroom._interrupts import LISTEN, CancelledElsewhere, RunEnds
from strongroom._jobs import NOTHING_YET, Beginning, Job, expand, gather, task_context
from strongroom._limits import Limits
from strongroom._recorder import SharedRecorder
from strongroom._result import NoResult
from strongroom._task_runner import TaskRunner
from strongroom._transactions import Transactions
from strongroom.abc import StoppedAtOnce
from strongroom.context import context
from strongroom.errors import EgressError, OutboxFullError, StrongroomError
from strongroom.states import Cancelled, Cancelling, Failed, Mapped, Paused, Pending, Running, Scheduled, State, Success

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from concurrent.futures import Future

    from strongroom._graph import Graph
    from strongroom._run import Run
    from strongroom._task import Task
    from strongroom.abc import Executor

__all__ = ["FlowRunner"]


# As many as a line has room for.
_NAMED = 5

_Done = tuple[Job, "Future[object]"]


class FlowRunner:
    """Runs the tasks of one graph, each as soon as all that it waits for is finished.

    A mapped task becomes its children as soon as it is known how many there are, and each child waits for nothing but
    its own inputs, so that what is mapped over a mapped task does not wait for all of that.
    """

    def __init__(
        self,
        graph: Graph,
        tasks: tuple[Task, ...],
        run: Run,
        executor: Executor,
        *,
        begin: Beginning = NOTHING_YET,
    ) -> None:
        if not isinstance(executor, SyncExecutor):
            run = replace(run, recorder=SharedRecorder(run.recorder))
        self._graph = graph
        self._run = run
        self._executor = self._crew = executor
        if executor.crosses_processes:
            # Each task has a thread here, which sees to its states while it runs over there.
            self._crew = ThreadExecutor(executor.workers)
        for task in tasks:
            run.check(task)
        self._begin = begin
        # A task may change what it is given, and the next run is to have it as it was written.
        constants = ((task, graph.constants(task)) for task in tasks)
        self._own = {task: own_items(values) for task, values in constants if values and holds_container(values)}
        self._limits = Limits(run, tasks)
        self._transactions = Transactions(graph.transactions, run)
        self._jobs = self._make_jobs(tasks)
        self._ready: list[Job] = []
        self._running: dict[Job, Future[object] | None] = {}
        self._done: queue.SimpleQueue[_Done] = queue.SimpleQueue()
        self._later: list[tuple[float, int, Job]] = []
        self._numbers = itertools.count()
        self._handlers: tuple[Callable[..., State | None], ...] = ()
        self._state: State = Pending()
        self._is_over = False
        run.interrupts.who = self._who_runs

    def run(
        self, handlers: Iterable[Callable[..., State | None]], announce: Callable[[], object] | None = None
    ) -> State:
        """Run everything; the result of the state that comes back maps each task to its state.

        Before that, *announce* writes down that there is this run, if it is a new one.
        """
        self._handlers = tuple(handlers)
        with context.use(self._run.context):
            try:
                if announce is not None:
                    announce()
                if self._change(Running("the run has begun")).is_running():
                    self._change(self._work())
            except BaseException as exc:
                self._end(exc)
                raise
            return self._with_tasks(self._state)

    def _work(self) -> State:
        """Run all jobs; the state that the run has come to."""
        with contextlib.ExitStack() as stack:
            if self._crew is not self._executor:
                stack.enter_context(self._crew)
            # The last one to open is the first to close: then none of our threads waits for it any more.
            stack.enter_context(self._executor)
            stack.push(self._note_stop)
            self._go_on()
            self._run_jobs()
        final = self._final_state()
        if final.is_finished():
            # Nobody will go on with it. Of a run that waits, somebody may.
            self._transactions.stop()
        return final

    def _make_jobs(self, tasks: tuple[Task, ...]) -> dict[Task, Job]:
        jobs = {task: self._begin.job(task) for task in tasks}
        for task, job in jobs.items():
            if edges := self._graph.edges_to(task):
                job.connect({edge: jobs[edge.upstream] for edge in edges})
        return jobs

    def _note_stop(self, kind: type[BaseException] | None, *_: object) -> None:
        # Before anything is closed.
        if kind is not None:
            self._run.stopping.set()
        if kind is not None and issubclass(kind, KeyboardInterrupt) and not issubclass(kind, StoppedAtOnce):
            with contextlib.suppress(OutboxFullError):
                self._change(Cancelling("waits for what runs"))

    def _go_on(self) -> None:
        """Let the transactions know what was finished before."""
        if self._graph.transactions:
            finished = {task: job.state for task, job in self._jobs.items() if job.state.is_finished()}
            self._transactions.go_on(self._begin.transactions, finished)

    def _run_jobs(self) -> None:
        # The first ones only: whatever waits is made ready by what it waits for, so that nobody goes through them all.
        first = (job for job in self._jobs.values() if job.waiting_for == 0)
        self._ready = [job for job in first if not job.left_out and not job.state.is_finished()]
        self._ready.reverse()
        while True:
            self._run.listen()
            while not self._done.empty():
                self._take(self._done.get())
            while self._later and self._later[0][0] <= self._run.clock():
                self._ready.append(heapq.heappop(self._later)[2])
            if self._limits.waiting and (waited := self._limits.next_job()) is not None:
                self._submit(waited)
            # The last one first: a synchronous executor goes on in depth, and frees inputs early.
            elif self._ready:
                self._start(self._ready.pop())
            elif not self._running and not self._later and not self._limits.waiting:
                return
            elif (done := self.next_done()) is not None:
                self._take(done)

    def next_done(self) -> _Done | None:
        """The next job that comes back; None if one that waits is due before that, or nothing came for a while."""
        times = [self._later[0][0]] if self._later else []
        if (next_try := self._limits.next_try) is not None:
            times.append(next_try)
        timeout = min(LISTEN, max(0.0, min(times) - self._run.clock())) if times else LISTEN
        try:
            return self._done.get(timeout=timeout)
        except queue.Empty:
            return None

    def _start(self, job: Job) -> None:
        if job.maps and not job.is_mappable():
            job.give_up_mapping()
            if job.waiting_for:
                return
        if job.maps:
            self._fan_out(job)
        elif isinstance(job.state, (Scheduled, Paused)) and not self._is_due(job.state):
            self._put_off(job, job.state)
        elif self._limits.admit(job):
            self._submit(job)
        else:
            self._queue(job)

    def _submit(self, job: Job) -> None:
        self._running[job] = None
        runner = self._runner(job)
        run = runner.run if self._crew is self._executor else partial(self._run_unless_stopped, runner)
        self._running[job] = future = self._crew.submit(run, job.state)
        if future.done():
            # As ever with a synchronous executor, where nobody else could say so.
            self._limits.ended(job)
            self._take((job, future))
        else:
            future.add_done_callback(lambda done: self._come_back(job, done))

    def _run_unless_stopped(self, runner: TaskRunner, state: State) -> State:
        # The executor is closed before its crew is, which must not begin with what is still in its queue.
        if self._run.stopping.is_set():
            raise RunEnds
        return runner.run(state)

    def _come_back(self, job: Job, done: Future[object]) -> None:
        # In the thread that ran it, so that its turn is over at once, and not when this run gets round to it.
        try:
            self._limits.ended(job)
        finally:
            self._done.put((job, done))

    def _queue(self, job: Job) -> None:
        """Let *job* wait for its turn, without holding a worker."""
        job.state = self._runner(job).queue(job.state, *self._limits.reason(job))
        if job.state.is_finished():
            self._release(job)
        else:
            self._limits.wait(job)

    def _runner(self, job: Job) -> TaskRunner:
        # What is here already need not go there and come back.
        is_sent = self._executor.crosses_processes and not isinstance(job.task, (Constant, Parameter))
        elsewhere = self._executor if is_sent else None
        constants = self._own.get(job.task) or self._graph.constants(job.task)
        return TaskRunner(job, self._run, constants, elsewhere, self._transactions.of(job.task))

    def _fan_out(self, job: Job) -> None:
        try:
            children = expand(job, self._begin.child)
        except StrongroomError as exc:
            self._set(job, Failed(str(exc), result=exc))
            return
        startable = (child for child in reversed(children) if child.waiting_for == 0)
        self._ready += [child for child in startable if not child.state.is_finished()]
        # What is mapped over this one can become its children now: they wait for ours, one by one. Before the first of
        # ours is run, so that theirs can follow it.
        early = [dependent for dependent in job.dependents if dependent.maps]
        job.dependents = [dependent for dependent in job.dependents if not dependent.maps]
        for dependent in early:
            self._lose_one(dependent)
        if job.open_children == 0:
            self._gather(job)

    def _take(self, done: _Done) -> None:
        job, future = done
        # What raises here, an interrupt, leaves its job among the running ones, so that it is written down as stopped.
        state = future.result()
        del self._running[job]
        assert isinstance(state, State)  # noqa: S101  # what TaskRunner.run returns
        was_tried, job.state = state is not job.state and not isinstance(state, Paused), state
        if state.is_finished():
            self._release(job)
        elif isinstance(state, (Scheduled, Paused)):
            job.run_count += was_tried
            self._put_off(job, state)

    def _is_due(self, state: Scheduled | Paused) -> bool:
        return state.start_time is not None and state.start_time.timestamp() <= self._run.clock()

    def _put_off(self, job: Job, state: Scheduled | Paused) -> None:
        """Let *job* wait for its time, without holding a worker; or for somebody who resumes it, in another run."""
        if state.start_time is not None:
            heapq.heappush(self._later, (state.start_time.timestamp(), next(self._numbers), job))

    def _release(self, job: Job) -> None:
        """Make ready what waited for *job* only."""
        if job.map_index < 0:
            self._transactions.finish(job.task, job.state)
        if job.parent is not None:
            job.parent.open_children -= 1
            if job.parent.open_children == 0:
                self._gather(job.parent)
        for dependent in reversed(job.dependents):
            self._lose_one(dependent)

    def _lose_one(self, job: Job) -> None:
        """Let *job* wait for one job less; if that was the last, it is ready."""
        job.waiting_for -= 1
        if job.waiting_for == 0:
            self._ready.append(job)

    def _gather(self, job: Job) -> None:
        self._set(job, gather(job, self._run.handler(job.task)))

    def _set(self, job: Job, state: State) -> None:
        """Give *job* a finished state that no runner made."""
        task = job.task

        def record(new: State) -> None:
            self._run.recorder.state(new, task=task.slug, name=task.name, tags=tuple(sorted(task.tags)))

        with context.use(task_context(job, self._run.context, job.run_count + 1)):
            job.state = self._run.change(task, job.state, state, task.state_handlers, record)
        self._release(job)

    def _states(self) -> dict[Task, State]:
        return {task: job.state for task, job in self._jobs.items()}

    def _with_tasks(self, state: State) -> State:
        """*state*, which a state handler may have put in the place of ours, with the states of the tasks."""
        result = state._result  # noqa: SLF001  # what it has may have to be read
        if result is NoResult or (result.in_memory and isinstance(result.value, BaseException)):
            return state.replace(result=self._states())
        return state

    def _final_state(self) -> State:
        states = self._states()
        if not all(states[task].is_finished() for task in self._graph.terminal_tasks):
            return Running("tasks are waiting", result=states)
        if self._transactions.problem is not None:
            return Failed(self._transactions.problem, result=states)
        failed = [task.slug for task in self._graph.reference_tasks if _any_failed(states[task])]
        if failed:
            more = " and more" if len(failed) > _NAMED else ""
            return Failed(f"failed: {', '.join(failed[:_NAMED])}{more}", result=states)
        return Success("all reference tasks succeeded", result=states)

    def _end(self, error: BaseException) -> None:
        """Write down that the run ends by *error*."""
        if self._run.recorder.has_begun:
            try:
                self._stop(error)
            except StoppedAtOnce as second:
                self._stop(second)
                raise
        # One that comes while this is written down does so when it is.
        self._run.interrupts.check()

    def _stop(self, error: BaseException) -> None:
        # What ended the run is worth more than the news that there is no room to write that down.
        with contextlib.suppress(OutboxFullError):
            self._record_stop(error)

    def _record_stop(self, error: BaseException) -> None:
        # Or that a plugin did not let it out.
        with contextlib.suppress(EgressError):
            if isinstance(error, StoppedAtOnce):
                # As if the process had been killed, but for the record: hooks and handlers may take any time.
                self._run.recorder.leave_others()
                self._handlers = ()
            else:
                self._transactions.stop()
        own_words = isinstance(error, (CancelledElsewhere, StoppedAtOnce))
        message = str(error) if own_words else f"stopped by {type(error).__name__}"
        self._cancel_jobs(message)
        if not self._is_over:
            kind = Cancelled if not isinstance(error, Exception) else Failed
            self._change(kind(message, result=error))

    def _cancel_jobs(self, message: str) -> None:
        """Write down that what was begun, and what waits, goes no further."""
        running = [job for job, each in self._running.items() if not (job.is_done or _ended_by_itself(each))]
        waiting = [job for _, _, job in self._later]
        for job in (*running, *waiting, *self._limits.waiting_jobs()):
            if job.state.is_finished():
                continue
            task = job.task
            with contextlib.suppress(EgressError):
                self._run.recorder.state(Cancelled(message), task=task.slug, name=task.name, map_index=job.map_index)
            job.state = Cancelled(message)

    def _who_runs(self) -> str:
        """Whose end the run waits for now."""
        running = [job for job, future in list(self._running.items()) if future is None or future.running()]
        names = [job.task.slug if job.map_index < 0 else f"{job.task.slug}[{job.map_index}]" for job in running]
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        return ", ".join(names[:_NAMED]) + more or "what is being written down"

    def _change(self, new: State) -> State:
        identity = {"run_id": self._run.id}
        new = new.replace(context=identity)
        new = self._run.change(self._graph, self._state, new, self._handlers, self._record)
        # A state handler may have answered with another one.
        self._state = new if "run_id" in new.context else new.replace(context={**new.context, **identity})
        return self._state

    def _record(self, state: State) -> None:
        self._run.recorder.state(state, name=self._graph.name)
        self._is_over = state.is_finished()


def _any_failed(state: State) -> bool:
    """True if *state* is a failure, or one of the children is that it stands for."""
    return state.is_failed() or (isinstance(state, Mapped) and any(child.is_failed() for child in state.map_states))


def _ended_by_itself(future: Future[object] | None) -> bool:
    """True if a task came to its end while the executor was closed: what it wrote down holds."""
    return future is not None and future.done() and not future.cancelled() and future.exception() is None
