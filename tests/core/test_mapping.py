# SPDX-License-Identifier: Apache-2.0
"""Mapped tasks: one run for each element."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from strongroom import Flow, Parameter, context, flatten, signals, states, task, triggers, unmapped
from strongroom._memory_backend import MemoryBackend
from strongroom.errors import DefinitionError

if TYPE_CHECKING:
    from strongroom import State, Task

EXECUTORS = pytest.mark.parametrize("executor", ["sync", "threads"])


@task
def numbers(count: int = 3) -> list[int]:
    return list(range(count))


@task
def add(x: int, y: int = 1) -> int:
    return x + y


@task
def total(items: list[int]) -> int:
    return sum(items)


def run(flow: Flow, executor: str = "sync", **parameters: object) -> dict[Task, State]:
    states_of = flow.run(parameters, backend=MemoryBackend(), executor=executor).result
    assert isinstance(states_of, dict)
    return states_of


@EXECUTORS
def test_a_task_is_run_for_each_element_and_gives_a_list(executor: str) -> None:
    with Flow("f") as f:
        mapped = add.map(numbers(), y=unmapped(10))
        summed = total(mapped)

    result = run(f, executor)

    assert result[mapped].is_mapped()
    assert result[mapped].result == [10, 11, 12]
    assert result[summed].result == 33


def test_several_inputs_go_in_step_and_the_shortest_decides() -> None:
    with Flow("f") as f:
        mapped = add.map(numbers(5), [10, 20])

    assert run(f)[mapped].result == [10, 21]


def test_nothing_to_map_over_is_a_success_without_runs() -> None:
    with Flow("f") as f:
        mapped = add.map(numbers(0))
        again = add.map(mapped)
        summed = total(again)

    result = run(f)

    assert result[mapped].is_mapped()
    assert result[again].result == []
    assert result[summed].result == 0


def test_what_is_mapped_over_a_mapped_task_does_not_wait_for_all_of_it() -> None:
    first_went_on = threading.Event()

    @task
    def slow(x: int) -> int:
        # The last element is not ready before the first one has gone a step further.
        assert x == 0 or first_went_on.wait(60)
        return x

    @task
    def after(x: int) -> int:
        first_went_on.set()
        return x

    with Flow("f") as f:
        mapped = after.map(slow.map(numbers(2)))

    assert run(f, "threads")[mapped].result == [0, 1]


def test_one_element_after_the_other_goes_all_the_way_if_nothing_else_can_run_meanwhile() -> None:
    seen: list[tuple[str, int]] = []

    def note(x: int) -> int:
        seen.append((context.task_name, x))
        return x

    with Flow("f") as f:
        task(note, name="b").map(task(note, name="a").map(numbers(3)))

    run(f)

    assert seen == [("a", 0), ("b", 0), ("a", 1), ("b", 1), ("a", 2), ("b", 2)]


@EXECUTORS
def test_single_children_are_run_again(executor: str) -> None:
    tries: list[tuple[int, int]] = []

    @task(max_retries=1, result_handler="json")
    def flaky(x: int) -> int:
        tries.append((context.map_index, context.task_run_count))
        if x == 1 and context.task_run_count == 1:
            raise OSError
        return x

    with Flow("f", result_handler="json") as f:
        mapped = flaky.map(numbers(3))

    assert run(f, executor)[mapped].result == [0, 1, 2]
    assert sorted(tries) == [(0, 1), (1, 1), (1, 2), (2, 1)]


def test_state_handlers_of_a_mapped_task_know_which_it_is() -> None:
    seen: list[tuple[object, ...]] = []

    def handler(_task: object, _old: State, new: State) -> None:
        seen.append((context.task_slug, context.task_full_name, context.map_index, type(new).__name__))

    with Flow("f") as f:
        mapped = add.map(numbers(1), task_args={"state_handlers": [handler]})

    result = run(f)

    assert result[mapped].is_mapped()
    assert seen == [
        ("add", "add[0]", 0, "Running"),
        ("add", "add[0]", 0, "Success"),
        ("add", "add", None, "Mapped"),
    ]


def test_triggers_see_children() -> None:
    @task
    def odd_fails(x: int) -> int:
        if x % 2:
            raise ValueError
        return x

    with Flow("f") as f:
        mapped = odd_fails.map(numbers(4))
        any_failed = numbers(
            task_args={"trigger": triggers.some_failed(at_least=2, at_most=2)}, upstream_tasks=[mapped]
        )
        all_good = numbers(upstream_tasks=[mapped])

    result = run(f)

    assert result[any_failed].is_successful()
    assert result[all_good].is_failed()


def test_a_failed_child_fails_the_run() -> None:
    @task
    def fail(x: int) -> int:
        raise ValueError

    with Flow("f") as f:
        fail.map(numbers(2))

    assert f.run(backend=MemoryBackend()).is_failed()


def test_a_failed_or_skipped_source_is_not_mapped_over() -> None:
    @task
    def fails() -> list[int]:
        raise ValueError

    @task
    def skips() -> list[int]:
        raise signals.SKIP("nothing today")

    with Flow("f") as f:
        after_failure = add.map(fails())
        after_skip = add.map(skips())
        regardless = add.map(fails(), task_args={"trigger": triggers.all_finished})

    result = run(f)

    assert type(result[after_failure]) is states.TriggerFailed
    assert result[after_skip].is_skipped()
    assert result[regardless].message == "there is nothing to map over, since the task 'fails-2' is Failed"


@pytest.mark.parametrize("value", [5, "text", {"a": 1}, None])
def test_mapping_over_what_has_no_elements_fails_with_a_clear_message(value: object) -> None:
    with Flow("f") as f:
        mapped = add.map(Parameter("x", required=False))

    state = run(f, x=value)[mapped]

    assert state.is_failed()
    assert "unmapped" in str(state.message)


def test_mapping_over_a_constant_that_has_no_elements_is_refused_at_once() -> None:
    with Flow("f"), pytest.raises(DefinitionError, match="unmapped"):
        add.map(numbers(), y=5)


def test_lists_of_lists_are_flattened() -> None:
    with Flow("f") as f:
        mapped = add.map(flatten(numbers.map([1, 2, 3])))

    assert run(f)[mapped].result == [1, 1, 2, 1, 2, 3]


def test_children_wait_for_unmapped_inputs_too() -> None:
    with Flow("f") as f:
        mapped = add.map(add.map(numbers()), y=unmapped(total(numbers(4))))

    assert run(f)[mapped].result == [7, 8, 9]


def test_each_child_and_the_whole_are_recorded() -> None:
    backend = MemoryBackend()
    with Flow("f") as f:
        add.map(numbers(2))

    f.run(backend=backend)

    (run_id,) = backend.runs()
    rows = [(row.map_index, row.sequence, row.type) for row in backend.read(run_id, task="add")]
    assert rows == [(0, 0, "Running"), (0, 1, "Success"), (1, 0, "Running"), (1, 1, "Success"), (-1, 0, "Mapped")]
