# SPDX-License-Identifier: Apache-2.0
"""Which runs of a task share a result, under each cache policy?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from strongroom import Flow, Parameter, ResultStore, State, Task, caching, context, flow, task
from strongroom.caching import DEFAULT, FLOW_PARAMETERS, INPUTS, NO_CACHE, RUN_ID, TASK_SOURCE, CachePolicy
from strongroom.documents import CacheInfo, StateDocument

from .conftest import Recorded, a_task, records_under, states_of


class Flows:
    """Runs of flows with one task, whose calls are counted."""

    def __init__(self) -> None:
        self.calls: list[tuple[object, object]] = []

    def run(self, policy: CachePolicy | None, x: object = 1, y: object = 2, p: object = 3, **more: object) -> State:
        counted = self.calls

        def add(x: object, y: object) -> object:
            context.calls.append((x, y))  # type: ignore[attr-defined]
            return "computed"

        with Flow("flow") as made:
            result = a_task(add, **{"cache_policy": policy, "name": "add", **more})(x, y)
            Parameter("p")
        # The calls are context, and no input: what a task reads there is no part of its key.
        return states_of(made.run(p=p, context={"calls": counted}))[result]


@pytest.fixture
def flows() -> Flows:
    return Flows()


CHANGES = [{}, {"x": 9}, {"y": 9}, {"p": 9}, {"name": "another"}]
POLICIES = {
    # Which of the changes still find the result of the first run.
    "INPUTS": (INPUTS, "yes no no yes no"),
    "INPUTS without x": (INPUTS - "x", "yes yes no yes no"),
    "TASK_SOURCE": (TASK_SOURCE, "yes yes yes yes no"),
    "FLOW_PARAMETERS": (FLOW_PARAMETERS, "yes yes yes no no"),
    "INPUTS and FLOW_PARAMETERS": (INPUTS + FLOW_PARAMETERS, "yes no no no no"),
    "RUN_ID": (RUN_ID, "no no no no no"),
    "DEFAULT": (DEFAULT, "no no no no no"),
    "NO_CACHE": (NO_CACHE, "no no no no no"),
}


@pytest.mark.parametrize("name", POLICIES)
def test_a_policy_says_which_runs_share_a_result(flows: Flows, name: str) -> None:
    policy, expected = POLICIES[name]
    flows.run(policy)

    found = ["yes" if flows.run(policy, **change).is_cached() else "no" for change in CHANGES]

    assert " ".join(found) == expected


@task(cache_policy=DEFAULT)
def fails_at_first(x: int) -> int:
    seen: list[int] = context.seen  # type: ignore[attr-defined]
    seen.append(x)
    return x


def test_within_one_run_equal_inputs_share_a_result() -> None:
    seen: list[int] = []
    with Flow("flow") as made:
        results = fails_at_first.map([1, 2, 1, 1])

    run = made.run(context={"seen": seen})

    assert states_of(run)[results].result == [1, 2, 1, 1]
    assert seen == [1, 2]


FACTOR = 2


@task(cache_policy=INPUTS + TASK_SOURCE)
def scaled_by_a_global(x: int) -> int:
    return x * FACTOR


@task
def change_the_global() -> None:
    globals()["FACTOR"] = 3


def test_what_a_task_uses_counts_as_it_is_when_the_task_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "FACTOR", 2)
    with Flow("flow") as made:
        before = scaled_by_a_global(5)
        changed = change_the_global(upstream_tasks=[before])
        after = scaled_by_a_global(5, upstream_tasks=[changed])

    states = states_of(made.run())

    assert (states[before].result, states[after].result) == (10, 15)


def test_alternating_inputs_do_not_evict_each_other(flows: Flows) -> None:
    states = [flows.run(INPUTS, x=x) for x in (1, 2, 1, 2, 1)]

    assert [state.is_cached() for state in states] == [False, False, True, True, True]


def test_a_policy_gives_the_key_and_the_validator_judges_what_is_there(flows: Flows) -> None:
    arguments = {"cache_validator": caching.all_parameters}

    found = [flows.run(INPUTS, x=x, p=p, **arguments).is_cached() for x, p in [(1, 1), (1, 2), (2, 1), (1, 1), (1, 2)]]

    assert found == [False, False, False, True, True]


def test_a_policy_with_a_duration_expires(flows: Flows) -> None:
    flows.run(INPUTS, cache_for=timedelta(microseconds=1))

    assert not flows.run(INPUTS, cache_for=timedelta(hours=1)).is_cached()
    assert flows.run(INPUTS, cache_for=timedelta(hours=1)).is_cached()


def test_a_function_for_the_key_wins_over_the_policy(flows: Flows) -> None:
    arguments = {"cache_key_fn": lambda _, inputs: str(inputs["y"])}
    flows.run(INPUTS, **arguments)

    assert flows.run(INPUTS, x=9, **arguments).is_cached()
    assert not flows.run(INPUTS, y=9, **arguments).is_cached()


def test_a_task_that_keeps_nothing_is_not_cached(flows: Flows, stored: Callable[[], list[Path]]) -> None:
    states = [flows.run(INPUTS, persist_result=False) for _ in range(2)]

    assert not any(state.is_cached() for state in states)
    assert stored() == []


def test_the_cache_may_lie_elsewhere_than_the_results(
    flows: Flows, tmp_path: Path, stored: Callable[[], list[Path]]
) -> None:
    policy = INPUTS.configure(key_storage=tmp_path / "keys")

    states = [flows.run(policy, result_serializer="json") for _ in range(2)]

    assert [state.is_cached() for state in states] == [False, True]
    assert len(records_under(tmp_path / "keys")) == 1
    assert stored() == []
    assert not flows.run(INPUTS, result_serializer="json").is_cached(), "the other storage has no such record"


def test_a_value_that_is_not_to_stay_in_memory_is_read_when_it_is_needed(flows: Flows) -> None:
    states = [flows.run(INPUTS, cache_result_in_memory=False) for _ in range(2)]

    assert [state._result.in_memory for state in states] == [False, False]
    assert [state.result for state in states] == ["computed", "computed"]


class Scale(Task):
    def __init__(self, factor: object, **arguments: object) -> None:
        super().__init__(name="scale", cache_policy=INPUTS + TASK_SOURCE, **arguments)  # type: ignore[arg-type]
        self.factor = factor

    def run(self, x: int) -> object:
        return [self.factor, x]


def scaled(factor: object) -> State:
    with Flow("flow") as made:
        result = Scale(factor)(1)
    return states_of(made.run())[result]


def test_what_an_instance_of_a_task_was_made_with_is_part_of_its_source() -> None:
    assert [scaled(factor).result for factor in (1, 2, 1)] == [[1, 1], [2, 1], [1, 1]]
    assert scaled(2).is_cached()


def test_an_instance_that_holds_what_cannot_be_told_apart_is_an_error_that_names_it() -> None:
    state = scaled(object())

    assert state.is_failed()
    assert "scale.factor: values of the type builtins.object cannot be told apart" in str(state.message)


TABLES = {
    "numpy": np.arange,
    "a scalar of numpy": np.int64,
    "pyarrow": lambda n: pa.table({"a": list(range(n))}),
    "pandas": lambda n: pd.DataFrame({"a": range(n)}),
    "polars": lambda n: pl.DataFrame({"a": range(n)}),
    "in containers": lambda n: {"frames": [pd.DataFrame({"a": range(n)}), (np.arange(n),)]},
}


@pytest.mark.parametrize("kind", TABLES)
def test_arrays_and_tables_are_told_apart_by_their_content(flows: Flows, kind: str) -> None:
    made = [flows.run(INPUTS, x=TABLES[kind](size)).is_cached() for size in (3, 4, 3, 4)]  # type: ignore[no-untyped-call]

    assert made == [False, False, True, True]


def test_an_input_that_cannot_be_told_apart_fails_the_task_and_is_named(flows: Flows) -> None:
    state = flows.run(INPUTS, x=[1, object()])

    assert state.is_failed()
    assert "values of the type builtins.object cannot be told apart; give a cache key" in str(state.message)
    assert "${x}[1]" in str(state.message)
    assert flows.calls == []


def test_what_decided_is_recorded_with_the_state(flows: Flows, recorded: Recorded) -> None:
    flows.run(INPUTS - "y")
    flows.run(INPUTS - "y")

    documents = [each for each in recorded(task="add") if isinstance(each, StateDocument)]

    (info,) = [each.cache for each in documents if each.cache is not None]
    assert isinstance(info, CacheInfo)
    assert (info.hit, info.reason) == (True, "the result that is kept under its key is used")
    assert sorted(info.parts) == ["input x", "task"]


def test_the_key_is_the_place_of_the_record(flows: Flows, recorded: Recorded, isolated: Path) -> None:
    flows.run(INPUTS)

    (info,) = [each.cache for each in recorded(task="add") if isinstance(each, StateDocument) and each.cache]

    assert ResultStore(isolated / "results").read(info.key).result == "computed"


def test_a_parameter_counts_by_its_value(recorded: Recorded) -> None:
    @task(cache_policy=FLOW_PARAMETERS)
    def uses() -> int:
        return 1

    @flow
    def made(day: object) -> None:
        uses()

    assert isinstance(made, Flow)
    found = [_types(made.run(day=day)) for day in ("a", "b", "a", {"a": 1}, {"a": 1.0})]

    assert found == ["Success", "Success", "Cached", "Success", "Success"]


def _types(run: State) -> str:
    states: Mapping[Task, State] = states_of(run)
    (found,) = [type(state).__name__ for task_, state in states.items() if task_.name == "uses"]
    return found


def test_an_input_that_is_left_out_counts_with_its_default() -> None:
    calls: list[object] = []
    seen: list[Mapping[str, object]] = []

    def made(default: object, **more: object) -> Task:
        def pick(x: object = default) -> object:
            context.calls.append(x)  # type: ignore[attr-defined]
            return x

        return a_task(pick, **{"cache_policy": INPUTS, "name": "pick", **more})

    def result(of: Task, *given: object) -> object:
        with Flow("flow") as flow:
            picked = of(*given)
        return states_of(flow.run(context={"calls": calls}))[picked].result

    def by_x(_: object, inputs: Mapping[str, object]) -> str:
        seen.append(inputs)
        return str(inputs["x"])

    assert [result(made(1)), result(made(1), 1), result(made(2)), result(made(2), 1), result(made(1), 2)] == [
        1,
        1,
        2,
        1,
        2,
    ]
    assert calls == [1, 2]
    assert result(made(7, cache_policy=None, cache_key_fn=by_x)) == 7
    assert seen == [{"x": 7}]
