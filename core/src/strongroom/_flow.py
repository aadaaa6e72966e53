# SPDX-License-Identifier: Apache-2.0
"""What is a flow, and what does running it take?"""

from __future__ import annotations

import copy
import inspect
import logging
import secrets
from collections.abc import Mapping
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from strongroom import _task_checks as checks
from strongroom._drawing import to_dot, to_mermaid, write_drawing
from strongroom._egress import Gate
from strongroom._executors import executor_of
from strongroom._flow_runner import FlowRunner
from strongroom._graph import Graph
from strongroom._inputs import Parameter, several
from strongroom._interrupts import Interrupts
from strongroom._jobs import Beginning
from strongroom._leases import open_leases
from strongroom._logs import LogFile, LogPost, filtered, log_file, writing
from strongroom._outbox import open_outbox
from strongroom._plain_json import not_plain_json
from strongroom._recorder import Recorder, linked
from strongroom._resume import beginning, check_policy, deliver_first, read_record
from strongroom._run import Keeping, Run
from strongroom.context import ENGINE_KEYS, date_keys
from strongroom.context import context as current_context
from strongroom.errors import (
    BackendUnavailableError,
    DefinitionError,
    NotResumableError,
    ParameterError,
    UnknownRunError,
)
from strongroom.project import Project
from strongroom.secret import Secret
from strongroom.states import State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from strongroom._leases import Leases
    from strongroom._outbox import Outbox, Straight
    from strongroom._place import Where
    from strongroom._policy import Policy
    from strongroom._resume import Record
    from strongroom._task import Task
    from strongroom.abc import Backend, Executor, ResultHandler, Serializer

__all__ = ["Flow"]

_log = logging.getLogger("strongroom")

_PATIENCE = 1.0


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
        result_storage: Where | None = None,
        result_serializer: str | Serializer | None = None,
        cache_result_in_memory: bool = True,
        **unknown: object,
    ) -> None:
        if unknown:
            checks.check_arguments(unknown, inspect.signature(Flow.__init__).parameters, of="flow")
        super().__init__(checks.check_name(name, of="flow"))
        self.state_handlers = checks.check_handlers(name, state_handlers, on_failure)
        storage = checks.check_storage(name, result_storage)
        self._keeping = Keeping(persist_result, result_handler, storage, result_serializer, cache_result_in_memory)

    def __repr__(self) -> str:
        return f"<Flow {self.name!r}: {len(self.tasks)} tasks>"

    @property
    def parameters(self) -> dict[str, Parameter]:
        """The parameters by name."""
        return {task.name: task for task in self.tasks if isinstance(task, Parameter)}

    def visualize(self, filename: str | Path | None = None, *, flow_state: State | None = None) -> str:
        """The flow in the language of Graphviz, which many tools draw; its names, and none of its values.

        Args:
            filename: where to write it, too: a picture for ``.svg``, ``.png`` or ``.pdf``, which Graphviz must be
                installed for; the text for ``.dot``.
            flow_state: what `run` returned; the tasks are coloured by their states.

        Raises:
            DefinitionError: the name has another ending, or *flow_state* is no state of a run.
            DrawingError: Graphviz is not installed, or could not draw it.
        """
        text = to_dot(self, flow_state)
        if filename is not None:
            write_drawing(text, filename)
        return text

    def to_mermaid(self, *, flow_state: State | None = None) -> str:
        """The flow in the language of Mermaid, which many sites draw where it stands in a README; see `visualize`."""
        return to_mermaid(self, flow_state)

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
            executor: where tasks run: ``"sync"`` (the default), ``"threads"``, the id of a plugin's such as
                ``"processes"``, or an `Executor`.
            context: keys for the tasks' `strongroom.context`.
            backend: where the run is recorded; by default as the settings have it. It is left open.
            task_states: states to begin with; a task whose state is finished is not run.
            start_tasks: start at these tasks, without a look at what is upstream of them or at their triggers, and run
                what follows from them; other tasks are left out.
            **kwargs: more parameters.

        Raises:
            ParameterError: unknown or missing parameters, or one that is not plain JSON. Nothing has run.
            DefinitionError: the flow cannot run as it is. Nothing has run.
            OutboxFullError: the backend takes nothing, and what waits for it has no more room. The run can be resumed.
        """
        if not isinstance(parameters or {}, Mapping):
            raise ParameterError("parameters are values by name, such as parameters={'day': 1}")
        given = self._parameters({**(parameters or {}), **kwargs})
        tasks = self._check(given, context or {})
        begin = self._beginning(tasks, task_states or {}, start_tasks)
        project = Project.open()
        policy = project.policy
        _say_what_is_loosened(policy)
        with ExitStack() as stack:
            run_id = secrets.token_hex(16)
            backend, leases = stack.enter_context(_backend_and_leases(project, backend, run_id, is_new=True))
            opened = self._opened(project, backend, run_id, given, context or {}, policy=policy, leases=leases)
            outbox, run = stack.enter_context(opened)
            # Whatever does not allow the run says so before anything of it is recorded.
            runner = FlowRunner(self, tasks, run, executor_of(executor, project.plugins.executor), begin=begin)

            def announce() -> None:
                with run.interrupts.held_off():
                    run.recorder.run(self.name, "", given, tuple(task.slug for task in tasks))
                # One that is killed in its first moments is to be found again; a backend that is down may not delay it.
                outbox.flush(_PATIENCE)

            return runner.run(self.state_handlers, announce)

    def resume(
        self,
        run_id: str,
        *,
        executor: Executor | str | None = None,
        context: Mapping[str, object] | None = None,
        backend: Backend | None = None,
    ) -> State:
        """Go on with a run that was stopped, paused or killed, from what the backend and the storage hold.

        Tasks whose results were kept are not run again, and a result is read only if something that runs needs it.
        The parameters are those of the run.

        Args:
            run_id: the whole id of the run.
            executor: as in `run`.
            context: as in `run`; the keys of the first time are not kept.
            backend: where the run was recorded; by default as the settings have it.

        Raises:
            UnknownRunError: there is no such run.
            NotResumableError: it has ended, or it is another flow's, or this flow has changed. Or it is running: that a
                run was killed is known 15 seconds later, so that this error comes as late.
            SealError: the record is not what was sent.
        """
        if not isinstance(run_id, str):
            raise UnknownRunError(run_id)
        project = Project.open()
        policy = project.policy
        _say_what_is_loosened(policy)
        with ExitStack() as stack:
            backend, leases = stack.enter_context(_backend_and_leases(project, backend, run_id, is_new=False))
            deliver_first(project, backend, run_id)
            chain = project.chain()
            record = read_record(run_id, project.documents(backend, run_id, chain=chain))
            check_policy(record.run, policy, project.keyring)
            names = {name: Secret(source) for name, source in record.run.secrets.items()}
            given = self._parameters({**record.run.parameters, **names})
            tasks = self._check(given, context or {})
            self._check_same(run_id, record, tasks)
            about = (project, backend, run_id, given, context or {})
            then = datetime.fromtimestamp(record.run.at / 1e6, UTC)
            counted, head = record.sequences, chain.head
            opened = self._opened(*about, policy=policy, leases=leases, sequences=counted, head=head, started=then)
            _, run = stack.enter_context(opened)
            begin = beginning(self, tasks, run, record)
            return FlowRunner(self, tasks, run, executor_of(executor, project.plugins.executor), begin=begin).run(
                self.state_handlers
            )

    @contextmanager
    def _opened(
        self,
        project: Project,
        backend: Backend,
        run_id: str,
        parameters: Mapping[str, object],
        context: Mapping[str, object],
        *,
        policy: Policy,
        leases: Leases | None,
        sequences: Mapping[tuple[str, int], int] | None = None,
        head: bytes | None = None,
        started: datetime | None = None,
    ) -> Iterator[tuple[Outbox | Straight, Run]]:
        """What the tasks of a run share, with a way to the backend that is flushed at the end."""
        way = open_outbox(backend, project.outbox, run_id)
        with Interrupts() as interrupts, way as outbox, ExitStack() as stack:
            log = stack.enter_context(closing(LogFile(log_file(project.home, run_id))))
            put = stack.enter_context(linked(project, backend, run_id, outbox.put, head))
            gate = Gate(project.keyring, project.plugins, put, policy)
            recorder = Recorder(gate, run_id, sequences=sequences)
            write = log.write
            if project.settings.egress.logs == "seal":
                write = stack.enter_context(closing(LogPost(log.write, recorder.log))).write
            stack.enter_context(writing(filtered(write, project.plugins.mask)))
            yield (
                outbox,
                Run(
                    id=run_id,
                    project=project,
                    recorder=recorder,
                    context=self._context(run_id, parameters, context, started or datetime.now(UTC)),
                    parameters=parameters,
                    keeping=self._keeping,
                    leases=leases,
                    interrupts=interrupts,
                ),
            )

    def _beginning(
        self, tasks: tuple[Task, ...], task_states: Mapping[Task, State], start_tasks: Iterable[Task] | None
    ) -> Beginning:
        starts = None if start_tasks is None else frozenset(several("start_tasks", start_tasks))
        for task in (*task_states, *(starts or ())):
            if task not in self:
                raise DefinitionError(f"the task {getattr(task, 'slug', task)!r} is not in the flow {self.name!r}")
        for task, state in task_states.items():
            if not isinstance(state, State):
                kind = type(state).__name__
                raise DefinitionError(f"task_states are states; that of {task.slug!r} has the type {kind}")
        states = {(task.slug, -1): (state, getattr(state, "run_count", 0)) for task, state in task_states.items()}
        if starts is None:
            return Beginning(states)
        part: set[Task] = set(starts)
        for task in tasks:
            if any(edge.upstream in part for edge in self.edges_to(task)):
                part.add(task)
        return Beginning(states, starts, frozenset(part))

    def _check_same(self, run_id: str, record: Record, tasks: tuple[Task, ...]) -> None:
        if record.run.name != self.name:
            raise NotResumableError(run_id, f"it is a run of the flow {record.run.name!r}, not of {self.name!r}")
        changed = set(record.run.tasks) ^ {task.slug for task in tasks}
        if changed:
            raise NotResumableError(run_id, f"the flow has changed since: {', '.join(sorted(changed)[:5])}")

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
            if isinstance(values[name], Secret):
                continue
            if problem := not_plain_json(values[name], name):
                raise ParameterError(f"parameters are plain JSON, but at {problem[0]}: {problem[1]}")
        # A task may change a list that it is given, and the next run is to have the default as it was written.
        return MappingProxyType(copy.deepcopy(values))

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
        checks.check_storage_keys(tasks)
        return tasks

    def _context(
        self, run_id: str, parameters: Mapping[str, object], given: Mapping[str, object], started: datetime
    ) -> dict[str, object]:
        # A run that is resumed has the day on which it began: what it writes for that day is to have one name.
        return {
            **current_context.to_dict(),
            **date_keys(started),
            "scheduled_start_time": started,
            "flow_name": self.name,
            "run_id": run_id,
            "parameters": parameters,
            **given,
        }


def _say_what_is_loosened(policy: Policy) -> None:
    for rule in policy.loosened:
        left = rule.disposition.value
        _log.warning("%s leaves as %r for whoever sees the backend: %s", rule.field, left, rule.origin)


@contextmanager
def _backend_and_leases(
    project: Project, backend: Backend | None, run_id: str, *, is_new: bool
) -> Iterator[tuple[Backend, Leases | None]]:
    """The backend of a run and leases from it; one of them says, for as long as this lasts, that the run goes on."""
    with ExitStack() as stack:
        if backend is None:
            backend = stack.enter_context(project.open_backend())
        leases = open_leases(backend, run_id)
        if leases is not None:
            stack.enter_context(leases)
            token = project.keyring.lease("run", run_id)
            try:
                if (leases.try_hold(token) if is_new else leases.hold(token)) is None:
                    raise NotResumableError(run_id, "it is running; wait for its end, or stop its process")
            except BackendUnavailableError as exc:
                # A backend that is down may not delay a new run.
                if not is_new:
                    raise
                _log.warning("the run %s could not be marked as running; do not resume it meanwhile: %s", run_id, exc)
        yield backend, leases
