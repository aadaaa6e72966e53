# SPDX-License-Identifier: Apache-2.0
"""Putting flows together: dependencies, containers, parts, and one flow from another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from strongroom import Constant, Flow, Parameter, Task, flow, task, unmapped
from strongroom._handlers import NullHandler
from strongroom._memory_backend import MemoryBackend
from strongroom.caching import INPUTS, partial_inputs_only
from strongroom.errors import CycleError, DefinitionError
from strongroom.triggers import some_failed

if TYPE_CHECKING:
    from collections.abc import Callable

    from strongroom import State


@task
def one() -> int:
    return 1


@task
def add(x: int, y: int = 0) -> int:
    return x + y


@task
def echo(value: object) -> object:
    return value


@task(nout=2)
def split(x: int) -> tuple[int, int]:
    return x, x + 10


def run(flow: Flow, **parameters: object) -> dict[Task, State]:
    states_of = flow.run(parameters, backend=MemoryBackend()).result
    assert isinstance(states_of, dict)
    return states_of


def test_dependencies_are_set_by_hand() -> None:
    f = Flow("f")
    first, second, third = one.copy(name="first"), add.copy(name="second"), one.copy(name="third")

    f.set_dependencies(
        second, upstream_tasks=[third], downstream_tasks=[first], keyword_tasks={"x": one.copy(), "y": 5}
    )

    assert [task.slug for task in f.upstream_tasks(second)] == ["one", "third"]
    assert f.downstream_tasks(second) == (first,)
    assert f.constants(second) == {"y": 5}
    assert [task.slug for task in f.root_tasks] == ["one", "third"]
    assert f.terminal_tasks == (first,)


def test_a_task_sets_its_own_dependencies_in_the_flow_that_is_being_built() -> None:
    with Flow("f") as f:
        first, second = one.copy(name="first"), add.copy()
        second.set_dependencies(upstream_tasks=[first], keyword_tasks={"x": one()})
        first.set_downstream(one.copy(name="last"))

    assert run(f)[second].result == 1
    assert [task.slug for task in f.downstream_tasks(first)] == ["add", "last"]


def test_dependencies_can_be_mapped() -> None:
    with Flow("f") as f:
        mapped = add.copy()
        mapped.set_dependencies(keyword_tasks={"x": [1, 2], "y": unmapped(10)}, mapped=True)

    assert run(f)[mapped].result == [11, 12]


def test_a_chain_is_run_in_its_order() -> None:
    f = Flow("f")
    tasks = [one.copy(name=name) for name in "abc"]

    edges = f.chain(*tasks)

    assert [(edge.upstream.name, edge.downstream.name) for edge in edges] == [("a", "b"), ("b", "c")]
    assert f.validate() == tuple(tasks)


def test_to_wait_for_a_task_twice_is_to_wait_for_it_once() -> None:
    with Flow("f") as f:
        first, second = one(), one()
        for _ in range(2):
            second.set_upstream(first)

    assert len(f.edges_to(second)) == len(f.edges_from(first)) == 1


def test_tasks_are_found_by_what_they_are() -> None:
    with Flow("f") as f:
        tagged = one(task_args={"tags": ["nightly", "small"]})
        other = one()
        parameter = Parameter("x")

    assert f.get_tasks() == (tagged, other, parameter)
    assert f.get_tasks(name="one") == (tagged, other)
    assert f.get_tasks(slug="one-2") == (other,)
    assert f.get_tasks(tags=["small"]) == (tagged,)
    assert f.get_tasks(tags=["small", "large"]) == ()
    assert f.get_tasks(task_type=Parameter) == (parameter,)


def test_a_task_says_what_it_takes() -> None:
    inputs = add.inputs()

    assert list(inputs) == ["x", "y"]
    assert inputs["y"].default == 0
    assert Constant(1).inputs() == {}


def test_tasks_are_found_however_deep_they_are() -> None:
    with Flow("f") as f:
        value = echo([{"a": (one(), {2}), one(): [one()]}, frozenset({one()})])

    assert run(f)[value].result == [{"a": (1, {2}), 1: [1]}, frozenset({1})]


def test_a_task_may_be_but_the_key_of_a_dictionary() -> None:
    with Flow("f") as f:
        value = echo({one(): "a", (one(), 2): "b"})

    assert run(f)[value].result == {1: "a", (1, 2): "b"}


def test_a_set_of_tasks_has_the_same_inputs_in_every_process() -> None:
    with Flow("f") as f:
        echo({one() for _ in range(5)})

    upstream = {edge.key: edge.upstream.slug for edge in f.edges_to(f.get_task("set"))}
    assert upstream == {"item_0": "one", **{f"item_{number}": f"one-{number + 1}" for number in range(1, 5)}}


def test_a_task_with_several_results_can_be_unpacked() -> None:
    with Flow("f") as f:
        low, high = split(one())
        total = add(low, high)

    assert run(f)[total].result == 12


def test_a_mapped_task_is_unpacked_into_mapped_ones() -> None:
    with Flow("f") as f:
        low, high = split.map([1, 2, 3])

    result = run(f)
    assert result[low].result == [1, 2, 3]
    assert result[high].result == [11, 12, 13]


@pytest.mark.parametrize("returned", [(1,), (1, 2, 3), 5, None])
def test_a_result_with_other_than_the_promised_parts_fails_and_says_so(returned: object) -> None:
    with Flow("f") as f:
        first, _ = task(lambda: returned, nout=2, name="wrong")()

    state = run(f)[first]

    assert state.is_failed()
    assert "to give 2 results" in str(state.result)


def test_to_unpack_a_task_that_does_not_say_how_many_is_refused() -> None:
    with Flow("f"), pytest.raises(DefinitionError, match=r"'one' cannot be unpacked .* @task\(nout=2\)"):
        _, _ = one()


def test_to_unpack_the_wrong_number_is_refused() -> None:
    with Flow("f"), pytest.raises(ValueError, match="too many values to unpack"):
        (_,) = split(1)
    with Flow("f"), pytest.raises(ValueError, match="not enough values to unpack"):
        _, _, _ = split(1)


@pytest.mark.parametrize("nout", [0, -1, True, 1.5, "2"])
def test_the_number_of_results_is_a_whole_number(nout: object) -> None:
    with pytest.raises(DefinitionError, match="nout of the task"):
        task(nout=nout)(lambda: None)


def test_a_copy_has_the_same_tasks_and_goes_its_own_way() -> None:
    with Flow("f") as f:
        last = add(one())
    f.set_reference_tasks([f.tasks[0]])

    copy = f.copy()
    assert copy.is_equal(f)
    with copy:
        more = add(last)

    assert not copy.is_equal(f)
    assert more not in f
    assert f.edges_from(last) == ()
    assert copy.reference_tasks == f.reference_tasks
    assert run(copy)[more].result == 1


def test_a_flow_can_take_in_another() -> None:
    with Flow("f") as f:
        x = Parameter("x")
        first = add(x, 1)
    with Flow("g") as g:
        second = echo(Parameter("x"))
        third = add.copy(name="third").bind(g, second, 100)

    f.update(g, merge_parameters=True)

    assert f.upstream_tasks(second) == (x,)
    result = run(f, x=5)
    assert (result[first].result, result[second].result, result[third].result) == (6, 5, 105)


def test_to_take_in_a_flow_twice_is_to_take_it_in_once() -> None:
    with Flow("f") as f:
        Parameter("x")
    with Flow("g") as g:
        add(Parameter("x"), 7)

    f.update(g, merge_parameters=True)
    once = f.copy()
    f.update(g, merge_parameters=True)

    assert f.is_equal(once)
    assert len(f.tasks) == 2


def test_a_flow_that_cannot_take_in_another_stays_as_it_is() -> None:
    with Flow("f") as f:
        one()
    with Flow("g") as g:
        echo(5)
        echo(one())
    before = f.copy()

    with pytest.raises(DefinitionError, match="two tasks of the flow 'f' would have the slug 'one'"):
        f.update(g)

    assert f.is_equal(before)
    assert [task.slug for task in g.tasks] == ["echo", "one", "echo-2"]


def test_a_task_can_be_replaced_with_its_edges_and_constants() -> None:
    with Flow("f") as f:
        first = one()
        middle = add(first, 5)
        last = echo(middle)
    f.set_reference_tasks([middle])
    better = task(lambda x, y: x * y, name="add").copy()

    f.replace(middle, better)

    assert middle not in f
    assert better.slug == "add"
    assert f.reference_tasks == (better,)
    assert run(f)[last].result == 5


def test_a_replacement_that_does_not_fit_changes_nothing() -> None:
    with Flow("f") as f:
        first = one()
        middle = add(first)
    before = f.copy()

    unfit = one.copy()
    with pytest.raises(DefinitionError, match="'one' has no input 'x'"):
        f.replace(middle, unfit)
    with pytest.raises(DefinitionError, match="is in the flow 'f' already"):
        f.replace(middle, first)
    with pytest.raises(DefinitionError, match="not in the flow"):
        f.replace(one, add.copy())

    assert f.is_equal(before)
    assert not unfit.slug_is_final


def test_a_task_of_another_flow_keeps_its_slug_or_is_refused() -> None:
    with Flow("f") as f:
        one()
        second = one()
    with Flow("g") as g:
        echo(second)
    assert g.get_task("one-2") is second

    with Flow("h"):
        one()
        one()
        with pytest.raises(DefinitionError, match="slug 'one-2'"):
            echo(second)
    assert f.get_task("one-2") is second


def test_the_tasks_that_a_flow_returns_decide_its_end() -> None:
    @task
    def fail() -> None:
        raise ValueError

    @flow
    def lenient() -> Task:
        fail()
        return one()

    @flow
    def strict() -> tuple[Task, Task]:
        return one(), fail()

    assert lenient.run(backend=MemoryBackend()).is_successful()
    assert strict.run(backend=MemoryBackend()).is_failed()
    assert [task.slug for task in strict.reference_tasks] == ["one", "fail"]


@pytest.mark.parametrize("returned", [5, "text", [one, 5], {"a": one}])
def test_a_flow_that_returns_something_else_is_refused(returned: object) -> None:
    with pytest.raises(DefinitionError, match="returns the tasks that decide"):
        flow(lambda: returned)


def _cycle() -> None:
    with Flow("f") as f:
        first = add(1)
        second = add(first)
        first.set_upstream(second, key="y")
    f.validate()


def _twice() -> None:
    f = Flow("f")
    bound = add.copy().bind(f, x=1)
    bound.bind(f, x=1)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (_cycle, "add -> add-2 -> add|add-2 -> add -> add-2"),
        (_twice, "'add' is bound in the flow 'f' already; bind a copy"),
        (lambda: Flow("f").set_dependencies(add.copy(), keyword_tasks={"z": 1}), "'add' has no input 'z'"),
        (lambda: Flow("f").add_edge(one.copy(), add.copy(), "xx"), "did you mean 'x'"),
        (lambda: add(1, task_args={"trigger": 3}), "the trigger of the task 'add' cannot be called"),
        (lambda: task(add.run, trigger=some_failed), r"yet to be made: write some_failed\(at_least=1\)"),
        (lambda: task(add.run, cache_validator=partial_inputs_only), r"yet to be made: write partial_inputs_only\("),
        (lambda: add(1, task_args={"max_retries": -1}), "whole number from 0"),
        (lambda: add(1, task_args={"name": "two\nlines"}), "printable"),
        (lambda: add(1, task_args={"slug": ""}), "printable"),
        (lambda: add.map(5), "'add' cannot be mapped over 'x', a int"),
        (lambda: add.map("text"), "a str; wrap it in unmapped"),
        (lambda: add.map({"a": 1}), "a dict; wrap it in unmapped"),
        (lambda: add.map(iter([1])), "read once; pass a list"),
        (one.map, "mapped over nothing"),
        (lambda: add.map(unmapped(1), y=unmapped(2)), "mapped over nothing"),
        (lambda: one(upstream_tasks=one()), r"several tasks, such as upstream_tasks=\[one\]"),
        (lambda: one(upstream_tasks=[5]), "not values like a int"),
        (lambda: Flow("f").edges_to(one), "not in the flow"),
        (lambda: Flow("f").get_task("x"), "it has none"),
        (lambda: one().copy(slug_is_final=False), "no attribute"),
    ],
)
def test_what_is_wrong_is_refused_by_name(build: Callable[[], object], words: str) -> None:
    with Flow("building"), pytest.raises(DefinitionError, match=words):
        build()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"cache_key": 3}, "cache_key of 'work' must be a text, not a int"),
        ({"cache_policy": 3}, "the policies in strongroom.caching, not a int"),
        ({"cache_result_in_memory": None}, "True or False, not a NoneType"),
        ({"log_stdout": "yes"}, "True or False, not a str"),
        ({"persist_result": "no"}, "True or False, not a str"),
        ({"refresh_cache": 1}, "True or False, not a int"),
        ({"result_handler": NullHandler}, "a ResultHandler, or the id of one, not NullHandler"),
        ({"result_serializer": 3}, "a chain such as 'json', or a Serializer, not a int"),
        ({"result_serializer": ""}, "is empty; leave it out"),
        ({"result_handler": ""}, "is empty; leave it out"),
        ({"result_storage": ""}, "what names a storage is empty"),
        ({"result_storage_key": 3}, "a text, not a int"),
        ({"retry_on": 3}, "exception types"),
        ({"skip_on_upstream_skip": "no"}, "True or False, not a str"),
        ({"state_handlers": 3}, "several"),
        ({"tags": 3}, "several texts"),
        ({"tags": [3]}, "several texts"),
        ({"task_run_name": lambda: "x"}, "a text, not a function"),
    ],
)
def test_an_argument_of_another_type_is_refused_by_its_name(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(DefinitionError, match=words):
        task(lambda: 1, name="work", **arguments)


@pytest.mark.parametrize(
    "argument", ["persist_result", "result_handler", "result_serializer", "cache_result_in_memory"]
)
def test_a_flow_refuses_an_argument_of_another_type(argument: str) -> None:
    arguments: dict[str, Any] = {argument: 3}

    with pytest.raises(DefinitionError, match=f"{argument} of 'f' must be"):
        Flow("f", **arguments)


def test_a_copy_is_checked_as_what_it_is_a_copy_of() -> None:
    with pytest.raises(DefinitionError, match="leaves out 'z'"):
        add.copy(cache_policy=INPUTS - "z")
    with pytest.raises(DefinitionError, match="True or False"):
        add.copy(refresh_cache="yes")


def test_a_class_that_forgets_to_make_its_task_is_named() -> None:
    class Forgetful(Task):
        def __init__(self, factor: int) -> None:
            self.factor = factor

    with Flow("f"), pytest.raises(DefinitionError, match=r"Forgetful.__init__ does not call super\(\).__init__\(\)"):
        Forgetful(3)()


def test_a_method_is_no_task() -> None:
    with pytest.raises(DefinitionError, match="an input 'self', a name that is reserved"):
        task(lambda self: self)


def test_a_cycle_is_told_from_other_mistakes() -> None:
    with pytest.raises(CycleError) as caught:
        _cycle()

    assert set(caught.value.slugs) == {"add", "add-2"}


def test_one_task_cannot_be_waited_for_as_a_whole_and_by_elements() -> None:
    with Flow("f") as f:
        first, second = one(), one()
        f.add_edge(first, second, mapped=True)

        with pytest.raises(DefinitionError, match="'one-2' waits for all of 'one' and for each"):
            f.add_edge(first, second)


def test_the_ten_thousandth_item_of_a_list_is_wired_as_soon_as_the_first() -> None:
    looked_at = []

    class Slow(dict[object, object]):
        def values(self) -> object:  # type: ignore[override]
            looked_at.append(1)
            return super().values()

    f = Flow("f")
    gather = f.add_task(task(lambda **items: items, name="gather").copy())
    f._upstream[gather] = Slow()  # type: ignore[assignment]
    for number in range(100):
        f.add_edge(one.copy(), gather, f"item_{number}")

    # Each edge finds its place by its key: nobody goes through all the others, which would take quadratic time.
    assert not looked_at
