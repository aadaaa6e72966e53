# SPDX-License-Identifier: Apache-2.0
"""What is a flow, and what does running it take?"""

from __future__ import annotations

import inspect
import secrets
from contextlib import ExitStack
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, overload

from strongroom import _task_checks as checks
from strongroom._egress import Gate
from strongroom._executors import SyncExecutor, ThreadExecutor
from strongroom._flow_runner import FlowRunner
from strongroom._graph import Graph
from strongroom._outbox import Outbox
from strongroom._plain_json import not_plain_json
from strongroom._recorder import Recorder
from strongroom._run import Keeping, Run
from strongroom._task import Parameter, Task
from strongroom.context import ENGINE_KEYS, date_keys
from strongroom.context import context as current_context
from strongroom.errors import DefinitionError, NotSupportedError, ParameterError
from strongroom.project import Project

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from strongroom.abc import Backend, Executor, ResultHandler, Serializer
    from strongroom.states import State

__all__ = ["Flow", "flow"]


class Flow(Graph):
    """A graph of tasks that can be run.

    Args:
        name: the name in listings. It leaves in clear.
        state_handlers: called with (flow, old state, new state) at each change of the run's state.
        on_failure: called with (flow, state) when a run fails.
        persist_result, result_handler, result_storage, result_serializer, cache_result_in_memory: what holds for the
            tasks that do not say otherwise; see `Task`.
    """

    def __init__(
        self,
        name: str,
        *,
        state_handlers: Iterable[Callable[..., State | None]] = (),
        on_failure: Callable[[Any, State], object] | None = None,
        persist_result: bool | None = None,
        result_handler: ResultHandler | str | None = None,
        result_storage: str | Path | None = None,
        result_serializer: str | Serializer | None = None,
        cache_result_in_memory: bool = True,
    ) -> None:
        super().__init__(checks.check_name(name))
        self.state_handlers = checks.check_handlers(name, state_handlers, on_failure)
        self._keeping = Keeping(
            persist_result, result_handler, result_storage, result_serializer, cache_result_in_memory
        )

    def __repr__(self) -> str:
        return f"<Flow {self.name!r}: {len(self.tasks)} tasks>"

    @property
    def parameters(self) -> dict[str, Parameter]:
        """The parameters by name."""
        return {task.name: task for task in self.tasks if isinstance(task, Parameter)}

    def run(
        self,
        parameters: Mapping[str, object] | None = None,
        *,
        executor: Executor | str | None = None,
        task_states: Mapping[Task, State] | None = None,
        start_tasks: Iterable[Task] | None = None,
        context: Mapping[str, object] | None = None,
        backend: Backend | None = None,
        **kwargs: object,
    ) -> State:
        """Run the flow; the result of the state that comes back maps each task to its state.

        Args:
            parameters: the parameters by name; keyword arguments are parameters too.
            executor: where tasks run: ``"sync"`` (the default), ``"threads"``, or an `Executor`.
            context: keys for the tasks' `strongroom.context`.
            backend: where the run is recorded; by default as the settings have it. It is left open.
            task_states: not supported by this version.
            start_tasks: not supported by this version.
            **kwargs: more parameters.

        Raises:
            ParameterError: unknown or missing parameters, or one that is not plain JSON. Nothing has run.
            DefinitionError: the flow cannot run as it is. Nothing has run.
            BackendError: the run could not be recorded. Results that were kept are safe.
        """
        if task_states is not None or start_tasks is not None:
            raise NotSupportedError("starting a flow from task_states or start_tasks")
        given = self._parameters({**(parameters or {}), **kwargs})
        tasks = self._check(given, context or {})
        project = Project.open()
        run_id = secrets.token_hex(16)
        with ExitStack() as stack:
            if backend is None:
                backend = stack.enter_context(project.open_backend())
            outbox = stack.enter_context(Outbox(backend))
            gate = Gate(project.keyring, project.plugins, outbox.put)
            recorder = Recorder(gate, run_id)
            recorder.run(self.name, "", given, tuple(task.slug for task in tasks))
            run = Run(
                id=run_id,
                project=project,
                recorder=recorder,
                context=self._context(run_id, given, context or {}),
                parameters=given,
                keeping=self._keeping,
            )
            return FlowRunner(self, tasks, run, _executor(executor, project)).run(self.state_handlers)

    def _parameters(self, given: Mapping[str, object]) -> Mapping[str, object]:
        known = self.parameters
        for name in given:
            if name not in known:
                has = f"it has {', '.join(known)}" if known else "it has none"
                raise ParameterError(f"the flow {self.name!r} has no parameter {name!r}; {has}")
        values = {name: given.get(name, parameter.default) for name, parameter in known.items()}
        for name, parameter in known.items():
            if parameter.required and name not in given:
                raise ParameterError(f"the flow {self.name!r} needs the parameter {name!r}; pass {name}=...")
            if problem := not_plain_json(values[name], name):
                raise ParameterError(f"parameters are plain JSON, but at {problem[0]}: {problem[1]}")
        return MappingProxyType(values)

    def _check(self, parameters: Mapping[str, object], context: Mapping[str, object]) -> tuple[Task, ...]:
        """The tasks in an order in which they can run."""
        tasks = self.validate()
        if not self.tasks:
            raise DefinitionError(f"the flow {self.name!r} has no tasks")
        if taken := sorted(ENGINE_KEYS & set(context)):
            raise DefinitionError(f"the context key {taken[0]!r} is the engine's; choose another name")
        names = {*ENGINE_KEYS, *context, *current_context}
        for task in tasks:
            task.check_templates(self.inputs(task), names, parameters)
        return tasks

    def _context(self, run_id: str, parameters: Mapping[str, object], given: Mapping[str, object]) -> dict[str, object]:
        now = datetime.now(UTC)
        return {
            **current_context.to_dict(),
            **date_keys(now),
            "scheduled_start_time": now,
            "flow_name": self.name,
            "run_id": run_id,
            "parameters": parameters,
            **given,
        }


def _executor(chosen: Executor | str | None, project: Project) -> Executor:
    if chosen is None:
        return SyncExecutor()
    if not isinstance(chosen, str):
        return chosen
    built_in: dict[str, Callable[[], Executor]] = {SyncExecutor.id: SyncExecutor, ThreadExecutor.id: ThreadExecutor}
    return built_in[chosen]() if chosen in built_in else project.plugins.executor(chosen)


@overload
def flow(function: Callable[..., object], /) -> Flow: ...


@overload
def flow(function: None = None, /, **arguments: object) -> Callable[[Callable[..., object]], Flow]: ...


def flow(
    function: Callable[..., object] | None = None, /, **arguments: object
) -> Flow | Callable[[Callable[..., object]], Flow]:
    """Make a function a flow: its parameters become `Parameter` tasks, and its body, run once, builds the graph.

    The arguments are those of `Flow`; the name is the function's unless it is given.
    """
    if function is None:
        return lambda decorated: _build(decorated, arguments)
    return _build(function, {})


def _build(function: Callable[..., object], arguments: Mapping[str, Any]) -> Flow:
    new = Flow(**{"name": function.__name__, **arguments})
    with new:
        inputs = {name: _parameter(name, each) for name, each in inspect.signature(function).parameters.items()}
        function(**inputs)
    new.__doc__ = function.__doc__
    return new


def _parameter(name: str, parameter: inspect.Parameter) -> Parameter:
    if parameter.kind in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY}:
        raise DefinitionError(f"a flow cannot take {str(parameter)!r}; every parameter needs a name to be passed by")
    if parameter.default is parameter.empty:
        return Parameter(name)
    return Parameter(name, parameter.default, required=False)
