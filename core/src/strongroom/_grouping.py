# SPDX-License-Identifier: Apache-2.0
"""Which tasks of a flow belong together, so that all of them count or none?"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from strongroom._graph import current_graph
from strongroom.errors import DefinitionError, NotSupportedError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType
    from typing import Self

    from strongroom._graph import Graph
    from strongroom._task import Task

    Hook = Callable[[Any], object]

__all__ = ["transaction"]


class transaction:  # noqa: N801  # it reads as a word of the flow
    """Groups the tasks that are added to a flow in its ``with`` block.

    Results of these tasks that a cache policy keeps are found by later runs once *all* of the tasks have succeeded in
    one run, and then all at once, however the run ends in between. What is found is what the last such run had.

    Args:
        key: what later runs find the results by; only a group in which nothing is cached can do without.

    Raises:
        DefinitionError: no flow is being built, or the block adds no task, or a key is needed.
        NotSupportedError: it is inside of another one.
    """

    def __init__(self, key: str | None = None) -> None:
        self.key = key
        self.tasks: tuple[Task, ...] = ()
        self.commit_hooks: list[Hook] = []
        self.rollback_hooks: list[Hook] = []

    def __enter__(self) -> Self:
        graph = current_graph()
        if graph is None:
            raise DefinitionError("a transaction groups tasks of a flow; open it inside `with Flow(...)`")
        if graph.open_transaction:
            raise NotSupportedError("a transaction inside of another one", instead="put their tasks into one")
        graph.open_transaction = True
        self._graph: Graph = graph
        self._before = len(graph.tasks)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._graph.open_transaction = False
        if kind is not None:
            return
        self.tasks = self._graph.tasks[self._before :]
        if not self.tasks:
            raise DefinitionError("a transaction groups the tasks that its block adds, and this one adds none")
        cached = next((task.name for task in self.tasks if task.is_cached), None)
        if cached is not None and self.key is None:
            raise DefinitionError(f"the task {cached!r} is cached, so the transaction around it needs a key")
        if self.key is not None and any(each.key == self.key for each in self._graph.transactions):
            raise DefinitionError(
                f"two transactions of the flow {self._graph.name!r} have the key {self.key!r}, so that one would make "
                "the results of the other invisible; give each a key of its own"
            )
        self._graph.transactions.append(self)

    def among(self, stand_ins: Mapping[Task, Task]) -> transaction:
        """This one, with the tasks that stand in for its own in another flow."""
        if stand_ins.keys().isdisjoint(self.tasks):
            return self
        other = copy.copy(self)
        other.tasks = tuple(stand_ins.get(task, task) for task in self.tasks)
        return other

    def is_same(self, other: transaction) -> bool:
        """True if both group the same tasks under one key."""
        return (self.key, self.tasks) == (other.key, other.tasks)

    def on_commit(self, hook: Hook) -> Hook:
        """Call *hook* with the `OpenTransaction` once the results are visible. Usable as a decorator."""
        self.commit_hooks.append(hook)
        return hook

    def on_rollback(self, hook: Hook) -> Hook:
        """Call *hook* with the `OpenTransaction` if they will not be. Usable as a decorator."""
        self.rollback_hooks.append(hook)
        return hook
