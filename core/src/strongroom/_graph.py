# SPDX-License-Identifier: Apache-2.0
"""Which tasks does a flow consist of, and what waits for what?"""

from __future__ import annotations

import graphlib
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING

from strongroom.errors import CycleError, DefinitionError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from types import TracebackType
    from typing import Self

    from strongroom._task import Task

__all__ = ["Edge", "Graph", "current_graph"]

_current: ContextVar[Graph | None] = ContextVar("strongroom_graph", default=None)


@dataclass(frozen=True, slots=True, eq=False)
class Edge:
    """*downstream* waits for *upstream*, and with a *key* gets its result as the input of that name."""

    upstream: Task
    downstream: Task
    key: str | None = None
    mapped: bool = False

    def __repr__(self) -> str:
        return f"<Edge {self.upstream.slug} -> {self.downstream.slug}{f' as {self.key}' if self.key else ''}>"


class Graph:
    """Tasks and edges. Inside ``with graph:``, calling a task adds it."""

    def __init__(self, name: str) -> None:
        if not name or not isinstance(name, str):
            raise DefinitionError("a flow needs a name")
        self.name = name
        self._tasks: dict[str, Task] = {}
        self._upstream: dict[Task, list[Edge]] = {}
        self._downstream: dict[Task, list[Edge]] = {}
        self._constants: dict[Task, dict[str, object]] = {}
        self._reference_tasks: tuple[Task, ...] | None = None
        self._outer: list[Graph | None] = []
        # The last number that was given to a name, so that the ten-thousandth task finds its slug at once.
        self._numbers: dict[str, int] = {}

    def __enter__(self) -> Self:
        self._outer.append(_current.get())
        _current.set(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _current.set(self._outer.pop())

    def __contains__(self, task: object) -> bool:
        return task in self._upstream

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The tasks in the order in which they were added."""
        return tuple(self._tasks.values())

    @property
    def edges(self) -> tuple[Edge, ...]:
        """All edges."""
        return tuple(edge for edges in self._upstream.values() for edge in edges)

    @property
    def reference_tasks(self) -> tuple[Task, ...]:
        """The tasks that decide the final state: those that were set, else those that nothing waits for."""
        return self._reference_tasks if self._reference_tasks is not None else self.terminal_tasks

    @property
    def terminal_tasks(self) -> tuple[Task, ...]:
        """The tasks that nothing waits for."""
        return tuple(task for task, edges in self._downstream.items() if not edges)

    def set_reference_tasks(self, tasks: Iterable[Task]) -> None:
        """Let *tasks* decide the final state; none of them means the terminal tasks again.

        Raises:
            DefinitionError: one is not in this flow.
        """
        chosen = tuple(tasks)
        for task in chosen:
            self._require(task)
        self._reference_tasks = chosen or None

    def get_task(self, slug: str) -> Task:
        """The task with this slug.

        Raises:
            DefinitionError: there is none.
        """
        if slug not in self._tasks:
            raise DefinitionError(f"the flow {self.name!r} has no task {slug!r}; it has {', '.join(self._tasks)}")
        return self._tasks[slug]

    def add_task(self, task: Task) -> Task:
        """Add *task* unless it is in the flow; its slug gets a number if another task has the same name.

        Raises:
            DefinitionError: another task was given the same slug on purpose, or *task* is in another flow.
        """
        if task in self._upstream:
            return task
        if not task.slug_is_given:
            task.slug = self._free_slug(task.name)
        elif task.slug in self._tasks:
            raise DefinitionError(f"two tasks of the flow {self.name!r} have the slug {task.slug!r}; rename one")
        self._tasks[task.slug] = task
        self._upstream[task] = []
        self._downstream[task] = []
        return task

    def add_edge(self, upstream: Task, downstream: Task, key: str | None = None, *, mapped: bool = False) -> Edge:
        """Let *downstream* wait for *upstream*, and get its result as its input *key*.

        Raises:
            DefinitionError: *downstream* has no such input, or has it already.
        """
        self.add_task(upstream)
        self.add_task(downstream)
        if key is not None:
            self._check_input(downstream, key)
        edge = Edge(upstream, downstream, key, mapped)
        self._upstream[downstream].append(edge)
        self._downstream[upstream].append(edge)
        return edge

    def set_constant(self, task: Task, key: str, value: object) -> None:
        """Let *task* get *value* as its input *key*."""
        self.add_task(task)
        self._check_input(task, key)
        self._constants.setdefault(task, {})[key] = value

    def edges_to(self, task: Task) -> list[Edge]:
        """The edges that end in *task*."""
        return self._upstream[task]

    def edges_from(self, task: Task) -> list[Edge]:
        """The edges that start in *task*."""
        return self._downstream[task]

    def constants(self, task: Task) -> Mapping[str, object]:
        """The inputs of *task* that are not results of tasks."""
        return self._constants.get(task, {})

    def inputs(self, task: Task) -> Iterator[str]:
        """The names of the inputs that *task* gets."""
        yield from (edge.key for edge in self._upstream[task] if edge.key is not None)
        yield from self.constants(task)

    def sorted_tasks(self) -> tuple[Task, ...]:
        """The tasks, each after all that it waits for.

        Raises:
            CycleError: there is no such order.
        """
        sorter = graphlib.TopologicalSorter(
            {task: [edge.upstream for edge in edges] for task, edges in self._upstream.items()}
        )
        try:
            return tuple(sorter.static_order())
        except graphlib.CycleError as exc:
            raise CycleError([task.slug for task in exc.args[1]]) from None

    def validate(self) -> tuple[Task, ...]:
        """Check that the flow can run; returns its tasks, each after all that it waits for.

        Raises:
            CycleError: tasks wait for each other.
            DefinitionError: a task lacks an input.
        """
        for task in self._tasks.values():
            inputs = set(self.inputs(task))
            missing = [name for name in task.required_inputs if name not in inputs]
            if missing:
                raise DefinitionError(f"the task {task.slug!r} does not get its input {missing[0]!r}; pass it")
        return self.sorted_tasks()

    def _require(self, task: Task) -> None:
        if task not in self._upstream:
            raise DefinitionError(f"the task {task.slug!r} is not in the flow {self.name!r}; add it first")

    def _check_input(self, task: Task, key: str) -> None:
        task.check_input_name(key)
        if key in self.inputs(task):
            raise DefinitionError(f"the task {task.slug!r} gets its input {key!r} twice")

    def _free_slug(self, name: str) -> str:
        slug, number = name, self._numbers.get(name, 1)
        while slug in self._tasks:
            number += 1
            slug = f"{name}-{number}"
        self._numbers[name] = number
        return slug


def current_graph() -> Graph | None:
    """The graph whose ``with`` block is being run."""
    return _current.get()
