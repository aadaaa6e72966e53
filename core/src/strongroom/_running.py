# SPDX-License-Identifier: Apache-2.0
"""What does it take to run a flow, or to go on with a run?"""

from __future__ import annotations

import copy
import logging
import secrets
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime, timedelta
from threading import Event
from types import MappingProxyType
from typing import TYPE_CHECKING

from strongroom import _task_checks as checks
from strongroom._call import call
from strongroom._egress import Gate
from strongroom._executors import executor_of
from strongroom._flow_runner import FlowRunner
from strongroom._inputs import several
from strongroom._interrupts import Comes, Interrupts, pause
from strongroom._jobs import Beginning
from strongroom._leases import open_leases
from strongroom._logs import LogFile, LogPost, filtered, log_file, writing
from strongroom._memory_backend import MemoryBackend
from strongroom._outbox import open_outbox
from strongroom._plain_json import not_plain_json
from strongroom._recorder import Recorder, SharedRecorder, linked
from strongroom._resume import beginning, check_policy, deliver_first, read_record
from strongroom._run import Run, told
from strongroom._task_runner import TaskRunner
from strongroom.abc import Backend, StoppedAtOnce
from strongroom.context import ENGINE_KEYS, date_keys
from strongroom.context import context as current_context
from strongroom.errors import (
    BackendUnavailableError,
    DefinitionError,
    NotResumableError,
    ParameterError,
)
from strongroom.project import Project
from strongroom.secret import Secret
from strongroom.states import State

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from types import CodeType

    from strongroom._flow import Flow
    from strongroom._leases import Held, Leases
    from strongroom._outbox import Outbox, Straight
    from strongroom._policy import Policy
    from strongroom._resume import Record
    from strongroom._task import Task
    from strongroom.abc import Executor

__all__ = ["resume", "run"]

_log = logging.getLogger("strongroom")

_PATIENCE = 1.0
_CUT = "this home has sent more of it than the backend has; bring the rest back there, or start a new run"


def run(
    flow: Flow,
    parameters: Mapping[str, object],
    *,
    executor: Executor | str | None,
    task_states: Mapping[Task, State],
    start_tasks: Iterable[Task] | None,
    context: Mapping[str, object],
    backend: Backend | None,
) -> State:
    """Run *flow*: see `Flow.run`."""
    given = _parameters(flow, parameters)
    tasks = _check(flow, given, context)
    begin = _beginning(flow, tasks, task_states, start_tasks)
    with _interrupts() as interrupts, ExitStack() as stack:
        project = Project.open()
        policy = project.policy
        _say_what_is_loosened(policy)
        run_id = secrets.token_hex(16)
        backend, leases = stack.enter_context(_backend_and_leases(project, backend, run_id, is_new=True))
        about = (project, backend, run_id, (given, context))
        opened = _opened(flow, *about, interrupts=interrupts, policy=policy, leases=leases)
        outbox, recorder, run = stack.enter_context(opened)
        # Whatever does not allow the run says so before anything of it is recorded.
        runner = FlowRunner(flow, tasks, run, executor_of(executor, project.plugins.executor), begin=begin)

        def announce() -> None:
            recorder.run(flow.name, "", given, tuple(task.slug for task in tasks))
            # One that is killed in its first moments is to be found again; a backend that is down may not delay it.
            outbox.flush(_PATIENCE)

        interrupts.check()
        return runner.run(flow.state_handlers, announce)


def resume(
    flow: Flow,
    run_id: str,
    *,
    executor: Executor | str | None,
    context: Mapping[str, object],
    backend: Backend | None,
) -> State:
    """Go on with a run of *flow*: see `Flow.resume`."""
    with _interrupts() as interrupts, ExitStack() as stack:
        project = Project.open()
        policy = project.policy
        _say_what_is_loosened(policy)
        backend, leases = stack.enter_context(_backend_and_leases(project, backend, run_id, is_new=False))
        deliver_first(project, backend, run_id)
        chain = project.chain(run_id)
        record = read_record(run_id, project.documents(backend, run_id, chain=chain))
        if chain.is_cut:
            raise NotResumableError(run_id, _CUT)
        check_policy(record.run, policy, project.keyring)
        names = {name: Secret(source) for name, source in record.run.secrets.items()}
        given = _parameters(flow, {**record.run.parameters, **names})
        tasks = _check(flow, given, context)
        _check_same(flow, run_id, record, tasks)
        about = (project, backend, run_id, (given, context))
        then = datetime.fromtimestamp(record.run.at / 1e6, UTC)
        opened = _opened(
            flow,
            *about,
            interrupts=interrupts,
            policy=policy,
            leases=leases,
            sequences=record.sequences,
            head=chain.head,
            started=then,
        )
        _, _, run = stack.enter_context(opened)
        begin = beginning(flow, tasks, run, record)
        interrupts.check()
        return FlowRunner(flow, tasks, run, executor_of(executor, project.plugins.executor), begin=begin).run(
            flow.state_handlers
        )


@contextmanager
def _opened(
    flow: Flow,
    project: Project,
    backend: Backend,
    run_id: str,
    given: tuple[Mapping[str, object], Mapping[str, object]],
    *,
    interrupts: Interrupts,
    policy: Policy,
    leases: Leases | None,
    sequences: Mapping[tuple[str, int], int] | None = None,
    head: bytes | None = None,
    started: datetime | None = None,
) -> Iterator[tuple[Outbox | Straight, Recorder, Run]]:
    """The way to the backend, emptied at the end; who writes the run down; and what its tasks share."""
    parameters, context = given
    outbox = open_outbox(backend, project.outbox, run_id, is_hurried=lambda: interrupts.is_second)
    with ExitStack() as stack:
        # Around the outbox: what is known to have left must not be lost in there by a crash of the machine.
        put = stack.enter_context(linked(project, backend, run_id, outbox.put, head))
        stack.enter_context(outbox)
        log = stack.enter_context(closing(LogFile(log_file(project.home, run_id))))
        gate = Gate(project.keyring, project.plugins, put, policy)
        recorder = Recorder(gate, run_id, sequences=sequences)
        write = log.write
        if project.settings.egress.logs == "seal":
            write = stack.enter_context(closing(LogPost(log.write, recorder.log))).write
        stack.enter_context(writing(filtered(write, project.plugins.mask)))
        yield (
            outbox,
            recorder,
            Run(
                id=run_id,
                project=project,
                recorder=recorder,
                context=_context(flow, run_id, parameters, context, started or datetime.now(UTC)),
                parameters=parameters,
                keeping=flow.keeping,
                leases=leases,
                called_off=_called_off(project, leases, run_id),
                interrupts=interrupts,
            ),
        )


@contextmanager
def _interrupts() -> Iterator[Interrupts]:
    """From the first thing that is opened to the last that is closed, a ctrl-C comes only where it may."""
    try:
        with Interrupts(_places()) as interrupts:
            yield interrupts
    except StoppedAtOnce as exc:
        # For the program it is what any other is: Python itself asks for the very class.
        raise KeyboardInterrupt(str(exc)).with_traceback(exc.__traceback__) from None


def _places() -> Mapping[CodeType, Comes]:
    """When a ctrl-C comes into what."""
    written = (Recorder.run, Recorder.state, Recorder.log, SharedRecorder.state, SharedRecorder.leave_others)
    return {
        **{each.__code__: Comes.AFTER_IT for each in written},
        **{each.__code__: Comes.NOW for each in (call, told, TaskRunner.ask_trigger, FlowRunner.next_done, pause)},
        # What is around a run is none of its: that may be a task of another run.
        **{each.__code__: Comes.LATER for each in (run, resume)},
    }


def _called_off(project: Project, leases: Leases | None, run_id: str) -> Event:
    """An event that is set when another process asks for the end of the run: see `strongroom.cancel_run`."""
    event = Event()
    if leases is not None:
        leases.listen(project.keyring.lease("cancel", run_id), event.set)
    return event


def _beginning(
    flow: Flow, tasks: tuple[Task, ...], task_states: Mapping[Task, State], start_tasks: Iterable[Task] | None
) -> Beginning:
    starts = None if start_tasks is None else frozenset(several("start_tasks", start_tasks))
    if starts is not None and not starts:
        raise DefinitionError("start_tasks has no tasks, so nothing would run; leave it out to start them all")
    for task in (*task_states, *(starts or ())):
        if task not in flow:
            raise DefinitionError(f"the task {getattr(task, 'slug', task)!r} is not in the flow {flow.name!r}")
    for task, state in task_states.items():
        if not isinstance(state, State):
            kind = type(state).__name__
            raise DefinitionError(f"task_states are states; that of {task.slug!r} has the type {kind}")
    states = {(task.slug, -1): (state, getattr(state, "run_count", 0)) for task, state in task_states.items()}
    if starts is None:
        return Beginning(states)
    part: set[Task] = set(starts)
    for task in tasks:
        if any(edge.upstream in part for edge in flow.edges_to(task)):
            part.add(task)
    return Beginning(states, starts, frozenset(part))


def _check_same(flow: Flow, run_id: str, record: Record, tasks: tuple[Task, ...]) -> None:
    if record.run.name != flow.name:
        raise NotResumableError(run_id, f"it is a run of the flow {record.run.name!r}, not of {flow.name!r}")
    changed = set(record.run.tasks) ^ {task.slug for task in tasks}
    if changed:
        raise NotResumableError(run_id, f"the flow has changed since: {', '.join(sorted(changed)[:5])}")


def _parameters(flow: Flow, given: Mapping[str, object]) -> Mapping[str, object]:
    known = flow.parameters
    for name in given:
        if name not in known:
            has = f"it has {', '.join(known)}" if known else "it has none"
            raise ParameterError(f"the flow {flow.name!r} has no parameter {name!r}; {has}")
    values = {name: given.get(name, parameter.default) for name, parameter in known.items()}
    for name, parameter in known.items():
        if parameter.required and name not in given:
            raise ParameterError(f"the flow {flow.name!r} needs the parameter {name!r}; pass {name}=...")
        if isinstance(values[name], Secret):
            continue
        if problem := not_plain_json(values[name], name):
            raise ParameterError(f"parameters are plain JSON, but at {problem[0]}: {problem[1]}")
    # A task may change a list that it is given, and the next run is to have the default as it was written.
    return MappingProxyType(copy.deepcopy(values))


def _check(flow: Flow, parameters: Mapping[str, object], context: Mapping[str, object]) -> tuple[Task, ...]:
    """The tasks in an order in which they can run."""
    tasks = flow.validate()
    if not flow.tasks:
        raise DefinitionError(f"the flow {flow.name!r} has no tasks")
    checks.check_context(context)
    if taken := sorted(ENGINE_KEYS & set(context)):
        raise DefinitionError(f"the context key {taken[0]!r} is the engine's; choose another name")
    names = {*ENGINE_KEYS, *context, *current_context}
    for task in tasks:
        task.check_templates(flow.inputs(task), names, parameters)
    checks.check_storage_keys(tasks)
    return tasks


def _context(
    flow: Flow, run_id: str, parameters: Mapping[str, object], given: Mapping[str, object], started: datetime
) -> dict[str, object]:
    # A run that is resumed has the day on which it began: what it writes for that day is to have one name.
    return {
        **current_context.to_dict(),
        **date_keys(started),
        "scheduled_start_time": started,
        "flow_name": flow.name,
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
        elif not isinstance(backend, Backend):
            what = f"the class {backend.__name__}" if isinstance(backend, type) else f"a {type(backend).__name__}"
            raise DefinitionError(f"the backend is {what}; give a Backend, or choose one by the setting backend.id")
        # What is in memory ends with this process anyway.
        home = None if backend.id == MemoryBackend.id else project.home
        leases = open_leases(backend, run_id, home)
        if leases is not None:
            stack.enter_context(leases)
            token = project.keyring.lease("run", run_id)
            try:
                held = leases.try_hold(token) if is_new else _taken_over(leases, run_id, token)
                if held is None:
                    raise NotResumableError(run_id, "it is running; wait for its end, or stop its process")
            except BackendUnavailableError as exc:
                # A backend that is down may not delay a new run.
                if not is_new:
                    raise
                _log.warning("the run %s could not be marked as running; do not resume it meanwhile: %s", run_id, exc)
        yield backend, leases


def _taken_over(leases: Leases, run_id: str, token: str) -> Held | None:
    """The lease that says that the run goes on; None if somebody alive has it."""
    held = leases.try_hold(token)
    if held is None:
        until = datetime.now().astimezone() + timedelta(seconds=leases.seconds)
        _log.warning(
            "the run %s is running elsewhere, or was killed just now: waiting until %s to know that nobody runs it",
            run_id,
            f"{until:%H:%M:%S}",
        )
        held = leases.hold(token)
    return held
