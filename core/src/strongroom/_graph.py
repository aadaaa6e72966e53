# SPDX-License-Identifier: Apache-2.0
"""Which tasks does a flow consist of, and what waits for what?"""

from __future__ import annotations

import copy
import itertools
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING

from strongroom._combining import add_all, wiring
from strongroom._task_checks import check_tags
from strongroom.errors import CycleError, DefinitionError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from types import TracebackType
    from typing import Self

    from strongroom._grouping import transaction
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
    """Tasks and edges. Inside ``with graph:``, calling a task adds it.

    Whatever comes as several tasks or edges comes in the order in which they were added.
    """

    def __init__(self, name: str) -> None:
        if not name or not isinstance(name, str):
            raise DefinitionError("a flow needs a name")
        self.name = name
        self._outer: list[Graph | None] = []
        self._watchers: list[list[Task]] = []
        # The last number that was given to a name, so that the ten-thousandth task finds its slug at once.
        self._numbers: dict[str, int] = {}
        self._clear()

    def _clear(self) -> None:
        self._tasks: dict[str, Task] = {}
        # The edges to a task by the input that they bring; by the upstream task itself if they bring none.
        self._upstream: dict[Task, dict[str | Task, Edge]] = {}
        self._downstream: dict[Task, list[Edge]] = {}
        self._constants: dict[Task, dict[str, object]] = {}
        self._reference_tasks: tuple[Task, ...] | None = None
        self.transactions: list[transaction] = []
        self.open_transaction = False

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
        """All tasks."""
        return tuple(self._tasks.values())

    @property
    def edges(self) -> tuple[Edge, ...]:
        """All edges."""
        return tuple(edge for edges in self._upstream.values() for edge in edges.values())

    @property
    def reference_tasks(self) -> tuple[Task, ...]:
        """The tasks that decide the final state: those that were set, else those that nothing waits for."""
        return self._reference_tasks if self._reference_tasks is not None else self.terminal_tasks

    @property
    def root_tasks(self) -> tuple[Task, ...]:
        """The tasks that wait for nothing."""
        return tuple(task for task, edges in self._upstream.items() if not edges)

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
            some = ", ".join(itertools.islice(self._tasks, 10)) or "none"
            raise DefinitionError(f"the flow {self.name!r} has no task {slug!r}; it has {some}")
        return self._tasks[slug]

    def get_tasks(
        self,
        *,
        name: str | None = None,
        slug: str | None = None,
        tags: Iterable[str] = (),
        task_type: type[Task] | None = None,
    ) -> tuple[Task, ...]:
        """The tasks of which all is true that is asked: the name, the slug, every one of *tags*, the type."""
        wanted = check_tags(tags)
        return tuple(
            task
            for task in self._tasks.values()
            if (name is None or task.name == name)
            and (slug is None or task.slug == slug)
            and wanted <= task.tags
            and (task_type is None or isinstance(task, task_type))
        )

    def add_task(self, task: Task) -> Task:
        """Add *task* unless it is in the flow; its slug gets a number if another task has the same name.

        A task that is in another flow too keeps the slug that it has there.

        Raises:
            DefinitionError: another task of this flow has the slug that *task* must have.
        """
        if task in self._upstream:
            return task
        if not task.slug_is_final:
            task.slug, task.slug_is_final = self._free_slug(task.name), True
        elif task.slug in self._tasks:
            raise DefinitionError(
                f"two tasks of the flow {self.name!r} would have the slug {task.slug!r}; "
                "give one of them another slug, or add a copy of it"
            )
        self._tasks[task.slug] = task
        self._upstream[task] = {}
        self._downstream[task] = []
        for watcher in self._watchers:
            watcher.append(task)
        return task

    def add_edge(self, upstream: Task, downstream: Task, key: str | None = None, *, mapped: bool = False) -> Edge:
        """Let *downstream* wait for *upstream*, and get its result as its input *key*; if *mapped*, one by one.

        To wait for the same task twice is to wait for it once.

        Raises:
            DefinitionError: *downstream* has no such input, or has it already.
        """
        self.add_task(upstream)
        self.add_task(downstream)
        edges = self._upstream[downstream]
        if key is not None:
            self._check_input(downstream, key)
        elif upstream in edges:
            return self._same(edges[upstream], mapped)
        edge = Edge(upstream, downstream, key, mapped)
        edges[upstream if key is None else key] = edge
        self._downstream[upstream].append(edge)
        return edge

    def chain(self, *tasks: Task) -> tuple[Edge, ...]:
        """Let each of *tasks* wait for the one before it."""
        return tuple(self.add_edge(*pair) for pair in itertools.pairwise(tasks))

    def set_dependencies(
        self,
        task: Task,
        upstream_tasks: Iterable[object] = (),
        downstream_tasks: Iterable[Task] = (),
        keyword_tasks: Mapping[str, object] | None = None,
        *,
        mapped: bool = False,
    ) -> None:
        """Add *task*, with what it waits for, what waits for it, and its inputs by name.

        Args:
            task: the task itself, no copy.
            upstream_tasks: tasks to wait for.
            downstream_tasks: tasks that wait for it.
            keyword_tasks: its inputs: tasks, values, and containers of both.
            mapped: run it once for each element of its inputs, and of the results of *upstream_tasks*; see `Task.map`.

        Raises:
            DefinitionError: *task* has no such input, or has it already.
        """
        # The tasks that stand for values are tasks themselves, so that they know this module.
        from strongroom._inputs import add_input, several, unmapped

        inputs, others = keyword_tasks or {}, list(several("upstream_tasks", upstream_tasks))
        if mapped and all(isinstance(each, unmapped) for each in (*inputs.values(), *others)):
            raise DefinitionError(f"the task {task.name!r} is mapped over nothing; give it an input to map over")
        self.add_task(task)
        for key, value in inputs.items():
            add_input(self, task, key, value, mapped=mapped)
        for upstream in others:
            add_input(self, task, None, upstream, mapped=mapped)
        for downstream in several("downstream_tasks", downstream_tasks):
            add_input(self, downstream, None, task)

    def set_constant(self, task: Task, key: str, value: object) -> None:
        """Let *task* get *value* as its input *key*."""
        self.add_task(task)
        self._check_input(task, key)
        self._constants.setdefault(task, {})[key] = value

    def edges_to(self, task: Task) -> tuple[Edge, ...]:
        """The edges that end in *task*."""
        self._require(task)
        return tuple(self._upstream[task].values())

    def edges_from(self, task: Task) -> tuple[Edge, ...]:
        """The edges that start in *task*."""
        self._require(task)
        return tuple(self._downstream[task])

    def upstream_tasks(self, task: Task) -> tuple[Task, ...]:
        """The tasks that *task* waits for."""
        return tuple(dict.fromkeys(edge.upstream for edge in self.edges_to(task)))

    def downstream_tasks(self, task: Task) -> tuple[Task, ...]:
        """The tasks that wait for *task*."""
        return tuple(dict.fromkeys(edge.downstream for edge in self.edges_from(task)))

    def constants(self, task: Task) -> Mapping[str, object]:
        """The inputs of *task* that are not results of tasks."""
        return self._constants.get(task, {})

    def inputs(self, task: Task) -> Iterator[str]:
        """The names of the inputs that *task* gets."""
        yield from (edge.key for edge in self._upstream[task].values() if edge.key is not None)
        yield from self.constants(task)

    def sorted_tasks(self) -> tuple[Task, ...]:
        """The tasks, each after all that it waits for.

        Raises:
            CycleError: there is no such order.
        """
        waiting = {task: len(edges) for task, edges in self._upstream.items()}
        found = [task for task, count in waiting.items() if not count]
        # It grows while it is gone through.
        for task in found:
            for edge in self._downstream[task]:
                waiting[edge.downstream] -= 1
                if not waiting[edge.downstream]:
                    found.append(edge.downstream)
        if len(found) < len(waiting):
            raise CycleError(self._cycle())
        return tuple(found)

    def validate(self) -> tuple[Task, ...]:
        """Check that the flow can run; returns its tasks, each after all that it waits for.

        Raises:
            CycleError: tasks wait for each other.
            DefinitionError: a task lacks an input.
        """
        for task in self._tasks.values():
            edges, constants = self._upstream[task], self.constants(task)
            for name in task.required_inputs:
                if name not in edges and name not in constants:
                    raise DefinitionError(f"the task {task.slug!r} does not get its input {name!r}; pass it")
        return self.sorted_tasks()

    def copy(self) -> Self:
        """Another flow of the same tasks and edges; what is added to one is not in the other."""
        return self._with(self, {})

    def update(self, other: Graph, *, merge_parameters: bool = False) -> None:
        """Add the tasks and edges of *other*, which are then in both flows. If that fails, nothing has changed.

        Args:
            other: the other flow.
            merge_parameters: use this flow's parameter where *other* has another one of the same name.

        Raises:
            DefinitionError: two tasks have the same slug, or one task would get an input twice.
        """
        from strongroom._inputs import Parameter

        ours = {task.slug: task for task in self.get_tasks(task_type=Parameter)} if merge_parameters else {}
        theirs = other.get_tasks(task_type=Parameter)
        stand_ins = {task: ours[task.slug] for task in theirs if ours.get(task.slug, task) is not task}
        new = self.copy()
        add_all(new, other, stand_ins)
        self._become(new)

    def replace(self, old: Task, new: Task) -> None:
        """Put *new* in the place of *old*, with its edges and its constant inputs. If that fails, nothing has changed.

        Raises:
            DefinitionError: *old* is not in the flow, *new* is, or *new* lacks an input that *old* has.
        """
        self._require(old)
        if new in self:
            raise DefinitionError(f"the task {new.slug!r} is in the flow {self.name!r} already; replace with a copy")
        for key in self.inputs(old):
            new.check_input_name(key)
        self._become(self._with(self, {old: new}))

    def is_equal(self, other: Graph) -> bool:
        """True if *other* has the same name, the very same tasks with equal edges, and the same reference tasks."""
        return self.name == other.name and wiring(self) == wiring(other)

    @contextmanager
    def watching(self) -> Iterator[list[Task]]:
        """Fill a list with the tasks that are added until the ``with`` block ends."""
        added: list[Task] = []
        self._watchers.append(added)
        try:
            yield added
        finally:
            self._watchers.pop()

    def _with(self, other: Graph, stand_ins: Mapping[Task, Task]) -> Self:
        """A flow like this one, with the tasks and edges of *other* only."""
        new = copy.copy(self)
        new._outer, new._watchers, new._numbers = [], [], dict(self._numbers)  # noqa: SLF001  # another one of us
        new._clear()  # noqa: SLF001
        add_all(new, other, stand_ins)
        if other._reference_tasks is not None:
            new.set_reference_tasks(stand_ins.get(task, task) for task in other._reference_tasks)
        return new

    def _become(self, other: Graph) -> None:
        for watcher in self._watchers:
            watcher.extend(task for task in other.tasks if task not in self)
        self._tasks, self._upstream, self._downstream = other._tasks, other._upstream, other._downstream
        self._constants, self._reference_tasks = other._constants, other._reference_tasks
        self.transactions = other.transactions

    def _cycle(self) -> list[str]:
        import graphlib  # ten times slower than the loop above, which does not know where a cycle is

        try:
            graphlib.TopologicalSorter({task: self.upstream_tasks(task) for task in self._upstream}).prepare()
        except graphlib.CycleError as exc:
            return [task.slug for task in exc.args[1]]
        return []

    def _same(self, edge: Edge, mapped: bool) -> Edge:  # noqa: FBT001  # as the edge has it
        if edge.mapped == mapped:
            return edge
        raise DefinitionError(
            f"the task {edge.downstream.slug!r} waits for all of {edge.upstream.slug!r} and for each of its elements; "
            "choose one"
        )

    def _require(self, task: Task) -> None:
        if task not in self._upstream:
            raise DefinitionError(f"the task {task.slug!r} is not in the flow {self.name!r}; add it first")

    def _check_input(self, task: Task, key: str) -> None:
        task.check_input_name(key)
        if key in self._upstream[task] or key in self.constants(task):
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
