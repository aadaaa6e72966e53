# SPDX-License-Identifier: Apache-2.0
"""When is a kept result used again, and when is it computed anew?"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path

import pytest

from strongroom import Flow, Keyring, Parameter, ResultStore, State, caching, context
from strongroom.errors import DefinitionError
from strongroom.project import Project

from .conftest import a_task, states_of

HOUR = timedelta(hours=1)
Stored = Callable[[], list[Path]]


class Counted:
    """A task that notes each call, in a flow with one parameter, run as often as one likes."""

    def __init__(self, **arguments: object) -> None:
        self.calls: list[tuple[object, object]] = []
        self._arguments = arguments

    def __call__(self, x: object = 1, y: object = 2, parameter: object = 3, **more: object) -> State:
        calls = self.calls

        def add(x: object, y: object) -> object:
            calls.append((x, y))
            return [x, y]

        with Flow("flow") as flow:
            # Not the closure's source, which lists the calls, but a name tells what belongs together.
            arguments = {"cache_key": "add", "name": "add", **self._arguments, **more}
            result = a_task(add, **{key: value for key, value in arguments.items() if value is not None})(x, y)
            Parameter("parameter")
        state = states_of(flow.run(parameter=parameter))[result]
        assert isinstance(state, State)
        return state


def test_a_kept_result_is_used_again(stored: Stored) -> None:
    add = Counted(cache_for=HOUR)

    first, second = add(), add()

    assert [type(state).__name__ for state in (first, second)] == ["Success", "Cached"]
    assert first.result == second.result == [1, 2]
    assert len(add.calls) == len(stored()) == 1
    assert second.message == "used the result of an earlier run"


@pytest.mark.parametrize("serializer", ["json", "pickle", "compressed/pickle", "auto"])
def test_a_kept_result_is_used_again_whatever_its_format(serializer: str) -> None:
    add = Counted(cache_for=HOUR, result_serializer=serializer)

    assert [add().result, add().result] == [[1, 2], [1, 2]]
    assert len(add.calls) == 1


def test_an_expired_result_is_computed_again(stored: Stored) -> None:
    add = Counted(cache_for=timedelta(microseconds=1))

    states = [add(), add()]

    assert not any(state.is_cached() for state in states)
    assert len(add.calls) == 2
    assert len(stored()) == 1, "the old one is replaced"


def test_a_refreshed_result_replaces_the_kept_one() -> None:
    add = Counted(cache_for=HOUR)
    add(1)

    refreshed = add(2, refresh_cache=True)

    assert refreshed.result == [2, 2]
    assert add(3).result == [2, 2]
    assert len(add.calls) == 2


# What is given in each run, and which of them compute.
VALIDATORS: dict[str, tuple[caching.CacheValidator, list[dict[str, object]], str]] = {
    "never_use": (caching.never_use, [{}, {}], "yes yes"),
    "duration_only": (caching.duration_only, [{}, {"x": 9}, {"parameter": 9}], "yes no no"),
    "all_inputs": (caching.all_inputs, [{}, {"x": 9}, {}, {"x": 9}, {"parameter": 9}], "yes yes no no no"),
    "all_parameters": (caching.all_parameters, [{}, {"parameter": 9}, {"x": 9}], "yes yes no"),
    "partial_inputs_only": (caching.partial_inputs_only(["x"]), [{}, {"y": 9}, {"x": 9}], "yes no yes"),
    "partial_parameters_only": (
        caching.partial_parameters_only(["parameter"]),
        [{}, {"x": 9}, {"parameter": 9}],
        "yes no yes",
    ),
    "of the user": (
        lambda _, inputs, parameters: inputs["x"] != parameters["parameter"],
        [{}, {"x": 9}, {"x": 3}],
        "yes no yes",
    ),
}


@pytest.mark.parametrize("validator", VALIDATORS)
@pytest.mark.parametrize("cache_for", [HOUR, None], ids=["for an hour", "for ever"])
def test_the_validator_decides_what_is_used_again(validator: str, cache_for: timedelta | None) -> None:
    function, runs, expected = VALIDATORS[validator]
    add = Counted(cache_for=cache_for, cache_validator=function)

    computed = ["no" if add(**given).is_cached() else "yes" for given in runs]

    assert " ".join(computed) == expected
    assert len(add.calls) == computed.count("yes")


@pytest.mark.parametrize("other", [True, 1.0, "1", [1], None, 1 + 0j])
def test_inputs_of_another_type_are_other_inputs(other: object) -> None:
    add = Counted(cache_validator=caching.all_inputs)
    add(1)

    assert not add(other).is_cached()
    assert add(1).result == [1, 2]


def test_a_function_gives_the_key_from_context_and_inputs() -> None:
    def key(context: Mapping[str, object], inputs: Mapping[str, object]) -> str:
        return f"{context['flow_name']}-{inputs['x']}"

    add = Counted(cache_key_fn=key, cache_key=None)

    assert [add(x).is_cached() for x in (1, 2, 1, 2)] == [False, False, True, True]


def test_without_a_key_nothing_is_cached_or_kept_for_it(stored: Stored) -> None:
    add = Counted(cache_key_fn=lambda _, __: None, cache_key=None, persist_result=True)

    assert [add().is_cached(), add().is_cached()] == [False, False]
    assert not any("cache" in record.parts for record in stored())


@pytest.mark.parametrize("answer", [7, b"key", True])
def test_a_key_that_is_no_text_fails_the_task(answer: object) -> None:
    state = Counted(cache_key_fn=lambda _, __: answer, cache_key=None)()

    assert state.is_failed()
    assert str(state.message).endswith(f"gave a {type(answer).__name__}, not a str")


@pytest.mark.parametrize("argument", ["cache_validator", "cache_key_fn"])
def test_user_code_that_raises_fails_the_task_without_telling_why_in_clear(argument: str) -> None:
    def raises(*_: object) -> None:
        raise LookupError("a secret")

    add = Counted(cache_for=HOUR)
    add()

    state = add(**{argument: raises})

    assert state.is_failed()
    assert state.message == "LookupError while a cached result was looked for"
    assert len(add.calls) == 1


def test_what_failed_is_not_kept(stored: Stored) -> None:
    calls = []

    def fails() -> None:
        calls.append(1)
        raise ValueError

    with Flow("flow") as flow:
        a_task(fails, cache_for=HOUR, cache_key="fails")()

    assert [flow.run().is_failed(), flow.run().is_failed()] == [True, True]
    assert len(calls) == 2
    assert stored() == []


def with_default(number: int) -> Callable[..., object]:
    def run(x: int = number) -> int:
        return x

    return run


def with_keyword_default(number: int) -> Callable[..., object]:
    def run(*, x: int = number) -> int:
        return x

    return run


def with_closure(number: int) -> Callable[..., object]:
    return lambda: number


def with_inner_closure(number: int) -> Callable[..., object]:
    def run() -> int:
        def inner() -> int:
            return number

        return inner()

    return run


def with_global(number: int) -> Callable[..., object]:
    globals()["NUMBER"] = number
    return lambda: NUMBER


def with_global_in_a_comprehension(number: int) -> Callable[..., object]:
    globals()["NUMBER"] = number
    return lambda: sum([NUMBER for _ in range(1)])


def with_global_in_a_helper(number: int) -> Callable[..., object]:
    globals()["NUMBER"] = number
    return lambda: helper()  # noqa: PLW0108  # it is the name that counts


def helper() -> int:
    return NUMBER


NUMBER = 0
MAKERS = [
    *(with_default, with_keyword_default, with_closure, with_inner_closure),
    *(with_global, with_global_in_a_comprehension, with_global_in_a_helper),
]


def run_cached(function: Callable[..., object]) -> State:
    with Flow("flow") as flow:
        result = a_task(function, name="same", cache_for=HOUR)()
    return states_of(flow.run())[result]


@pytest.mark.parametrize("make", MAKERS)
def test_a_task_that_uses_another_value_is_another_task(make: Callable[[int], Callable[..., object]]) -> None:
    assert [run_cached(make(number)).result for number in (1, 2, 1)] == [1, 2, 1]
    assert run_cached(make(2)).is_cached()


def test_a_task_with_another_source_is_another_task() -> None:
    def one() -> int:
        return 1

    def two() -> int:
        return 1 + 1

    assert [run_cached(one).result, run_cached(two).result] == [1, 2]
    assert [run_cached(one).is_cached(), run_cached(two).is_cached()] == [True, True]


def test_two_lambdas_in_one_line_are_two_tasks() -> None:
    one, two = (lambda: int("1")), (lambda: int("2"))

    assert [run_cached(one).result, run_cached(two).result] == [1, 2]
    assert [run_cached(one).is_cached(), run_cached(two).is_cached()] == [True, True]


def test_a_source_that_cannot_be_read_is_an_error_and_not_a_guess() -> None:
    state = run_cached(eval("lambda: 1"))

    assert state.is_failed()
    assert "the source of <lambda> cannot be read; give the task a cache_key" in str(state.message)


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "a changed payload": lambda good: good.replace(b"[1,2]", b"[9,9]"),
    "a cut end": lambda good: good[:-1],
    "nothing": lambda _: b"",
    "a changed header": lambda good: good.replace(b'"created":1', b'"created":2'),
    "a header that is no text": lambda good: good.replace(b'"chain":"', b'"chain":"\xff', 1).replace(b" \n", b"\n", 1),
    "something else": lambda _: b"\xff" * 300,
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_result_is_computed_again_with_a_warning(
    damage: str, stored: Stored, caplog: pytest.LogCaptureFixture
) -> None:
    add = Counted(cache_for=HOUR, result_serializer="json")
    add()
    (record,) = stored()
    good = record.read_bytes()
    assert DAMAGE[damage](good) != good
    record.write_bytes(DAMAGE[damage](good))

    again = add()

    assert not again.is_cached()
    assert again.result == [1, 2]
    assert [entry.levelname for entry in caplog.records] == ["WARNING"]
    assert "a cached result of the task 'add' is left out and computed again" in caplog.text
    assert add().is_cached(), "it was replaced"


def test_a_result_that_somebody_else_put_there_is_not_used(
    stored: Stored, tmp_path: Path, caplog: pytest.LogCaptureFixture, isolated: Path
) -> None:
    add = Counted(cache_for=HOUR, result_serializer="json")
    add()
    (record,) = stored()
    key = str(record.relative_to(isolated / "results"))
    stranger = Keyring.open_or_create(tmp_path / "stranger" / "keyring.toml")
    ResultStore(isolated / "results", serializer="json", keyring=stranger).write([6, 6, 6], key)

    assert add().result == [1, 2]
    assert "computed again" in caplog.text


def test_a_result_in_a_format_that_is_no_longer_allowed_is_computed_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    add = Counted(cache_for=HOUR)
    add(result_serializer="pickle")
    monkeypatch.setenv("STRONGROOM_RESULTS_ALLOW", "json")

    again = add(result_serializer="json")

    assert not again.is_cached()
    assert "the format 'pickle', which this reader does not allow" in caplog.text


def test_a_cached_result_reaches_what_is_downstream_and_is_recorded_by_reference(project: Project) -> None:
    with Flow("flow") as flow:
        cached = a_task(lambda: [1], name="up", cache_for=HOUR, cache_key="up")()
        down = a_task(lambda x: x * 2, name="down")(cached)
    flow.run()

    with project.open_backend() as backend:
        run = flow.run(backend=backend)
        last = list(project.documents(backend, str(run.context["run_id"]), task="up"))[-1]

    assert states_of(run)[down].result == [1, 1]
    assert last.type == "Cached"
    assert project.result(last.result, last).value == [1]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"result_storage_key": "mine"}, "cannot have a result_storage_key"),
        ({"result_handler": "json"}, "its result handler must be 'stored'"),
    ],
)
def test_a_cached_task_needs_a_storage_that_can_be_searched(arguments: dict[str, str], reason: str) -> None:
    counted = Counted(cache_for=HOUR)

    with pytest.raises(DefinitionError, match=reason):
        counted(**arguments)
    assert counted.calls == []


SCRIPT = """
from datetime import timedelta
from strongroom import Flow, caching, task

FACTOR = 2

@task(cache_for=timedelta(hours=1), cache_validator=caching.all_inputs)
def double(x, options):
    print("computed")
    return x * FACTOR

with Flow("flow") as flow:
    double(21, {"b": (1, 2.5), "a": {"x", "y", "z"}})
state, = flow.run().result.values()
print(type(state).__name__, state.result)
"""


def test_a_result_is_found_by_another_process_that_hashes_differently(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    said = []
    for seed in ("1", "2"):
        monkeypatch.setenv("PYTHONHASHSEED", seed)
        said.append(subprocess.run([sys.executable, script], capture_output=True, text=True, check=True).stdout.split())

    assert said == [["computed", "Success", "42"], ["Cached", "42"]]


def test_a_lookup_is_made_for_each_try_of_a_task() -> None:
    def key(*_: object) -> str:
        looked.append(context.task_run_count)
        return "key"

    def fails_at_first() -> int:
        if context.task_run_count == 1:
            raise ValueError
        return 1

    looked: list[int] = []
    with Flow("flow") as flow:
        result = a_task(fails_at_first, max_retries=1, cache_key_fn=key)()

    assert states_of(flow.run())[result].result == 1
    assert looked == [1, 2]
