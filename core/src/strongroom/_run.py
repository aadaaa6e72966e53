# SPDX-License-Identifier: Apache-2.0
"""What do all tasks of one run share?"""

from __future__ import annotations

import contextlib
import random
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from strongroom._debugging import is_debugged
from strongroom._handlers import SecretHandler, StoredHandler
from strongroom._interrupts import CancelledElsewhere, Interrupts
from strongroom._once import is_read_once
from strongroom._template import fill_template
from strongroom.abc import ResultHandler, Slot
from strongroom.errors import DefinitionError, EgressError
from strongroom.secret import Secret
from strongroom.signals import Signal
from strongroom.states import Failed, State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from strongroom._keeping import Keeping
    from strongroom._leases import Leases
    from strongroom._place import Where
    from strongroom._recorder import StateRecorder
    from strongroom._task import Task
    from strongroom.project import Project

__all__ = ["Run", "told"]


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a flow, as its tasks see it. Safe to use from several threads."""

    id: str
    project: Project
    recorder: StateRecorder
    context: Mapping[str, object]
    parameters: Mapping[str, object]
    keeping: Keeping
    leases: Leases | None = None
    """None if the backend offers none."""
    runner_handlers: tuple[Callable[..., State | None], ...] = ()
    stopping: threading.Event = field(default_factory=threading.Event)
    """Set when the run was told to stop: what fails from then on may fail for that reason."""
    called_off: threading.Event = field(default_factory=threading.Event)
    """Set when another process asks for the end of the run."""
    interrupts: Interrupts = field(default_factory=Interrupts)
    clock: Callable[[], float] = time.time
    random: Callable[[], float] = random.random
    prints: dict[object, tuple[object, str]] = field(default_factory=dict)
    """Fingerprints of what is the same throughout the run, each with the version of it that it is of."""
    _handlers: dict[tuple[object, ...], StoredHandler] = field(default_factory=dict)
    _claimed: dict[tuple[str, str], str] = field(default_factory=dict)

    def listen(self) -> None:
        """Called between two steps: raises what ends the run, if it is to end."""
        if self.called_off.is_set():
            raise CancelledElsewhere
        if self.interrupts.is_pending:
            self.interrupts.check()

    def keeps(self, task: Task) -> bool:
        """True if the result of *task* is to be kept: the task decides, then a setting, the flow, a setting."""
        said = task.asks_for_persistence
        if said is not None:
            return said
        settings = self.project.settings
        said = settings.tasks.persist_result
        if said is None:
            said = self.keeping.persist_result
        return settings.results.persist if said is None else said

    def forgets(self, task: Task) -> bool:
        """True if the value of *task* is to be dropped once it is kept."""
        return not task.cache_result_in_memory or self.keeping.cache_result_in_memory is False

    def _drops(self, task: Task) -> bool:
        return self.keeps(task) and self.forgets(task)

    def check(self, task: Task) -> None:
        """Complain, before anything runs, about a handler, serializer or storage of *task* that cannot be had."""
        chosen = task.result_handler or self.keeping.result_handler
        self._check_cache(task, chosen)
        if chosen is None or chosen == StoredHandler.id:
            if task.result_storage is not None or task.result_serializer is not None:
                self.stored(task, task.result_storage or self.keeping.result_storage)
            return
        if isinstance(chosen, str):
            self.project.handler(chosen)
        for name in ("result_serializer", "result_storage", "result_storage_key"):
            # A cache has a place and a serializer of its own.
            if getattr(task, name) is not None and not task.is_cached:
                id_ = chosen if isinstance(chosen, str) else chosen.id
                raise DefinitionError(
                    f"the task {task.slug!r} has a {name}, which its result handler {id_!r} does not take; leave one "
                    "of them out, or give the task result_handler='stored'"
                )

    def _check_cache(self, task: Task, handler: ResultHandler | str | None) -> None:
        """Complain if *task* keeps its results where a cache cannot find them."""
        if not task.is_cached:
            return
        if task.result_storage_key is not None:
            raise DefinitionError(f"the task {task.slug!r} is cached, so it cannot have a result_storage_key")
        lies_elsewhere = task.cache_policy is not None and task.cache_policy.key_storage is not None
        if not lies_elsewhere and handler not in {None, StoredHandler.id} and not isinstance(handler, StoredHandler):
            raise DefinitionError(f"the task {task.slug!r} is cached, so its result handler must be 'stored'")

    def handler_for(self, value: object, task: Task, values: Mapping[str, object]) -> ResultHandler:
        """The handler for *value*, the result of *task*: a secret is kept as its name, wherever other results go.

        Raises:
            DefinitionError: *value* can be read once only, such as a generator, and would be shown to whoever asks.
        """
        # What is kept and then dropped is read anew by each who needs it.
        if is_read_once(value) and not self._drops(task):
            raise DefinitionError(
                f"the task {task.slug!r} returned a {type(value).__name__}, which can be read only once, and a result "
                "may be read again: return a list of what it gives"
            )
        return SecretHandler() if isinstance(value, Secret) else self.handler(task, values)

    def handler(self, task: Task, values: Mapping[str, object] | None = None) -> ResultHandler:
        """The handler for results of *task*; *values* are what its templates may use.

        Without them it keeps what is no single result of the task, under keys of its own.

        Raises:
            DefinitionError: another result of this run is kept under the same key.
        """
        chosen = task.result_handler or self.keeping.result_handler
        # None first, which it mostly is: to ask an abstract class about it takes longer than all the rest.
        if chosen is not None and chosen != StoredHandler.id:
            return chosen if isinstance(chosen, ResultHandler) else self.project.handler(chosen)
        storage = task.result_storage or self.keeping.result_storage
        if task.result_storage_key is not None and values is not None:
            key = fill_template(task.result_storage_key, values)
            if self.keeps(task):
                self._claim(task, values.get("map_index"), storage, key)
            serializer = task.result_serializer or self.keeping.result_serializer
            return StoredHandler(self.project.store(storage, serializer), key)
        return self.stored(task, storage)

    def _claim(self, task: Task, map_index: object, storage: Where | None, key: str) -> None:
        """Give *key* to one result of this run: a second one would take the place of the first, unnoticed."""
        owner = task.slug if map_index is None else f"{task.slug}[{map_index}]"
        # Of several threads that ask at once, one gets it.
        first = self._claimed.setdefault((str(storage or ""), key), owner)
        if first != owner:
            raise DefinitionError(
                f"{first!r} and {owner!r} would keep their results under one key; let result_storage_key tell them "
                "apart, such as by {task_slug} or {map_index}"
            )

    def stored(self, task: Task, storage: Where | None) -> StoredHandler:
        """The handler that keeps results of *task* as records in *storage*; None is that of the settings."""
        serializer = task.result_serializer or self.keeping.result_serializer
        # Most tasks of a run keep their results the same way: they share one handler.
        known = (storage, serializer if isinstance(serializer, str) else id(serializer))
        if known not in self._handlers:
            self._handlers[known] = StoredHandler(self.project.store(storage, serializer))
        return self._handlers[known]

    def slot(self, task: Task, map_index: int = -1, field: str = "result") -> Slot:
        """The place of a result of *task*, or of one of its inputs, in this run."""
        return Slot(self.id, task.slug, map_index, field)

    def change(
        self,
        subject: object,
        old: State,
        new: State,
        handlers: Iterable[Callable[..., State | None]],
        record: Callable[[State], None],
    ) -> State:
        """Let the state handlers see a change, write it down, tell the plugins; returns the state that it led to."""
        if handlers := (*handlers, *self.runner_handlers):
            new = told(handlers, subject, old, new)
        try:
            record(new)
        except EgressError as exc:
            # Fail closed: what may not be told did not succeed. That it failed may be told, or not even that.
            vetoed, new = new, Failed(str(exc), result=exc)
            # Whoever heard of the one hears of the other, and cannot make more of it.
            told(handlers, subject, vetoed, new)
            with contextlib.suppress(EgressError):
                record(new)
        self.project.plugins.state_changed(subject, old, new)
        return new


def told(handlers: Iterable[Callable[..., State | None]], subject: object, old: State, new: State) -> State:
    """The state that comes of *new* when state handlers have seen it. A ctrl-C comes in here."""
    for handler in handlers:
        try:
            new = _checked(handler(subject, old, new)) or new
        except Signal as signal:
            new = signal.state
        except Exception as exc:  # the user's code: whatever it raises, nobody may take this for a success
            if is_debugged():
                raise
            # What we say ourselves holds no data.
            why = f": {exc}" if isinstance(exc, DefinitionError) else ""
            return Failed(f"a state handler raised {type(exc).__name__}{why}", result=exc)
    return new


def _checked(answer: object) -> State | None:
    if answer is not None and not isinstance(answer, State):
        raise DefinitionError(f"a state handler answered with a {type(answer).__name__}; it returns a state or None")
    return answer
