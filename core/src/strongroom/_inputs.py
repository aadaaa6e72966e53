# SPDX-License-Identifier: Apache-2.0
"""How does what is passed to a task become its input, and which tasks does that take?"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping, Sized
from typing import TYPE_CHECKING, TypeVar, cast

import msgspec

from strongroom._graph import current_graph
from strongroom._once import is_read_once
from strongroom._task import Task
from strongroom.context import context
from strongroom.errors import DefinitionError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from strongroom._graph import Graph

__all__ = [
    "Constant",
    "Flatten",
    "Gather",
    "Operation",
    "Parameter",
    "Part",
    "add_input",
    "flatten",
    "holds_container",
    "operate",
    "own",
    "own_items",
    "several",
    "unmapped",
    "unpack",
]

T = TypeVar("T")


class Parameter(Task):
    """An input of the whole flow, given when it is run: plain JSON, which leaves sealed, or a `Secret`.

    Args:
        name: what ``flow.run(name=value)`` calls it; also its slug.
        default: its value if none is given.
        required: whether a value must be given; by default, if there is no default.
    """

    def __init__(self, name: str, default: object = None, *, required: bool | None = None) -> None:
        super().__init__(name=name, slug=name)
        self.default = default
        self.required = default is None if required is None else required
        graph = current_graph()
        if graph is not None:
            graph.add_task(self)

    def run(self) -> object:
        """The value in this run."""
        return context.parameters[self.name]


class Constant(Task):
    """A value that is known when the flow is built, where a task is needed: it can be mapped over."""

    def __init__(self, value: object, name: str = "constant") -> None:
        super().__init__(name=name)
        self._value = value

    def run(self) -> object:
        """The value."""
        return own(self._value)


class Gather(Task):
    """Puts results back into the list, tuple, set or dictionary that they were passed in."""

    keys: tuple[object, ...] = ()
    """The keys of a dictionary; for other containers as many times None as there are items."""

    def __init__(self, kind: type) -> None:
        super().__init__(name=kind.__name__)
        self._kind = kind

    def run(self, **items: object) -> object:
        """The container, with results in the place of tasks."""
        values = [items[f"item_{index}"] for index in range(len(self.keys))]
        if self._kind is not dict:
            return self._kind(values)
        keys = [items.get(f"key_{index}", key) for index, key in enumerate(self.keys)]
        return dict(zip(keys, values, strict=True))


class Flatten(Task):
    """Makes one list of a list of lists."""

    def run(self, lists: Iterable[Iterable[object]]) -> list[object]:
        """The elements of all lists."""
        return [item for each in lists for item in each]


class Operation(Task):
    """Applies one of Python's operators. Its name is the operator's, so it says nothing about the values."""

    def __init__(self, function: Callable[..., object]) -> None:
        super().__init__(name=function.__name__.strip("_"))
        self._function = function

    def run(self, **operands: object) -> object:
        """What the operator gives; ``x`` is on its left."""
        return self._function(*(operands[key] for key in ("x", "y") if key in operands))


class Part(Task):
    """Takes one part of a result that was said to have so many."""

    def run(self, whole: object, index: int, nout: int) -> object:
        """The part at *index*.

        Raises:
            ValueError: there are not *nout* parts.
        """
        count = len(whole) if isinstance(whole, Sized) else None
        if count != nout:
            has = "no" if count is None else count
            raise ValueError(f"the task was to give {nout} results (its nout), but what it returned has {has} parts")
        return cast("Sequence[object]", whole)[index]


class unmapped(msgspec.Struct, frozen=True):  # noqa: N801  # it reads as a word of the flow
    """Wraps an input of `Task.map` that every run gets as a whole."""

    value: object


def flatten(task: Task) -> Task:
    """Add a task whose result is the elements of the lists in the result of *task*, one list after the other."""
    return Flatten()(task)


def operate(function: Callable[..., object], *operands: object) -> Task:
    """Add a task that applies *function* to *operands*.

    Raises:
        DefinitionError: no flow is being built, or an operand cannot be one.
    """
    graph = current_graph()
    new = _operation(function).copy()
    if graph is None:
        raise DefinitionError(f"the operator {new.name!r} was used on a task outside of a flow; use it in `with Flow`")
    for key, operand in zip("xy", operands, strict=False):
        if isinstance(operand, unmapped):
            raise DefinitionError(f"the operator {new.name!r} works on whole results; it takes nothing unmapped(...)")
        if isinstance(operand, slice) and any(map(_holds_task, (operand.start, operand.stop, operand.step))):
            raise DefinitionError("a slice cannot have tasks as its bounds; write a task that slices")
        add_input(graph, new, key, operand)
    return new


# There are only so many kinds of these, and a copy is made much sooner than a task.
@functools.cache
def _operation(function: Callable[..., object]) -> Operation:
    return Operation(function)


@functools.cache
def _gather(kind: type) -> Gather:
    return Gather(kind)


@functools.cache
def _part() -> Part:
    return Part("part")


def unpack(task: Task) -> Iterator[Task]:
    """Add a task for each of the ``nout`` results of *task*; for each element, if that is mapped.

    Raises:
        DefinitionError: *task* does not say how many there are.
    """
    if task.nout is None:
        raise DefinitionError(
            f"the task {task.name!r} cannot be unpacked or iterated over while the flow is built; "
            "for several results say how many: @task(nout=2); for each element of a list use map"
        )
    graph = current_graph()
    if graph is None:
        raise DefinitionError(f"the task {task.name!r} was unpacked outside of a flow; do it inside `with Flow(...)`")
    mapped = task in graph and any(edge.mapped for edge in graph.edges_to(task))
    for index in range(task.nout):
        part = _part().copy()
        add_input(graph, part, "whole", task, mapped=mapped)
        graph.set_constant(part, "index", index)
        graph.set_constant(part, "nout", task.nout)
        yield part


def several(argument: str, tasks: Iterable[T]) -> Iterable[T]:
    """*tasks*, unless it is but one.

    Raises:
        DefinitionError: it is.
    """
    if isinstance(tasks, Task):
        raise DefinitionError(f"{argument} are several tasks, such as {argument}=[{tasks.name}]")
    return tasks


def add_input(graph: Graph, task: Task, key: str | None, value: object, *, mapped: bool = False) -> None:
    """Let *task* get *value* as its input *key*; tasks in it are waited for, in containers too.

    Raises:
        DefinitionError: it cannot be the input, or *mapped* and it has no elements.
    """
    if isinstance(value, unmapped):
        value, mapped = value.value, False
    upstream = _as_upstream(graph, value)
    if upstream is None and mapped:
        _check_elements(task, key, value)
        upstream = Constant(value)
    if upstream is not None:
        graph.add_edge(upstream, task, key, mapped=mapped)
    elif key is not None:
        if is_read_once(value):
            # As below.
            kind = type(value).__name__
            raise DefinitionError(f"{task.name!r} cannot have {key!r}, a {kind} that is read once; pass a list")
        graph.set_constant(task, key, value)
    else:
        raise DefinitionError(f"upstream_tasks of {task.name!r} are tasks, not values like a {type(value).__name__}")


def _check_elements(task: Task, key: str | None, value: object) -> None:
    kind = type(value).__name__
    # A text has elements, and a mapping has keys, but nobody means these.
    if isinstance(value, (str, bytes, Mapping)) or not hasattr(value, "__iter__"):
        raise DefinitionError(f"{task.name!r} cannot be mapped over {key!r}, a {kind}; wrap it in unmapped(...)")
    if isinstance(value, Iterator):
        # The second run of the flow would find it empty.
        raise DefinitionError(f"{task.name!r} cannot be mapped over {key!r}, a {kind} that is read once; pass a list")


def _as_upstream(graph: Graph, value: object) -> Task | None:
    """The task whose result stands for *value*; None if there is no task in it."""
    if isinstance(value, Task):
        return value
    if type(value) not in _CONTAINERS or not _holds_task(value):
        return None
    keys, items = _contents(value)
    kind: type = type(value)
    gather = _gather(kind).copy()
    gather.keys = tuple(None if _holds_task(key) else key for key in keys)
    graph.add_task(gather)
    for index, item in enumerate(items):
        add_input(graph, gather, f"item_{index}", item)
    for index, key in enumerate(keys):
        if _holds_task(key):
            add_input(graph, gather, f"key_{index}", key)
    return gather


_CONTAINERS = frozenset({list, tuple, set, frozenset, dict})


def own(value: object) -> object:
    """*value* with lists, tuples, sets and dictionaries of its own, as deep as these go, and with the same leaves.

    What is written in a flow is there for all of its runs, and a task may change what it is given.
    """
    if type(value) not in _CONTAINERS:
        return value
    if isinstance(value, dict):
        return own_items(value)
    assert isinstance(value, (list, tuple, set, frozenset))  # noqa: S101  # one of _CONTAINERS
    return type(value)(map(own, value))


def own_items(values: Mapping[T, object]) -> dict[T, object]:
    """*values* with each of them as by `own`."""
    return {key: own(value) for key, value in values.items()}


def holds_container(values: Mapping[str, object]) -> bool:
    """True if `own_items` would copy one of *values*."""
    return any(type(value) in _CONTAINERS for value in values.values())


def _contents(container: object) -> tuple[list[object], list[object]]:
    if isinstance(container, dict):
        return list(container), list(container.values())
    assert isinstance(container, (list, tuple, set, frozenset))  # noqa: S101  # one of _CONTAINERS
    items = list(container)
    if isinstance(container, (set, frozenset)):
        # Sets of tasks have another order in each process; the inputs must have the same names in all of them.
        items.sort(key=lambda item: (0, item.slug) if isinstance(item, Task) else (1, ""))
    return [None] * len(items), items


def _holds_task(value: object) -> bool:
    if isinstance(value, Task):
        return True
    if type(value) not in _CONTAINERS:
        return False
    keys, items = _contents(value)
    return any(map(_holds_task, items)) or any(map(_holds_task, keys))
