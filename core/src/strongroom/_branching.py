# SPDX-License-Identifier: Apache-2.0
"""How does a flow go one way or another, and how do its ways meet again?"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from strongroom import triggers
from strongroom._graph import current_graph
from strongroom._inputs import Constant, Parameter, unmapped
from strongroom._task import Task
from strongroom.errors import DefinitionError
from strongroom.signals import SKIP

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from strongroom._graph import Graph

__all__ = ["Case", "Merge", "case", "merge", "switch"]


class Case(Task):
    """Is skipped unless two values are equal. Neither is in its name, since names leave in clear."""

    def run(self, value: object, expected: object) -> None:
        """Compare.

        Raises:
            SKIP: *value* is not *expected*.
        """
        if not value == expected:  # a type may define == only
            raise SKIP("another case applies")


class Merge(Task):
    """Has the result of the one of its upstream tasks that was not skipped."""

    def run(self, **results: object) -> object:
        """The first result that is not None."""
        inputs = (results[f"task_{number}"] for number in range(1, len(results) + 1))
        return next((result for result in inputs if result is not None), None)


@contextmanager
def case(condition: Task, value: object) -> Iterator[None]:
    """Run the tasks that are added in the ``with`` block only if the result of *condition* equals *value*.

    Otherwise they are skipped, and so is what needs their results, unless that says otherwise, such as `merge`.

    Raises:
        DefinitionError: *condition* is no task, or *value* is or holds one.
    """
    graph = _building("case")
    _check_case("case", condition, value)
    with graph.watching() as added:
        yield
    roots = list(_roots(graph, added))
    if roots:
        gate = _compare(graph, condition, value)
        for task in roots:
            task.set_upstream(gate, flow=graph)


def switch(condition: Task, cases: Mapping[object, Task]) -> None:
    """Of *cases*, run the task whose value equals the result of *condition*; the others are skipped.

    What a case's task needs itself is run in any case; put that under `case` if it should not be.

    Raises:
        DefinitionError: *condition* or a case is no task, a value is one, or there are no cases.
    """
    graph = _building("switch")
    if not cases:
        raise DefinitionError("the switch has no cases; pass some, such as {'a': task_a, 'b': task_b}")
    for value, task in cases.items():
        _check_case("switch", condition, value)
        if not isinstance(task, Task):
            raise DefinitionError(f"a case of a switch is a task, not a {type(task).__name__}")
    for value, task in cases.items():
        task.set_upstream(_compare(graph, condition, value), flow=graph)


def merge(*tasks: Task, mapped: bool = False) -> Merge:
    """Add a task with the result of whichever of *tasks* was not skipped; if all were, it is skipped, too.

    If several were not, it is the first result that is not None. If one failed, so does the trigger.

    Args:
        *tasks: the ends of the branches.
        mapped: merge element by element.

    Raises:
        DefinitionError: there is nothing to merge, or something that is no task.
    """
    graph = _building("merge")
    if not tasks:
        raise DefinitionError("merge of nothing; pass the last task of each branch")
    for task in tasks:
        if not isinstance(task, Task):
            kind = type(task).__name__
            raise DefinitionError(f"merge takes the last task of each branch, not a {kind}; wrap that in Constant(...)")
    new = Merge("merge", trigger=triggers.not_all_skipped, skip_on_upstream_skip=False)
    inputs = {f"task_{number}": task for number, task in enumerate(tasks, start=1)}
    graph.set_dependencies(new, keyword_tasks=inputs, mapped=mapped)
    return new


def _compare(graph: Graph, condition: Task, value: object) -> Case:
    new = Case("case")
    graph.add_edge(condition, new, "value")
    graph.set_constant(new, "expected", value)
    return new


# Parameters and constants belong to the whole flow, even if they are first used in the block.
_GIVEN = (Parameter, Constant)


def _roots(graph: Graph, added: list[Task]) -> Iterator[Task]:
    """Those of *added* that would not be skipped by being downstream of another one."""
    inside = set(added)
    for task in added:
        upstream = (each for each in graph.upstream_tasks(task) if each in inside)
        # What is not skipped itself does not skip what comes after it.
        skips = any(each.skip_on_upstream_skip and not isinstance(each, _GIVEN) for each in upstream)
        if not skips and not isinstance(task, _GIVEN):
            yield task


def _check_case(word: str, condition: object, value: object) -> None:
    if not isinstance(condition, Task):
        raise DefinitionError(f"the condition of a {word} is a task, not a {type(condition).__name__}")
    if isinstance(value, (Task, unmapped)):
        raise DefinitionError(
            f"the value of a {word} is known when the flow is built; it cannot be a task: compare two tasks by "
            "is_equal, and ask whether that is True"
        )


def _building(word: str) -> Graph:
    graph = current_graph()
    if graph is None:
        raise DefinitionError(f"{word} was used outside of a flow; use it inside `with Flow(...)`")
    return graph
