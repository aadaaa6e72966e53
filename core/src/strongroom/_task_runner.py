# SPDX-License-Identifier: Apache-2.0
"""How does one task get from one state to the next?"""

from __future__ import annotations

import functools
import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from strongroom._again import Round, is_resumption, keep_inputs, later, unwrapped
from strongroom._call import call
from strongroom._debugging import is_debugged
from strongroom._errand import Errand, FailedErrandError, send
from strongroom._jobs import task_context, trigger_view, upstream_states
from strongroom._prints import call_logging_prints
from strongroom._template import fill_template
from strongroom._transactions import Entered
from strongroom.context import context
from strongroom.errors import DefinitionError, HandlerError, RecordedError, StrongroomError, TaskTimeoutError
from strongroom.results import NoResult, Result
from strongroom.signals import Signal
from strongroom.states import (
    Failed,
    Looped,
    Paused,
    Queued,
    Retrying,
    Running,
    Skipped,
    State,
    Success,
    TimedOut,
    TriggerFailed,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from strongroom._jobs import Job
    from strongroom._run import Run
    from strongroom._task import Task
    from strongroom._task_cache import TaskCache
    from strongroom._transactions import OpenTransaction
    from strongroom.abc import Executor, ResultHandler

__all__ = ["TaskRunner"]

_log = logging.getLogger("strongroom")

# There is nothing in it that differs from task to task.
_RUNNING: Final = Running()


class _NotYet(Exception):  # noqa: N818  # not an error
    """The task cannot go on now; its state stays."""


class TaskRunner:
    """One run of one task: from a pending state to a finished one, or to another pending one.

    Args:
        job: what is to be run; all that it waits for is finished.
        constants: its inputs that are not results of tasks.
        elsewhere: the executor whose processes call the task; None calls it here.
    """

    def __init__(
        self,
        job: Job,
        run: Run,
        constants: Mapping[str, object],
        elsewhere: Executor | None = None,
        transaction: OpenTransaction | None = None,
    ) -> None:
        self._job = job
        self._task: Task = job.task
        self._map_index = job.map_index
        self._is_start = job.is_start or (job.parent is not None and job.parent.is_start)
        self._run = run
        self._upstream = upstream_states(job)
        self._constants = constants
        self._run_count = job.run_count + 1
        self._inputs: dict[str, object] = {}
        self._name = ""
        self._cache: TaskCache | None = None
        self._kept_inputs: Mapping[str, Result] = {}
        self._round = Round(job.task)
        self._elsewhere = elsewhere
        self._transaction = transaction
        self._unread: dict[str, Result] = {}

    def run(self, state: State) -> State:
        """Take *state* as far as it can go."""
        state = unwrapped(state)
        with context.use(self._context(state)):
            if self._transaction is None:
                return self._run_here(state)
            with Entered(self._transaction):
                return self._run_here(state)

    def _run_here(self, state: State) -> State:
        self._kept_inputs = state.cached_inputs
        try:
            state = self._prepare(state)
            if state.is_running():
                state = self._run_rounds(state)
        except _NotYet:
            return state
        finally:
            if self._cache is not None:
                self._cache.release()
        return self._change(state, self._retrying(state)) if self._deserves_retry(state) else state

    def queue(self, state: State, reason: str, start_time: datetime) -> State:
        """Let the task in *state* wait for its turn: Queued, with its inputs, unless a handler wants otherwise."""
        with context.use(self._context(state)):
            self._kept_inputs = state.cached_inputs
            return self._change(state, self._with_inputs(Queued(reason, state=state, start_time=start_time)))

    def _run_rounds(self, state: State) -> State:
        """Call the task, and again as long as it raises LOOP, each time with the result of the round before."""
        # One that is tried again goes on with the round that it had come to.
        state = self._call_round(state) if self._round.count > 1 else self._change(state, self._finish())
        while isinstance(state, Looped):
            self._round.next(state._result)  # noqa: SLF001  # with its reference, if it has one
            # Each round has retries of its own.
            self._job.run_count, self._run_count = 0, 1
            state = self._call_round(state)
        return state

    def _call_round(self, state: State) -> State:
        with context.use({**context.to_dict(), **self._round.context(), "task_run_count": self._run_count}):
            if not state.is_running():
                state = self._change(state, Running())
            return self._change(state, self._finish()) if state.is_running() else state

    def _context(self, state: State) -> dict[str, object]:
        return task_context(self._job, self._run.context, self._run_count, is_resumed=is_resumption(state))

    def _prepare(self, state: State) -> State:
        """Go through what decides whether the task is called; a Running state means that it is."""
        for step in self._STEPS:
            try:
                new = step(self, state)
            except Signal as signal:
                new = self._with_inputs(signal.state)
            if new is not state:
                return self._change(state, new)
        return self._change(state, _RUNNING)

    def _check_ready(self, state: State) -> State:
        if not state.is_pending() or (isinstance(state, Paused) and state.start_time is None):
            raise _NotYet
        start_time = getattr(state, "start_time", None)
        if start_time is not None and start_time > datetime.now(UTC):
            raise _NotYet
        return state

    def _check_upstream(self, state: State) -> State:
        # Loops, here and below: for the one or two tasks upstream that most have, a generator takes longer to make.
        upstream = () if self._is_start else self._upstream.values()
        for each in upstream:
            if not each.is_finished():
                raise _NotYet
        for each in upstream if self._task.skip_on_upstream_skip else ():
            if each.is_skipped():
                return Skipped("an upstream task was skipped")
        return state

    def _read_inputs(self, state: State) -> State:
        inputs = dict(self._constants)
        try:
            if state.cached_inputs:
                self._round.restore(state.cached_inputs)
            for edge, upstream in self._upstream.items():
                if edge.key is not None:
                    kept = upstream._result  # noqa: SLF001  # the reference, not yet the value
                    if kept is NoResult:
                        kept = state.cached_inputs.get(edge.key, NoResult)
                    if self._may_stay_unread(kept):
                        self._unread[edge.key] = kept
                    else:
                        inputs[edge.key] = None if kept is NoResult else kept.value
            self._inputs = inputs
            if self._task.task_run_name is not None:
                self._name = fill_template(self._task.task_run_name, self._values())
        except HandlerError as exc:
            return Failed(f"an input could not be read: {exc}", result=exc)
        except Exception as exc:  # a template formats the user's values with the user's own __format__
            return Failed(f"the name of the task run could not be made: {type(exc).__name__}", result=exc)
        return state

    def _may_stay_unread(self, kept: Result) -> bool:
        """True if nobody but the task itself needs the value, and that runs elsewhere: it is to be read there."""
        if self._elsewhere is None or self._task.is_cached or self._task.task_run_name is not None:
            return False
        return self._task.result_storage_key is None and not kept.in_memory

    def _values_for_key(self) -> Mapping[str, object]:
        # What the template for the key of the result may use; nothing if there is none.
        return {} if self._task.result_storage_key is None else self._values()

    def _values(self) -> dict[str, object]:
        """What templates may use."""
        return {**context.to_dict(), **self._task.defaults(), **self._inputs, "parameters": self._run.parameters}

    def _read_cache(self, state: State) -> State:
        return self._ask(state, self._look, "a cached result was looked for") if self._task.is_cached else state

    def _look(self) -> State | None:
        self._cache = _task_cache()(self._task, self._run, self._inputs, self._map_index, self._transaction)
        return self._cache.read()

    def _take_turn(self, state: State) -> State:
        if self._cache is None:
            return state
        return self._ask(state, self._cache.take_turn, "the task waited for its turn")

    def _ask(self, state: State, cache: Callable[[], State | None], meanwhile: str) -> State:
        """What the *cache* has instead of *state*; a failure, if it cannot say."""
        try:
            return cache() or state
        except StrongroomError as exc:
            return Failed(str(exc), result=exc)
        except Exception as exc:  # cache keys, validators and lock managers are the user's: to go on would be to guess
            return Failed(f"{type(exc).__name__} while {meanwhile}", result=exc)

    def ask_trigger(self, state: State) -> State:  # a ctrl-C comes in here
        if self._is_start:
            return state
        try:
            passes = self._task.trigger(trigger_view(self._upstream))
        except Signal:
            raise
        except Exception as exc:  # the user's code: whatever it raises, the trigger did not pass
            if is_debugged():
                raise
            return TriggerFailed(f"the trigger raised {type(exc).__name__}", result=exc)
        return state if passes else TriggerFailed("the trigger did not pass")

    def _check_mapping(self, state: State) -> State:
        for edge, upstream in () if self._map_index >= 0 else self._upstream.items():
            if edge.mapped and (upstream.is_skipped() or not upstream.is_successful()):
                kind = type(upstream).__name__
                return Failed(f"there is nothing to map over, since the task {edge.upstream.slug!r} is {kind}")
        return state

    _STEPS: Final = (_check_ready, _check_upstream, _read_inputs, _read_cache, ask_trigger, _check_mapping, _take_turn)

    def _finish(self) -> State:
        """Call the task and keep what it returns."""
        try:
            if self._elsewhere is not None:
                return self._finish_elsewhere(self._elsewhere)
            self._run.listen()
            make = call_logging_prints if self._task.log_stdout else call
            value = make(self._task.run, self._inputs, self._task.timeout)
        except Signal as signal:
            return self._with_inputs(self._with_kept_result(signal.state))
        except TaskTimeoutError as exc:
            if is_debugged():
                raise
            if exc.goes_on:
                _log.warning("the task %r took longer than its timeout, and a thread goes on with it", self._task.slug)
            return TimedOut(str(exc), result=exc)
        except FailedErrandError as exc:
            if is_debugged():
                raise exc.error from None
            return Failed(str(exc), result=exc.error)
        except (Exception, SystemExit) as exc:  # the user's code may raise anything
            if is_debugged():
                raise
            kind = exc.kind.rpartition(".")[2] if isinstance(exc, RecordedError) else type(exc).__name__
            # What we say ourselves holds no data.
            why = f": {exc}" if isinstance(exc, DefinitionError) else ""
            return Failed(f"{kind} in the task{why}", result=exc)
        return self._keep(value)

    def _with_kept_result(self, state: State) -> State:
        """*state*, that a task raised, with its result kept as one that the task returned would be."""
        if not state.is_successful() or state.is_skipped() or state._result is NoResult:  # noqa: SLF001
            return state
        kept = self._keep(state.result)
        return state.replace(result=kept._result) if kept.is_successful() else kept  # noqa: SLF001

    def _finish_elsewhere(self, executor: Executor) -> State:
        task, run = self._task, self._run
        try:
            handler = self._handler_elsewhere()
        except StrongroomError as exc:
            return Failed(str(exc), result=exc)
        except Exception as exc:  # a template formats the user's values with the user's own __format__
            return Failed(f"the key of the result could not be made: {type(exc).__name__}", result=exc)
        errand = Errand(
            task.run,
            self._inputs,
            self._unread,
            task.timeout,
            {**context.to_dict(), "parameters": dict(run.parameters)},
            handler,
            run.slot(task, self._map_index),
            forgets=run.forgets(task),
            log_stdout=task.log_stdout,
        )
        result = send(errand, executor, run.stopping)
        return Success(result=result) if result.serialized else self._keep(result.value)

    def _handler_elsewhere(self) -> ResultHandler | None:
        """What keeps the result where the task runs; None if nobody does, or the cache, whose turn is held here."""
        if not self._run.keeps(self._task) or (self._cache is not None and self._cache.is_on):
            return None
        return self._run.handler(self._task, self._values_for_key())

    def _keep(self, value: object) -> State:
        task, run = self._task, self._run
        try:
            if self._cache is not None and self._cache.is_on:
                result = self._cache.write(value)
            else:
                result = Result(value, run.handler_for(value, task, self._values_for_key()))
                if run.keeps(task):
                    result = result.serialize(run.slot(task, self._map_index))
        except StrongroomError as exc:
            # What was not kept did not succeed: whoever reads Success may rely on the result.
            return Failed(str(exc), result=exc)
        except Exception as exc:  # a template formats the user's values with the user's own __format__
            return Failed(f"the key of the result could not be made: {type(exc).__name__}", result=exc)
        return Success(result=result.forget_value() if run.forgets(task) else result)

    def _deserves_retry(self, state: State) -> bool:
        if not state.is_failed() or isinstance(state, TriggerFailed) or self._run_count > self._task.max_retries:
            return False
        error = state._result.value if state._result.in_memory else None  # noqa: SLF001
        if not isinstance(error, BaseException) or isinstance(error, self._task.retry_on):
            return True
        # One that could not leave its process is no other failure for that.
        names = {f"{kind.__module__}.{kind.__qualname__}" for kind in self._task.retry_on}
        return isinstance(error, RecordedError) and not names.isdisjoint(error.kinds)

    def _retrying(self, state: State) -> State:
        try:
            delay = self._task.retry_delay.before(self._run_count)
            start_time = later(datetime.now(UTC), delay * (1 + self._task.retry_jitter * self._run.random()))
        except StrongroomError as exc:
            return Failed(str(exc), result=exc)
        except Exception as exc:  # retry_delay may be the user's function: to go on would be to guess
            return Failed(f"the delay of the next try could not be found out: {type(exc).__name__}", result=exc)
        return self._with_inputs(Retrying(state.message, start_time=start_time, run_count=self._run_count))

    def _with_inputs(self, state: State) -> State:
        """*state*, carrying references to the inputs if the task will run again with them."""
        if isinstance(state, Looped):
            return state.replace(loop_count=self._round.count)
        if not state.is_pending() and not state.is_queued():
            return state
        changes: dict[str, object] = {"run_count": self._run_count} if isinstance(state, Retrying) else {}
        try:
            kept = keep_inputs(self._task, self._run, self._map_index, self._upstream, self._kept_inputs)
            kept |= self._round.keep(self._run, self._map_index)
        except HandlerError as exc:
            return Failed(f"the inputs for the next try could not be kept: {exc}", result=exc)
        return state.replace(cached_inputs={**self._kept_inputs, **state.cached_inputs, **kept}, **changes)

    def _change(self, old: State, new: State) -> State:
        handlers = self._task.state_handlers
        # What a handler answers with may be a state that runs again, too.
        return self._run.change(self._task, old, new, (*handlers, self._carry) if handlers else (), self._record)

    def _carry(self, _task: Task, _old: State, new: State) -> State:
        return self._with_inputs(new) if new.is_pending() and not new.cached_inputs else new

    def _record(self, state: State) -> None:
        task = self._task
        self._run.recorder.state(
            state,
            task=task.slug,
            name=task.name,
            map_index=self._map_index,
            # What waits for its turn was not started this time.
            run_count=self._run_count - state.is_queued(),
            task_run_name=self._name,
            tags=tuple(sorted(task.tags)) if task.tags else (),
            cache=self._cache.news() if self._cache is not None else None,
        )
        self._job.is_done = state.is_successful()


@functools.cache
def _task_cache() -> type[TaskCache]:
    # Fingerprints read sources, and what they need for that takes long to import.
    from strongroom._task_cache import TaskCache

    return TaskCache
