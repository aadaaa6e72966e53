# SPDX-License-Identifier: Apache-2.0
"""How do the tasks and edges of one flow come into another?"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from strongroom._graph import Edge, Graph
    from strongroom._task import Task

__all__ = ["add_all", "wiring"]


def add_all(graph: Graph, other: Graph, stand_ins: Mapping[Task, Task]) -> None:
    """Add to *graph* what is in *other* and not in it yet.

    Args:
        graph: half of it is added if that fails, so it had better be a copy.
        other: stays as it is.
        stand_ins: tasks of *other*, and what is to be put in their place.

    Raises:
        DefinitionError: two tasks have the same slug, or one would get an input twice.
    """
    # Those that have a slug come first: whoever has none yet must not take theirs.
    for task in (*(task for task in other.tasks if task not in stand_ins), *stand_ins.values()):
        graph.add_task(task)
    known = {_ends(edge) for edge in graph.edges}
    for edge in other.edges:
        upstream, downstream = (stand_ins.get(task, task) for task in (edge.upstream, edge.downstream))
        if (upstream, downstream, edge.key, edge.mapped) not in known:
            graph.add_edge(upstream, downstream, edge.key, mapped=edge.mapped)
    for task in other.tasks:
        receiver = stand_ins.get(task, task)
        for key, value in other.constants(task).items():
            if graph.constants(receiver).get(key, graph) is not value:
                graph.set_constant(receiver, key, value)
    for each in (theirs.among(stand_ins) for theirs in other.transactions):
        if not any(each.is_same(ours) for ours in graph.transactions):
            graph.transactions.append(each)


def wiring(graph: Graph) -> tuple[object, ...]:
    """What is equal for two graphs of the same tasks if these get the same inputs and decide alike."""
    constants = {(task, key, id(value)) for task in graph.tasks for key, value in graph.constants(task).items()}
    groups = {(each.key, each.tasks) for each in graph.transactions}
    return set(graph.tasks), {_ends(edge) for edge in graph.edges}, constants, set(graph.reference_tasks), groups


def _ends(edge: Edge) -> tuple[object, ...]:
    return edge.upstream, edge.downstream, edge.key, edge.mapped
