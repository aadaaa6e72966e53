# SPDX-License-Identifier: Apache-2.0
"""How does one task get from one state to the next?"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from strongroom._task_cache import TaskCache
from strongroom._template import fill_template
from strongroom.context import context
from strongroom.errors import HandlerError, NotSupportedError, StrongroomError
from strongroom.results import NoResult, Result
from strongroom.signals import Signal
from strongroom.states import (
    Failed,
    Retrying,
    Running,
    Skipped,
    State,
    Success,
    TriggerFailed,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from strongroom._graph import Edge
    from strongroom._run import Run
    from strongroom._task import Task

__all__ = ["TaskRunner"]


class _NotYet(Exception):  # noqa: N818  # not an error
    """The task cannot go on now; its state stays."""


class TaskRunner:
    """One run of one task: from a pending state to a finished one, or to another pending one.

    Args:
        upstream: the states of the tasks that it waits for.
        constants: its inputs that are not results of tasks.
        run_count: how often it was started in this run before.
    """

    def __init__(
        self, task: Task, run: Run, upstream: Mapping[Edge, State], constants: Mapping[str, object], run_count: int
    ) -> None:
        self._task = task
        self._run = run
        self._upstream = upstream
        self._constants = constants
        self._run_count = run_count + 1
        self._inputs: dict[str, object] = {}
        self._name = ""
        self._cache: TaskCache | None = None
        self._kept_inputs: Mapping[str, Result] = {}

    def run(self, state: State) -> State:
        """Take *state* as far as it can go."""
        with context.use(self._context()):
            self._kept_inputs = state.cached_inputs
            try:
                state = self._prepare(state)
            except _NotYet:
                return state
            if state.is_running():
                state = self._change(state, self._finish())
            if self._deserves_retry(state):
                state = self._change(state, self._retrying(state))
        return state

    def _context(self) -> dict[str, object]:
        task = self._task
        return {
            **self._run.context,
            "task_name": task.name,
            "task_full_name": task.name,
            "task_slug": task.slug,
            "task_run_id": f"{self._run.id}:{task.slug}",
            "task_run_count": self._run_count,
            "task_tags": task.tags,
            "map_index": None,
        }

    def _prepare(self, state: State) -> State:
        """Go through what decides whether the task is called; a Running state means that it is."""
        for step in (
            self._check_ready,
            self._check_upstream,
            self._check_skips,
            self._read_inputs,
            self._read_cache,
            self._ask_trigger,
            self._set_running,
        ):
            try:
                new = step(state)
            except Signal as signal:
                new = self._with_inputs(signal.state)
            if new is not state:
                return self._change(state, new)
        return state

    def _check_ready(self, state: State) -> State:
        if not state.is_pending():
            raise _NotYet
        start_time = getattr(state, "start_time", None)
        if start_time is not None and start_time > datetime.now(UTC):
            raise _NotYet
        return state

    def _check_upstream(self, state: State) -> State:
        if not all(upstream.is_finished() for upstream in self._upstream.values()):
            raise _NotYet
        return state

    def _check_skips(self, state: State) -> State:
        if self._task.skip_on_upstream_skip and any(upstream.is_skipped() for upstream in self._upstream.values()):
            return Skipped("an upstream task was skipped")
        return state

    def _read_inputs(self, state: State) -> State:
        inputs = dict(self._constants)
        try:
            for edge, upstream in self._upstream.items():
                if edge.key is not None:
                    kept = upstream._result  # noqa: SLF001  # the reference, not yet the value
                    if kept is NoResult:
                        kept = state.cached_inputs.get(edge.key, NoResult)
                    inputs[edge.key] = None if kept is NoResult else kept.value
            self._inputs = inputs
            if self._task.task_run_name is not None:
                self._name = fill_template(self._task.task_run_name, self._values())
        except HandlerError as exc:
            return Failed(f"an input could not be read: {exc}", result=exc)
        except Exception as exc:  # a template formats the user's values with the user's own __format__
            return Failed(f"the name of the task run could not be made: {type(exc).__name__}", result=exc)
        return state

    def _values(self) -> dict[str, object]:
        """What templates may use."""
        return {**context.to_dict(), **self._inputs, "parameters": self._run.parameters}

    def _read_cache(self, state: State) -> State:
        if not self._task.is_cached:
            return state
        try:
            self._cache = TaskCache(self._task, self._run, self._inputs)
            return self._cache.read() or state
        except StrongroomError as exc:
            return Failed(str(exc), result=exc)
        except Exception as exc:  # cache keys and validators are the user's code: to go on would be to guess
            return Failed(f"{type(exc).__name__} while a cached result was looked for", result=exc)

    def _ask_trigger(self, state: State) -> State:
        try:
            passes = self._task.trigger(self._upstream)
        except Signal:
            raise
        except Exception as exc:  # the user's code: whatever it raises, the trigger did not pass
            return TriggerFailed(f"the trigger raised {type(exc).__name__}", result=exc)
        return state if passes else TriggerFailed("the trigger did not pass")

    def _set_running(self, state: State) -> State:  # noqa: ARG002  # one of the steps
        return Running()

    def _finish(self) -> State:
        """Call the task and keep what it returns."""
        try:
            value = self._task.run(**self._inputs)
        except Signal as signal:
            return self._with_inputs(signal.state)
        except (Exception, SystemExit) as exc:  # the user's code may raise anything
            return Failed(f"{type(exc).__name__} in the task", result=exc)
        return self._keep(value)

    def _keep(self, value: object) -> State:
        task, run = self._task, self._run
        try:
            if self._cache is not None and self._cache.is_on:
                result = self._cache.write(value)
            else:
                result = Result(value, run.handler(task, self._values()))
                if run.keeps(task):
                    result = result.serialize(run.slot(task))
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
        return not isinstance(error, BaseException) or isinstance(error, self._task.retry_on)

    def _retrying(self, state: State) -> State:
        start_time = datetime.now(UTC) + self._task.retry_delay
        return self._with_inputs(Retrying(state.message, start_time=start_time, run_count=self._run_count))

    def _with_inputs(self, state: State) -> State:
        """*state*, carrying references to the inputs if the task will run again with them."""
        if state.is_looped():
            return Failed("looping is not supported by this version", result=NotSupportedError("the signal LOOP"))
        if not state.is_pending() and not state.is_queued():
            return state
        changes: dict[str, object] = {"run_count": self._run_count} if isinstance(state, Retrying) else {}
        try:
            kept = {
                edge.key: self._kept_inputs.get(edge.key) or self._keep_input(edge, upstream)
                for edge, upstream in self._upstream.items()
                if edge.key is not None and upstream.is_successful()
            }
        except HandlerError as exc:
            return Failed(f"the inputs for the next try could not be kept: {exc}", result=exc)
        return state.replace(cached_inputs={**state.cached_inputs, **kept}, **changes)

    def _keep_input(self, edge: Edge, upstream: State) -> Result:
        return upstream._result.serialize(self._run.slot(edge.upstream))  # noqa: SLF001

    def _change(self, old: State, new: State) -> State:
        return self._run.change(self._task, old, new, self._task.state_handlers, self._record)

    def _record(self, state: State) -> None:
        task = self._task
        self._run.recorder.state(
            state,
            task=task.slug,
            name=task.name,
            run_count=self._run_count,
            task_run_name=self._name,
            tags=tuple(sorted(task.tags)),
        )
