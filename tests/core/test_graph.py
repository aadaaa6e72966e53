# SPDX-License-Identifier: Apache-2.0
"""Building flows: tasks, edges, inputs, slugs and orders."""

from __future__ import annotations

import pytest

from strongroom import Flow, Parameter, Task, flow, task
from strongroom.errors import CycleError, DefinitionError


@task
def one() -> int:
    return 1


@task
def add(x: int, y: int = 0) -> int:
    return x + y


def test_calling_a_task_adds_a_copy_with_its_inputs() -> None:
    with Flow("f") as f:
        first = one()
        second = add(first, y=2)

    assert f.tasks == (first, second)
    assert first is not one
    assert [(edge.upstream, edge.downstream, edge.key) for edge in f.edges] == [(first, second, "x")]
    assert f.constants(second) == {"y": 2}


def test_tasks_of_one_name_get_numbered_slugs() -> None:
    with Flow("f") as f:
        for _ in range(3):
            one()

    assert [each.slug for each in f.tasks] == ["one", "one-2", "one-3"]


def test_two_tasks_with_one_slug_are_refused_by_name() -> None:
    with Flow("f"):
        one(task_args={"slug": "same"})

        with pytest.raises(DefinitionError, match="'same'"):
            one(task_args={"slug": "same"})


def test_tasks_in_containers_are_waited_for() -> None:
    @task
    def total(numbers: list[int], by_name: dict[str, object]) -> int:
        return sum(numbers)

    with Flow("f") as f:
        result = total([one(), 5, (one(), 6)][:2], {"a": one(), "b": [one()]})

    assert {edge.upstream.name for edge in f.edges_to(result)} == {"list", "dict"}


def test_a_function_makes_a_flow_whose_arguments_are_parameters() -> None:
    @flow
    def example(x: int, y: int = 2) -> None:
        add(x, y)

    assert example.name == "example"
    assert list(example.parameters) == ["x", "y"]
    assert example.parameters["x"].required
    assert not example.parameters["y"].required


def test_a_cycle_is_refused_and_names_its_tasks() -> None:
    with Flow("f") as f:
        first = one()
        second = add(first)
        first.set_upstream(second)

    with pytest.raises(CycleError, match="one -> add"):
        f.validate()


def test_each_task_comes_after_what_it_waits_for() -> None:
    with Flow("f") as f:
        last = add.copy()
        first = one()
        last.bind(f, first)

    assert f.validate() == (first, last)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (add, "missing a required argument: 'x'"),
        (lambda: add(1, z=2), "cannot be called like this"),
        (lambda: one().set_upstream(one(), key="x"), "no input 'x'"),
        (lambda: add(1).set_upstream(one(), key="x"), "'x' twice"),
        (lambda: add.copy(nme="x"), "no attribute 'nme'"),
    ],
)
def test_wrong_wiring_is_refused(build: object, words: str) -> None:
    with Flow("f"), pytest.raises(DefinitionError, match=words):
        build()  # type: ignore[operator]


def test_a_task_called_outside_of_a_flow_says_what_to_do() -> None:
    with pytest.raises(DefinitionError, match=r"one\.run"):
        one()
    assert one.run() == 1


def test_a_missing_input_is_found_before_the_run() -> None:
    f = Flow("f")
    f.add_task(add.copy())

    with pytest.raises(DefinitionError, match="does not get its input 'x'"):
        f.validate()


def test_reference_tasks_are_the_terminal_ones_unless_set() -> None:
    with Flow("f") as f:
        first = one()
        second = add(first)

    assert f.reference_tasks == (second,)
    f.set_reference_tasks([first])
    assert f.reference_tasks == (first,)
    with pytest.raises(DefinitionError, match="not in the flow"):
        f.set_reference_tasks([one])


def test_flows_nest_and_each_gets_its_own_tasks() -> None:
    with Flow("outer") as outer:
        one()
        with Flow("inner") as inner:
            one()
        one()

    assert (len(outer.tasks), len(inner.tasks)) == (2, 1)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"max_retrys": 1}, "did you mean 'max_retries'"),
        ({"max_retries": -1}, "whole number from 0"),
        ({"max_retries": True}, "whole number from 0"),
        ({"retry_delay": -1}, "not negative"),
        ({"retry_delay": "soon"}, "must be a timedelta"),
        ({"retry_jitter": True}, "a number from 0"),
        ({"retry_jitter": float("inf")}, "a number from 0"),
        ({"retry_on": "ValueError"}, "exception types"),
        ({"trigger": 3}, "cannot be called"),
        ({"state_handlers": [None]}, "cannot be called"),
        ({"tags": "nightly"}, "several texts"),
        ({"name": "two\nlines"}, "printable"),
        ({"cache_for": 3}, "timedelta"),
        ({"persist_result": True, "checkpoint": False}, "says persist_result=True and checkpoint=False"),
    ],
)
def test_wrong_arguments_are_refused(arguments: dict[str, object], words: str) -> None:
    with pytest.raises(DefinitionError, match=words):
        task(**arguments)(lambda: None)


def test_inputs_need_names_that_are_not_reserved() -> None:
    with pytest.raises(DefinitionError, match=r"\*numbers"):
        task(lambda *numbers: numbers)
    with pytest.raises(DefinitionError, match="reserved"):
        task(lambda flow: flow)


def test_a_subclass_is_a_task_too() -> None:
    class Double(Task):
        def run(self, x: int) -> int:
            return 2 * x

    with Flow("f") as f:
        Double(max_retries=1)(Parameter("x"))

    assert [each.name for each in f.tasks] == ["x", "Double"]
