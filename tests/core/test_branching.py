# SPDX-License-Identifier: Apache-2.0
"""Case, switch and merge: what does not apply is skipped."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from strongroom import Constant, Flow, Parameter, case, merge, switch, task, triggers, unmapped
from strongroom._memory_backend import MemoryBackend
from strongroom.errors import DefinitionError

if TYPE_CHECKING:
    from collections.abc import Callable

    from strongroom import State, Task

EXECUTORS = pytest.mark.parametrize("executor", ["sync", "threads"])


@task
def one() -> int:
    return 1


@task
def add(x: int, y: int = 10) -> int:
    return x + y


@task
def total(items: list[int]) -> int:
    return sum(items)


@task
def nothing() -> None:
    return None


@task
def fail() -> None:
    raise ValueError


def run(flow: Flow, executor: str = "sync", **parameters: object) -> dict[Task, State]:
    states_of = flow.run(parameters, backend=MemoryBackend(), executor=executor).result
    assert isinstance(states_of, dict)
    return states_of


@EXECUTORS
@pytest.mark.parametrize(("chosen", "expected"), [("left", 11), ("right", 21)])
def test_only_the_case_that_applies_is_run(executor: str, chosen: str, expected: int) -> None:
    with Flow("f") as f:
        way = Parameter("way")
        with case(way, "left"):
            left = add(one())
        with case(way, "right"):
            right = add(add(one()))
        merged = merge(left, right)

    result = run(f, executor, way=chosen)

    assert result[merged].result == expected
    assert result[left].is_skipped() == (chosen == "right")
    assert result[right].is_skipped() == (chosen == "left")


def test_if_no_case_applies_all_is_skipped_and_so_is_the_merge() -> None:
    with Flow("f") as f:
        way = Parameter("way")
        with case(way, 1):
            only = one()
        merged = merge(only)
        after = add(merged)

    result = run(f, way=2)

    assert all(result[each].is_skipped() for each in (only, merged, after))


def test_only_what_is_not_downstream_of_the_case_waits_for_it_itself() -> None:
    with Flow("f") as f:
        way = Parameter("way")
        outside = one()
        with case(way, 1):
            inner = add(outside)
            add(inner)

    assert [edge.downstream for edge in f.edges_from(f.get_task("case"))] == [inner]


def test_cases_nest() -> None:
    with Flow("f") as f:
        outer, inner = Parameter("outer"), Parameter("inner")
        with case(outer, 1):
            first = one()
            with case(inner, 1):
                second = one()

    result = run(f, outer=1, inner=2)
    assert (result[first].is_skipped(), result[second].is_skipped()) == (False, True)
    result = run(f, outer=2, inner=1)
    assert (result[first].is_skipped(), result[second].is_skipped()) == (True, True)


def test_parameters_and_constants_inside_of_a_case_are_there_for_all() -> None:
    with Flow("f") as f:
        way = Parameter("way")
        with case(way, 1):
            x, y = Parameter("x", default=5), Constant(1)
            inside = add(x, y)
        outside = add(x, y)

    result = run(f, way=2)

    assert result[inside].is_skipped()
    assert result[outside].result == 6


@EXECUTORS
def test_a_mapped_task_that_does_not_apply_is_skipped_as_a_whole(executor: str) -> None:
    with Flow("f") as f:
        way = Parameter("way")
        numbers = Constant([1, 2, 3])
        with case(way, 1):
            mapped = add.map(numbers)
            again = add.map(mapped, y=unmapped(one()))
            summed = total(again)
        with case(way, 2):
            other = add.map(numbers, y=unmapped(0))
        merged = merge(mapped, other)

    result = run(f, executor, way=2)
    assert [result[each].is_skipped() for each in (mapped, again, summed)] == [True, True, True]
    assert result[merged].result == [1, 2, 3]
    result = run(f, executor, way=1)
    assert result[merged].result == [11, 12, 13]
    assert result[summed].result == 39


def test_a_skip_waits_for_what_is_still_mapped() -> None:
    go_on = threading.Event()

    @task
    def wait(x: int) -> int:
        assert go_on.wait(60)
        return x

    with Flow("f") as f:
        with case(Constant(1), 2):
            skipped = one()
        source = task(lambda: [1, 2], name="source", skip_on_upstream_skip=False)(upstream_tasks=[skipped])
        mapped = wait.map(source)
        after = add.map(mapped, y=unmapped(skipped))
        # It is started last: by then it was decided that what comes after is not mapped, while this still goes on.
        task(go_on.set, name="release")(upstream_tasks=[source])

    result = run(f, "threads")

    assert result[mapped].result == [1, 2]
    assert result[after].is_skipped()


def test_branches_merge_element_by_element() -> None:
    @task
    def pick(x: int) -> int | None:
        return x if x % 2 else None

    with Flow("f") as f:
        numbers = Constant([1, 2, 3])
        merged = merge(pick.map(numbers), add.map(numbers), mapped=True)

    assert run(f)[merged].result == [1, 12, 3]


@pytest.mark.parametrize(("way", "expected"), [(1, [11, 12]), (2, [21, 22])])
def test_a_skipped_branch_has_no_elements_to_merge(way: int, expected: list[int]) -> None:
    with Flow("f") as f:
        chosen = Parameter("way")
        with case(chosen, 1):
            tens = add.map([1, 2], y=unmapped(10))
        with case(chosen, 2):
            twenties = add.map([1, 2], y=unmapped(20))
        merged = merge(tens, twenties, mapped=True)

    assert run(f, way=way)[merged].result == expected
    assert run(f, way=3)[merged].is_skipped()


def test_a_task_that_skips_nobody_does_not_carry_the_skip_on() -> None:
    with Flow("f") as f:
        way = Parameter("way")
        outside = one()
        with case(way, 1):
            inside = one()
            merged = merge(inside, outside)
            after = add(merged)

    assert run(f, way=2)[after].is_skipped()


@pytest.mark.parametrize(("chosen", "run_ones"), [("a", ["a"]), ("b", ["b"]), ("z", [])])
def test_a_switch_runs_the_task_of_its_value(chosen: str, run_ones: list[str]) -> None:
    with Flow("f") as f:
        ways = {name: one(task_args={"name": name}) for name in "ab"}
        switch(Parameter("way"), ways)

    result = run(f, way=chosen)

    assert [name for name, each in ways.items() if not result[each].is_skipped()] == run_ones


def test_a_result_of_none_is_merged_if_there_is_no_other() -> None:
    with Flow("f") as f:
        merged = merge(nothing(), nothing())
        other = merge(nothing(), one())

    result = run(f)

    assert result[merged].is_successful()
    assert result[merged].result is None
    assert result[other].result == 1


def test_a_failed_branch_fails_the_merge() -> None:
    with Flow("f") as f:
        merged = merge(one(), fail())

    assert run(f)[merged].is_failed()


def test_a_condition_that_failed_fails_the_case() -> None:
    with Flow("f") as f, case(fail(), 1):
        inside = one()

    assert run(f)[inside].is_failed()


def test_what_is_for_failures_is_skipped_with_its_case() -> None:
    with Flow("f") as f:
        way = Parameter("way")
        with case(way, 1):
            failing = fail()
            clean_up = one(upstream_tasks=[failing], task_args={"trigger": triggers.any_failed})

    assert run(f, way=2)[clean_up].is_skipped()
    assert run(f, way=1)[clean_up].is_successful()


def test_no_value_of_a_case_is_in_a_name_or_on_the_way_to_the_backend_in_clear() -> None:
    backend = MemoryBackend()
    with Flow("f") as f:
        condition = Constant("hunter2")
        with case(condition, "hunter2"):
            one()
        switch(condition, {"hunter3": one()})

    f.run(backend=backend)

    (run_id,) = backend.runs()
    assert {each.name for each in f.tasks} == {"constant", "one", "case"}
    assert all("hunter" not in repr(envelope) for envelope in backend.read(run_id))


def test_a_case_without_tasks_adds_nothing() -> None:
    with Flow("f") as f:
        condition = one()
        with case(condition, 1):
            pass

    assert f.tasks == (condition,)


def test_what_follows_an_inner_case_is_in_the_outer_one() -> None:
    with Flow("f") as f:
        condition = one()
        with case(condition, 1):
            with case(condition, 2):
                pass
            inside = one()
        outside = one()

    assert [each.name for each in f.upstream_tasks(inside)] == ["case"]
    assert f.upstream_tasks(outside) == ()


def test_a_case_that_was_left_by_an_error_watches_no_longer() -> None:
    with Flow("f") as f:
        condition = one()
        with pytest.raises(ZeroDivisionError), case(condition, 1):
            raise ZeroDivisionError
        after = one()

    assert f.edges_to(after) == ()


def _case(condition: object, value: object) -> None:
    with case(condition, value):  # type: ignore[arg-type]
        one()


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (merge, "merge of nothing"),
        (lambda: merge(one(), 5), r"not a int; wrap that in Constant"),
        (lambda: _case(one(), one()), "value of a case .* cannot be a task"),
        (lambda: _case(one(), unmapped(1)), "value of a case"),
        (lambda: _case(True, 1), "condition of a case is a task, not a bool"),
        (lambda: switch(one(), {}), "no cases"),
        (lambda: switch(one(), {"a": 5}), "a case of a switch is a task, not a int"),
        (lambda: switch(one(), {one(): one()}), "value of a switch .* cannot be a task"),
        (lambda: switch(5, {"a": one()}), "condition of a switch is a task, not a int"),
    ],
)
def test_wrong_branches_are_refused(build: Callable[[], object], words: str) -> None:
    with Flow("f"), pytest.raises(DefinitionError, match=words):
        build()


@pytest.mark.parametrize("build", [lambda: merge(one), lambda: _case(one, 1), lambda: switch(one, {1: one})])
def test_branches_outside_of_a_flow_say_what_to_do(build: Callable[[], object]) -> None:
    with pytest.raises(DefinitionError, match=r"outside of a flow; use it inside `with Flow\(\.\.\.\)`"):
        build()
