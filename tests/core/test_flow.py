# SPDX-License-Identifier: Apache-2.0
"""Running flows with the core alone: no serializer, no storage, the backend in memory."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from strongroom import Flow, Parameter, ThreadExecutor, context, flow, signals, states, task, triggers
from strongroom._memory_backend import MemoryBackend
from strongroom.errors import BackendError, DefinitionError, MissingPluginError, ParameterError
from strongroom.testing._executor_tasks import Literal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from pathlib import Path

    from strongroom import Envelope, State


def raises(error: BaseException) -> State:
    raise error


@task
def one() -> int:
    return 1


@task
def add(x: int, y: int = 1) -> int:
    return x + y


@task
def fail() -> None:
    raise ValueError("no")


@pytest.fixture
def backend() -> MemoryBackend:
    return MemoryBackend()


def _types(backend: MemoryBackend, slug: str) -> list[str]:
    (run_id,) = backend.runs()
    return [envelope.type for envelope in backend.read(run_id, task=slug) if envelope.kind == "state"]


@pytest.mark.parametrize("executor", ["sync", "threads"])
def test_results_go_from_task_to_task(backend: MemoryBackend, executor: str) -> None:
    with Flow("f") as f:
        last = add(add(one()), y=10)

    state = f.run(backend=backend, executor=executor)

    assert state.is_successful()
    assert state.result[last].result == 12  # type: ignore[index]
    assert _types(backend, "add-2") == ["Running", "Success"]
    assert _types(backend, "") == ["Running", "Success"]


def test_a_failure_fails_the_run_and_what_waits_for_it(backend: MemoryBackend) -> None:
    with Flow("f") as f:
        failed = fail()
        waiting = one(upstream_tasks=[failed])

    state = f.run(backend=backend)

    assert state.is_failed()
    assert isinstance(state.result[failed].result, ValueError)  # type: ignore[index]
    assert type(state.result[waiting]) is states.TriggerFailed  # type: ignore[index]


def test_a_task_may_wait_for_failure_and_references_decide(backend: MemoryBackend) -> None:
    with Flow("f") as f:
        clean_up = one(task_args={"trigger": triggers.any_failed}, upstream_tasks=[fail()])
        f.set_reference_tasks([clean_up])

    assert f.run(backend=backend).is_successful()


def test_a_task_that_fails_once_is_run_again(backend: MemoryBackend) -> None:
    counts = []

    @task(max_retries=2, retry_delay=timedelta(milliseconds=1))
    def flaky() -> int:
        counts.append(context.task_run_count)
        if len(counts) < 3:
            raise OSError
        return 7

    with Flow("f") as f:
        result = flaky()

    state = f.run(backend=backend)

    assert state.result[result].result == 7  # type: ignore[index]
    assert counts == [1, 2, 3]
    assert _types(backend, "flaky") == ["Running", "Failed", "Retrying"] * 2 + ["Running", "Success"]


def test_only_the_errors_of_retry_on_are_worth_a_retry(backend: MemoryBackend) -> None:
    with Flow("f") as f:
        fail(task_args={"max_retries": 3, "retry_on": (OSError,)})

    assert f.run(backend=backend).is_failed()
    assert _types(backend, "fail") == ["Running", "Failed"]


def test_signals_become_states(backend: MemoryBackend) -> None:
    @task
    def say(signal: str) -> None:
        raise getattr(signals, signal)("because", result=5)

    with Flow("f") as f:
        said = {name: say(name) for name in ("SUCCESS", "SKIP", "FAIL", "CANCEL", "VALIDATIONFAIL")}
        after_skip = one(upstream_tasks=[said["SKIP"]])

    state = f.run(backend=backend)

    kinds = {name: type(state.result[each]).__name__ for name, each in said.items()}  # type: ignore[index]
    assert kinds == {
        "SUCCESS": "Success",
        "SKIP": "Skipped",
        "FAIL": "Failed",
        "CANCEL": "Cancelled",
        "VALIDATIONFAIL": "ValidationFailed",
    }
    assert state.result[said["SUCCESS"]].result == 5  # type: ignore[index]
    assert state.result[after_skip].is_skipped()  # type: ignore[index]


def test_a_retry_signal_ignores_max_retries(backend: MemoryBackend) -> None:
    @task
    def again() -> int:
        if context.task_run_count < 3:
            raise signals.RETRY("once more")
        return context.task_run_count

    with Flow("f") as f:
        result = again()

    assert f.run(backend=backend).result[result].result == 3  # type: ignore[index]


def test_a_paused_task_leaves_the_run_running(backend: MemoryBackend) -> None:
    with Flow("f") as f:
        one(task_args={"trigger": triggers.manual_only})

    state = f.run(backend=backend)

    assert state.is_running()
    assert _types(backend, "one") == ["Paused"]


@pytest.mark.parametrize("executor", ["sync", "threads"])
def test_a_pause_with_a_time_ends_then_and_holds_no_worker(backend: MemoryBackend, executor: str) -> None:
    seen = []

    @task
    def pauses() -> int:
        seen.append((context.resume, context.task_run_count))
        if not context.resume:
            raise signals.PAUSE("until then", start_time=datetime.now(UTC) + timedelta(milliseconds=20))
        return 5

    with Flow("f") as f:
        after = add(pauses())

    state = f.run(backend=backend, executor=executor)

    assert state.result[after].result == 6  # type: ignore[index]
    assert seen == [(False, 1), (True, 1)]
    assert _types(backend, "pauses") == ["Running", "Paused", "Running", "Success"]


def test_a_pause_that_is_given_to_a_run_without_a_time_stays(backend: MemoryBackend) -> None:
    with Flow("f") as f:
        paused = one()

    state = f.run(backend=backend, task_states={paused: states.Paused()})

    assert state.is_running()
    assert _types(backend, "one") == []


def test_a_constant_that_a_task_changes_is_as_it_was_written_in_the_next_run(backend: MemoryBackend) -> None:
    @task
    def changes(numbers: list[int], nested: dict[str, list[int]]) -> tuple[int, int]:
        numbers.append(1)
        nested["in"].append(1)
        return len(numbers), len(nested["in"])

    @task
    def change(number: list[int]) -> int:
        number.append(1)
        return len(number)

    written = [0]
    with Flow("f") as f:
        changed = changes(written, {"in": []})
        each = change.map([[], [0]])

    for _ in range(2):
        state = f.run(backend=backend)
        assert state.result[changed].result == (2, 1)  # type: ignore[index]
        assert state.result[each].result == [1, 2]  # type: ignore[index]
    assert written == [0]


def test_what_is_no_plain_container_is_handed_over_as_it_is(backend: MemoryBackend) -> None:
    class Client:
        pass

    client = Client()
    with Flow("f") as f:
        got = task(lambda clients: clients[0], name="got")([client])

    assert f.run(backend=backend).result[got].result is client  # type: ignore[index]


def test_an_unknown_executor_is_answered_with_those_that_there_are() -> None:
    with Flow("f") as f:
        one()

    with pytest.raises(MissingPluginError, match=r"there is no executor 'thread'; known here: .*sync, threads"):
        f.run(executor="thread")


@pytest.mark.parametrize(("given", "says"), [("sql", "is a str"), (MemoryBackend, "is the class MemoryBackend")])
def test_what_is_no_backend_is_refused_before_anything_runs(given: Any, says: str) -> None:  # noqa: ANN401
    with Flow("f") as f:
        one()

    with pytest.raises(DefinitionError, match=f"the backend {says}; give a Backend"):
        f.run(backend=given)
    with pytest.raises(DefinitionError, match=f"the backend {says}; give a Backend"):
        f.resume("0" * 32, backend=given)


def test_parameters_and_defaults_reach_tasks() -> None:
    @flow
    def example(x: int, y: int = 10) -> None:
        add(x, y)

    state = example.run({"x": 1}, backend=MemoryBackend())

    assert state.result[example.get_task("add")].result == 11  # type: ignore[index]
    state = example.run(x=1, y=2, backend=MemoryBackend())
    assert state.result[example.get_task("add")].result == 3  # type: ignore[index]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "needs the parameter 'x'"),
        ({"x": 1, "z": 2}, "no parameter 'z'"),
        ({"x": (1, 2)}, "JSON has no tuple"),
        ({"x": {"a": [float("nan")]}}, r"x\.a\[0\]"),
    ],
)
def test_wrong_parameters_stop_the_run_before_it_starts(arguments: dict[str, object], words: str) -> None:
    backend = MemoryBackend()
    with Flow("f") as f:
        add(Parameter("x"))

    with pytest.raises(ParameterError, match=words):
        f.run(arguments, backend=backend)

    assert not backend.runs()


def test_state_handlers_see_each_change_and_may_turn_it() -> None:
    seen = []

    def watch(subject: object, old: State, new: State) -> State | None:
        seen.append((type(old).__name__, type(new).__name__))
        return states.Failed("turned") if new.is_successful() else None

    with Flow("f") as f:
        result = one(task_args={"state_handlers": (watch,)})

    state = f.run(backend=MemoryBackend())

    assert seen == [("Pending", "Running"), ("Running", "Success")]
    assert state.result[result].message == "turned"  # type: ignore[index]


@pytest.mark.parametrize("answer", ["raise", "nonsense"])
def test_a_broken_state_handler_fails_the_task(answer: str) -> None:
    def handler(subject: object, old: State, new: State) -> object:
        if answer == "raise":
            raise ZeroDivisionError
        return "nonsense"

    with Flow("f") as f:
        one(task_args={"state_handlers": (handler,)})

    assert f.run(backend=MemoryBackend()).is_failed()


@pytest.mark.parametrize(
    "answer",
    [
        lambda: states.Failed("no"),
        lambda: raises(signals.FAIL("no")),
        lambda: raises(signals.SKIP("no")),
        lambda: raises(ValueError("no")),
    ],
)
def test_whatever_a_state_handler_of_a_flow_does_the_run_has_its_id_and_the_states_of_its_tasks(
    answer: Callable[[], State], backend: MemoryBackend
) -> None:
    def handler(_flow: object, _old: State, new: State) -> State | None:
        return answer() if new.is_finished() else None

    with Flow("f", state_handlers=[handler]) as f:
        result = one()

    state = f.run(backend=backend)

    assert state.context["run_id"] == backend.runs()[0]
    assert state.result[result].result == 1  # type: ignore[index]


def test_a_result_that_a_state_handler_of_a_flow_gives_is_that_of_the_run() -> None:
    with Flow("f", state_handlers=[lambda *_: states.Success(result=42)]) as f:
        one()

    assert f.run(backend=MemoryBackend()).result == 42


def test_what_a_task_says_in_the_wrong_way_is_answered_in_its_message() -> None:
    with Flow("f") as f:
        task(lambda: raises(signals.PAUSE(start_time=datetime(2020, 1, 1))), name="paused")()  # noqa: DTZ001

    (state,) = f.run(backend=MemoryBackend()).result.values()  # type: ignore[attr-defined]

    assert state.message.startswith("DefinitionError in the task: Paused needs a start_time that knows")


def test_the_delay_that_is_none_is_named() -> None:
    with Flow("f") as f:
        task(fail.run, name="late", max_retries=1, retry_delay=lambda _: "soon")()

    (state,) = f.run(backend=MemoryBackend()).result.values()  # type: ignore[attr-defined]

    assert "retry_delay of the task 'late' must be a timedelta or a number" in state.message


async def _endless() -> AsyncIterator[int]:
    yield 1


def test_what_can_be_read_once_only_is_no_result() -> None:
    with Flow("f") as f:
        task(_endless, name="endless")()

    (state,) = f.run(backend=MemoryBackend()).result.values()  # type: ignore[attr-defined]

    assert "returned a async_generator, which can be read only once" in state.message


@pytest.mark.parametrize("context", [{1: 2}, [1], "text"])
def test_a_context_is_values_by_name(context: Any) -> None:  # noqa: ANN401  # wrong on purpose
    with Flow("f") as f:
        one()

    with pytest.raises(DefinitionError, match="values by name"):
        f.run(backend=MemoryBackend(), context=context)


def test_on_failure_is_called_with_the_failed_state() -> None:
    seen: list[State] = []
    with Flow("f", on_failure=lambda _, state: seen.append(state)) as f:
        task(on_failure=lambda _, state: seen.append(state))(fail.run)()

    f.run(backend=MemoryBackend())

    assert [type(state) for state in seen] == [states.Failed, states.Failed]


def test_the_context_is_filled_and_reaches_threads() -> None:
    @task(tags=["nightly"])
    def look() -> dict[str, object]:
        return {key: context[key] for key in ("flow_name", "task_name", "task_slug", "mine", "task_run_count")}

    with Flow("f") as f:
        result = look()

    state = f.run(backend=MemoryBackend(), context={"mine": 1}, executor="threads")

    assert state.result[result].result == {  # type: ignore[index]
        "flow_name": "f",
        "task_name": "look",
        "task_slug": "look",
        "mine": 1,
        "task_run_count": 1,
    }


def test_threads_run_at_the_same_time() -> None:
    barrier = threading.Barrier(4, timeout=60)

    with Flow("f") as f:
        for _ in range(4):
            task(barrier.wait, name="wait", max_retries=0)(timeout=None)

    assert f.run(backend=MemoryBackend(), executor="threads").is_successful()


@pytest.mark.parametrize("executor", ["sync", "threads"])
def test_a_long_chain_needs_no_deep_stack(executor: str) -> None:
    with Flow("f") as f:
        last = one()
        for _ in range(3000):
            last = add(last)

    state = f.run(backend=MemoryBackend(), executor=executor)

    assert state.result[last].result == 3001  # type: ignore[index]


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: one(task_args={"task_run_name": "{nothing}"}), "unknown"),
        (lambda: one(task_args={"task_run_name": "{parameters[z]}"}), "no such parameter"),
        (lambda: one(task_args={"task_run_name": "{task_name.__class__}"}), "attribute"),
        (lambda: one(task_args={"task_run_name": "{task_name:{nothing}}"}), "unknown"),
        (lambda: one(task_args={"task_run_name": "{task_name:{parameters.z}}"}), "attribute"),
        (lambda: one(task_args={"result_storage_key": "{"}), "no template"),
        (
            lambda: one(task_args={"result_storage_key": "../x"}),
            "result_storage_key of the task 'one' is no key: each part",
        ),
        (lambda: one(task_args={"result_storage_key": "/x"}), "each part of a key"),
        (lambda: one(task_args={"result_storage_key": "x/../{task_name}"}), "each part of a key"),
        (lambda: one(task_args={"result_storage_key": "s3://bucket/{task_name}"}), "control characters"),
    ],
)
def test_a_wrong_template_stops_the_run_before_it_starts(build: Callable[[], object], words: str) -> None:
    backend = MemoryBackend()
    with Flow("f") as f:
        build()

    with pytest.raises(DefinitionError, match=words):
        f.run(backend=backend)

    assert not backend.runs()


def test_a_task_can_have_two_templates_of_its_inputs(isolated: Path) -> None:
    with Flow("f") as f:
        task(lambda x: x, task_run_name="named {x}", result_storage_key="kept/{x}", result_serializer=Literal())(7)

    assert f.run().is_successful()
    assert (isolated / "results" / "kept" / "7").is_file()


def test_an_empty_flow_is_refused() -> None:
    with pytest.raises(DefinitionError, match="no tasks"):
        Flow("f").run()


def test_ctrl_c_is_written_down_and_passed_on(backend: MemoryBackend) -> None:
    @task
    def interrupted() -> None:
        raise KeyboardInterrupt

    with Flow("f") as f:
        interrupted()

    with pytest.raises(KeyboardInterrupt):
        f.run(backend=backend)

    assert _types(backend, "interrupted") == ["Running", "Cancelled"]
    assert _types(backend, "") == ["Running", "Cancelling", "Cancelled"]


def test_a_backend_that_refuses_is_said_after_the_run(caplog: pytest.LogCaptureFixture) -> None:
    class Full(MemoryBackend):
        id = "full"

        def append(self, envelopes: Sequence[Envelope]) -> None:
            raise BackendError("no space is left")

    done = []
    with Flow("f") as f:
        task(lambda: done.append(1), name="work")()

    assert f.run(backend=Full()).is_successful()

    assert done == [1]
    assert "the backend has not taken them: no space is left" in caplog.text


def test_no_value_is_handled_without_need(monkeypatch: pytest.MonkeyPatch) -> None:
    from strongroom.results import ResultStore

    written = []
    monkeypatch.setattr(ResultStore, "write", lambda *_, **__: written.append(1))
    with Flow("f") as f:
        add(one())

    assert f.run(backend=MemoryBackend()).is_successful()
    assert not written


def test_what_cannot_be_kept_did_not_succeed() -> None:
    from strongroom.abc import ResultHandler, Slot

    class Broken(ResultHandler):
        id = "broken"

        def write(self, value: object, slot: Slot) -> None:
            raise RuntimeError(f"the value is {value}")

        def read(self, reference: object, slot: Slot) -> None:
            raise NotImplementedError

    @task(persist_result=True, result_handler=Broken())
    def secret() -> str:
        return "hunter2"

    with Flow("f") as f:
        result = secret()

    state = f.run(backend=MemoryBackend()).result[result]  # type: ignore[index]

    assert state.is_failed()
    assert "broken" in state.message
    assert "hunter2" not in state.message


def test_a_plugin_that_is_only_told_cannot_stop_a_run(caplog: pytest.LogCaptureFixture) -> None:
    from strongroom import hookimpl
    from strongroom.project import Project

    class Listener:
        @hookimpl
        def strongroom_state_changed(self, new: object) -> None:
            raise ZeroDivisionError

    plugins = Project.open().plugins
    plugins.add("listener", Listener())
    with Flow("f") as f:
        one()

    try:
        assert f.run(backend=MemoryBackend()).is_successful()
    finally:
        plugins.remove("listener")

    assert "ZeroDivisionError in strongroom_state_changed" in caplog.text


def test_an_executor_is_used_by_one_run_at_a_time() -> None:
    executor = ThreadExecutor(2)
    with Flow("inner") as inner:
        one()

    @task
    def nested() -> object:
        return inner.run(executor=executor, backend=MemoryBackend())

    with Flow("outer") as outer:
        result = nested()

    state = outer.run(executor=executor, backend=MemoryBackend()).result[result]  # type: ignore[index]
    assert "in use by another run" in str(state.result)


def test_a_message_that_is_no_text_becomes_one() -> None:
    @task
    def says() -> None:
        raise signals.FAIL(404)  # type: ignore[arg-type]

    with Flow("f") as f:
        said = says()

    assert f.run(backend=MemoryBackend()).result[said].message == "404"  # type: ignore[index]


def test_what_waits_for_its_next_try_is_cancelled_too(backend: MemoryBackend) -> None:
    @task(max_retries=1, retry_delay=600)
    def flaky() -> None:
        raise OSError

    @task
    def interrupted() -> None:
        raise KeyboardInterrupt

    with Flow("f") as f:
        flaky()
        interrupted()

    with pytest.raises(KeyboardInterrupt):
        f.run(backend=backend)

    assert _types(backend, "flaky") == ["Running", "Failed", "Retrying", "Cancelled"]


def test_a_result_that_comes_with_a_signal_is_kept_too(backend: MemoryBackend) -> None:
    @task(persist_result=True, result_handler="json")
    def done() -> None:
        raise signals.SUCCESS("early", result=[1])

    with Flow("f") as f:
        result = done()

    state = f.run(backend=backend).result[result]  # type: ignore[index]

    assert state.message == "early"
    assert state._result.reference == [1]


@pytest.mark.parametrize("arguments", [{"result_serializer": "jsn"}, {"result_handler": "jsn"}])
def test_a_wrong_handler_or_serializer_stops_the_run_before_it_starts(
    backend: MemoryBackend, arguments: dict[str, str]
) -> None:
    with Flow("f") as f:
        one(task_args=arguments)

    with pytest.raises(MissingPluginError, match="jsn"):
        f.run(backend=backend)

    assert not backend.runs()


def test_a_storage_that_is_no_place_is_refused() -> None:
    with pytest.raises(DefinitionError, match="cannot lie in a dict"):
        task(result_storage={})(lambda: None)
