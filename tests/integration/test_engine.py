# SPDX-License-Identifier: Apache-2.0
"""Does a run do what was said? With every plugin and a real database."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

import pytest

from strongroom import Flow, Parameter, State, Task, ThreadExecutor, context, signals, states, triggers
from strongroom.documents import RunDocument
from strongroom.errors import DefinitionError, ParameterError

from .conftest import Recorded, a_task, raises, states_of, types

EXECUTORS = pytest.mark.parametrize("executor", ["sync", "threads"])


# What stops a run before it starts.


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ((1, 2), "at p: JSON has no tuple"),
        ({"a": [{"b": {1}}]}, "JSON has no set"),
        (float("nan"), "a number that JSON does not have"),
        (2**64, "a number of more than 64 bits"),
        (-(2**63) - 1, "a number of more than 64 bits"),
        (["\ud800"], "half of a surrogate pair"),
        ({"\ud800": 1}, "half of a surrogate pair"),
        ({1: 1}, "has the type int, not str"),
    ],
)
def test_a_parameter_that_is_no_plain_json_stops_the_run_before_it_starts(
    value: object, problem: str, isolated: Path
) -> None:
    with Flow("flow") as flow:
        Parameter("p")

    with pytest.raises(ParameterError, match=problem):
        flow.run(p=value)

    assert not isolated.exists()


@pytest.mark.parametrize("value", [2**64 - 1, -(2**63), 1e300, "\U0001f600", {"": [None, True]}, [[[[]]]]])
def test_any_plain_json_is_a_parameter_and_comes_back(value: object, recorded: Recorded) -> None:
    with Flow("flow") as flow:
        parameter = Parameter("p")

    state = flow.run(p=value)

    opening = recorded()[0]
    assert isinstance(opening, RunDocument)
    assert opening.parameters == {"p": value}
    assert states_of(state)[parameter].result == value


def test_a_context_key_of_the_engine_cannot_be_taken(isolated: Path) -> None:
    with Flow("flow") as flow:
        a_task(lambda: 1, name="work")()

    with pytest.raises(DefinitionError, match="'run_id' is the engine's"):
        flow.run(context={"run_id": "mine"})

    assert not isolated.exists()


# Handlers, signals, triggers.


def test_state_handlers_see_each_change_in_order_and_each_sees_what_the_one_before_left() -> None:
    seen: list[tuple[str, str, str]] = []

    def notes(name: str, answer: State | None = None) -> Callable[[object, State, State], State | None]:
        def handler(_: object, old: State, new: State) -> State | None:
            seen.append((name, type(old).__name__, type(new).__name__))
            return answer if type(new) is states.Success else None

        return handler

    with Flow("flow") as flow:
        work = a_task(lambda: 1, state_handlers=[notes("first", states.Skipped("mine")), notes("second")])()

    state = states_of(flow.run())[work]

    assert seen == [
        ("first", "Pending", "Running"),
        ("second", "Pending", "Running"),
        ("first", "Running", "Success"),
        ("second", "Running", "Skipped"),
    ]
    assert type(state) is states.Skipped


SIGNALS = {
    "FAIL": (signals.FAIL("m"), states.Failed),
    "TRIGGERFAIL": (signals.TRIGGERFAIL("m"), states.TriggerFailed),
    "VALIDATIONFAIL": (signals.VALIDATIONFAIL("m"), states.ValidationFailed),
    "SUCCESS": (signals.SUCCESS("m", result=7), states.Success),
    "SKIP": (signals.SKIP("m"), states.Skipped),
    "PAUSE": (signals.PAUSE("m"), states.Paused),
    "CANCEL": (signals.CANCEL("m"), states.Cancelled),
}


@pytest.mark.parametrize("place", ["task", "trigger", "state handler"])
@pytest.mark.parametrize("name", SIGNALS)
def test_a_signal_becomes_its_state_wherever_it_is_raised(name: str, place: str, recorded: Recorded) -> None:
    error, kind = SIGNALS[name]
    arguments: dict[str, object] = {}
    if place == "trigger":
        arguments = {"trigger": lambda _: raises(error)()}
    elif place == "state handler":
        arguments = {"state_handlers": [lambda _, __, new: raises(error)() if new.is_finished() else None]}
    with Flow("flow") as flow:
        work = a_task(raises(error) if place == "task" else lambda: 1, name="work", **arguments)()

    state = states_of(flow.run())[work]

    assert type(state) is kind
    assert state.message == "m"
    assert types(recorded(task="work"))[-1] == kind.__name__


def test_what_follows_a_skip_is_skipped_unless_it_says_otherwise() -> None:
    with Flow("flow") as flow:
        skipped = a_task(raises(signals.SKIP()), name="skipped")()
        after = a_task(lambda x: x, name="after")(skipped)
        anyway = a_task(lambda x: x is None, name="anyway", skip_on_upstream_skip=False)(after)

    found = states_of(flow.run())

    assert [found[each].is_skipped() for each in (skipped, after, anyway)] == [True, True, False]
    assert found[anyway].result is True


def test_a_task_may_wait_for_a_failure_and_gets_what_was_raised() -> None:
    with Flow("flow") as flow:
        fine = a_task(lambda: 1, name="fine")()
        broken = a_task(raises(KeyError("broken")), name="broken")()
        mends = a_task(lambda x, y: (x, str(y)), name="mends", trigger=triggers.any_failed)(fine, broken)
        flow.set_reference_tasks([mends])

    state = flow.run()

    assert state.is_successful()
    assert states_of(state)[mends].result == (1, "'broken'")


def test_on_failure_is_called_once_for_the_task_and_once_for_the_flow() -> None:
    called: list[tuple[str, str]] = []

    def note(subject: Task | Flow, state: State) -> None:
        called.append((subject.name, type(state).__name__))

    with Flow("flow", on_failure=note) as flow:
        a_task(raises(ValueError()), name="work", on_failure=note)()

    flow.run()

    assert called == [("work", "Failed"), ("flow", "Failed")]


# Executors.


def test_threads_run_tasks_at_the_same_time_and_each_sees_its_own_context() -> None:
    together = threading.Barrier(3, timeout=60)

    def look(number: int) -> tuple[object, ...]:
        together.wait()
        return number, context.task_slug, context["mine"], context.task_run_count

    with Flow("flow") as flow:
        looks = [a_task(look, name="look")(number) for number in range(3)]

    with context(mine="kept"):
        found = states_of(flow.run(executor="threads"))

    assert [found[each].result for each in looks] == [
        (0, "look", "kept", 1),
        (1, "look-2", "kept", 1),
        (2, "look-3", "kept", 1),
    ]


@EXECUTORS
@pytest.mark.parametrize("shape", ["chain", "fan"])
def test_thousands_of_tasks_run_and_are_recorded(shape: str, executor: str, recorded: Recorded) -> None:
    add = a_task(lambda x: x + 1, name="add")
    with Flow("flow") as flow:
        if shape == "chain":
            last = add(0)
            for _ in range(4999):
                last = add(last)
        else:
            start = a_task(lambda: 0, name="start")()
            last = a_task(lambda xs: sum(xs, 0), name="sum")([add(start) for _ in range(2000)])

    state = flow.run(executor=executor)

    assert states_of(state)[last].result == (5000 if shape == "chain" else 2000)
    assert types(recorded(state)).count("Success") == len(flow.tasks) + 1


class Closing(ThreadExecutor):
    """Threads that know when the run does not go on."""

    def __init__(self) -> None:
        super().__init__()
        self.closes = threading.Event()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.closes.set()
        super().__exit__(kind, error, trace)


def interrupted_while_a_task_runs(interrupt: Callable[[], object], executor: Closing | str) -> None:
    """Run a task, then *interrupt* as a task, then one that is never to be run."""
    with Flow("flow", persist_result=True) as flow:
        done = a_task(lambda: "done", name="done")()
        stops = a_task(lambda _: interrupt(), name="stops")(done)
        a_task(lambda x: x, name="never")(stops)
    with pytest.raises(KeyboardInterrupt):
        flow.run(executor=executor)


def ctrl_c(then: threading.Event) -> None:
    """Interrupt the main thread, and wait: there in vain, in another thread until it comes."""
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
    then.wait(300)


def test_an_interrupt_ends_in_cancelled_and_what_was_done_stays_done(recorded: Recorded, isolated: Path) -> None:
    interrupted_while_a_task_runs(lambda: ctrl_c(threading.Event()), "sync")

    assert types(recorded(task="")) == ["Running", "Cancelling", "Cancelled"]
    assert types(recorded(task="done")) == ["Running", "Success"]
    assert types(recorded(task="stops")) == ["Running", "Cancelled"]
    assert types(recorded(task="never")) == []
    assert not list(isolated.rglob("*.tmp"))


def test_what_runs_in_a_thread_during_an_interrupt_may_end_and_keeps_what_it_came_to(recorded: Recorded) -> None:
    threads = Closing()

    interrupted_while_a_task_runs(lambda: ctrl_c(threads.closes), threads)

    assert types(recorded(task="")) == ["Running", "Cancelling", "Cancelled"]
    assert types(recorded(task="stops")) == ["Running", "Success"]
    assert types(recorded(task="never")) == []


def test_an_interrupt_that_a_task_raises_in_a_thread_cancels_it_and_the_run(recorded: Recorded) -> None:
    interrupted_while_a_task_runs(raises(KeyboardInterrupt()), "threads")

    assert types(recorded(task="")) == ["Running", "Cancelling", "Cancelled"]
    assert types(recorded(task="done")) == ["Running", "Success"]
    assert types(recorded(task="stops")) == ["Running", "Cancelled"]
    assert types(recorded(task="never")) == []
