# SPDX-License-Identifier: Apache-2.0
"""Which results become visible together, or not at all?"""

from __future__ import annotations

import logging
import threading
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from strongroom.errors import DefinitionError, EgressError, NotFoundError, NotSupportedError, StrongroomError
from strongroom.states import Mapped, Running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from strongroom._grouping import transaction
    from strongroom._run import Run
    from strongroom._task import Task
    from strongroom.keyring import Keyring
    from strongroom.results import Receipt, ResultStore
    from strongroom.states import State

__all__ = ["STOPPED", "Earlier", "Entered", "OpenTransaction", "Transactions", "current_transaction", "label_of"]

_log = logging.getLogger("strongroom")

# What is recorded of the end of a transaction. One that was stopped starts over when its run is resumed.
_COMMITTED: Final = "committed"
_ROLLED_BACK: Final = "rolled back"
STOPPED: Final = "rolled back, since the run was stopped"

_ABSENT: Final = object()


@dataclass(frozen=True, slots=True)
class Earlier:
    """What is known of the transactions of a run that is resumed.

    Attributes:
        ended: the labels of those that were committed or rolled back.
        staged: by task, what its results were staged as.
    """

    ended: frozenset[str] = frozenset()
    staged: Mapping[Task, Mapping[str, Receipt]] = field(default_factory=dict)


def label_of(transactions: Sequence[transaction], number: int) -> str:
    """What one of the *transactions* of a flow is recorded as."""
    return f"{number} {transactions[number].key or ''}"


_current: ContextVar[OpenTransaction | None] = ContextVar("strongroom_transaction", default=None)


class OpenTransaction:
    """A transaction in one run: what tasks and hooks tell each other in it. Safe to use from several threads."""

    def __init__(self, defined: transaction, run: Run, label: str) -> None:
        self.key = defined.key
        self.run_id = run.id
        self.label = label
        self._defined = defined
        self._run = run
        self._lock = threading.Lock()
        self._values: dict[str, object] = {}
        self._staged: dict[str, Receipt] = {}
        self._committed: dict[str, Receipt] | None = None
        self._waits_for = set(defined.tasks)
        self._finished: list[tuple[Task, bool]] = []
        self._is_resumed = False

    def set(self, name: str, value: object) -> None:
        """Keep *value* for the hooks and for the tasks that come later. It stays in this process."""
        with self._lock:
            self._values[name] = value

    def get(self, name: str, default: object = _ABSENT) -> object:
        """What was `set`; *default*, or None, if nothing was.

        Raises:
            NotSupportedError: there is no *default*, and the run was resumed after some of the tasks had ended: what
                they have set was in another process, and to answer None would be to guess.
        """
        with self._lock:
            found = self._values.get(name, default)
        if found is not _ABSENT:
            return found
        if self._is_resumed:
            raise NotSupportedError(
                f"to get {name!r}, which may have been set before the run was resumed,",
                instead="pass a default, or return it from the task",
            )
        return None

    def find(self, path: str) -> Receipt | None:
        """Where the last commit has the result that lies at *path*."""
        with self._lock:
            if self._committed is None:
                self._committed = self._read()
            return self._committed.get(path)

    def stage(self, path: str, receipt: Receipt) -> None:
        """Let the result at *receipt* be found at *path* once this is committed."""
        with self._lock:
            self._staged[path] = receipt

    def finish(self, task: Task, state: State) -> str | None:
        """Take notice of the end of a task, and end with the last one; returns what went wrong with that."""
        if task not in self._waits_for:
            return None
        self._waits_for.discard(task)
        self._finished.append((task, state.is_successful() and not _any_failed(state)))
        return None if self._waits_for else self._end()

    def go_on(self, earlier: Earlier, finished: Iterable[tuple[Task, State]]) -> str | None:
        """Go on where an earlier part of the run, in which tasks were *finished*, has stopped; as `finish`."""
        for task in self._defined.tasks:
            self._staged.update(earlier.staged.get(task, {}))
        if self.label in earlier.ended:
            self._waits_for.clear()
        problem = None
        for task, state in finished:
            self._is_resumed = self._is_resumed or task in self._waits_for
            problem = self.finish(task, state) or problem
        return problem

    def stop(self) -> None:
        """Roll back, if this has not ended."""
        if self._waits_for:
            self._waits_for.clear()
            self._roll_back(STOPPED)

    def _end(self) -> str | None:
        if not all(succeeded for _, succeeded in self._finished):
            self._roll_back(_ROLLED_BACK)
            return None
        try:
            self._write()
        except Exception as exc:  # storages and serializers are plugins: whatever they raise, nothing is visible
            self._roll_back(_ROLLED_BACK)
            why = str(exc) if isinstance(exc, StrongroomError) else type(exc).__name__
            return f"the transaction {self.key!r} could not be committed: {why}"
        hooks = [hook for task, _ in self._finished for hook in task.commit_hooks]
        self._call([*hooks, *self._defined.commit_hooks])
        self._note(_COMMITTED)
        return None

    def _roll_back(self, why: str) -> None:
        hooks = [hook for task, succeeded in self._finished if succeeded for hook in task.rollback_hooks]
        self._call(reversed([*self._defined.rollback_hooks, *hooks]))
        self._note(why)

    def _note(self, end: str) -> None:
        """Write down how this has ended, after all that had to be done: whoever is killed before that does it again."""
        from strongroom.documents import CacheInfo  # all documents, of which whoever only makes flows needs none

        name = "the transaction" if self.key is None else f"the transaction {self.key!r}"
        info = CacheInfo(key=self.label, hit=False, reason=end, parts={})
        with suppress(EgressError):
            self._run.recorder.state(Running(f"{name} was {end}"), name=str(self._run.context["flow_name"]), cache=info)

    def _call(self, hooks: Iterable[Callable[[OpenTransaction], object]]) -> None:
        for hook in hooks:
            try:
                hook(self)
            except Exception as exc:  # the user's code; what is decided is decided, and the other hooks are owed
                _log.warning("a hook of the transaction %r raised %s", self.key, type(exc).__name__)

    def _place(self, keyring: Keyring) -> str:
        return f"transactions/{keyring.cache_key('transaction', self.key)}"

    def _read(self) -> dict[str, Receipt]:
        # What was committed before the keys were rotated lies under the name that it had then.
        for keyring in (self._run.project.keyring, *self._run.project.keyring.older()):
            found = self._read_at(self._place(keyring))
            if found is not None:
                return found
        return {}

    def _read_at(self, place: str) -> dict[str, Receipt] | None:
        try:
            found = _store(self._run).read(place).result
        except NotFoundError:
            return None
        except StrongroomError as exc:
            _log.warning("the results of the transaction %r are left out and computed again: %s", self.key, exc)
            return {}
        assert isinstance(found, dict)  # noqa: S101  # what the serializer reads
        return found

    def _write(self) -> None:
        # One record names them all, so that one atomic write makes them visible.
        if self._staged and self._staged != self._committed:
            _store(self._run).write(self._staged, self._place(self._run.project.keyring))


class Transactions:
    """The transactions of one run. They end in the thread that runs the flow."""

    def __init__(self, defined: Sequence[transaction], run: Run) -> None:
        opened = [(each, OpenTransaction(each, run, label_of(defined, n))) for n, each in enumerate(defined)]
        self._open = {task: one for each, one in opened for task in each.tasks}
        self.problem: str | None = None
        """Why the run has failed though its tasks have not."""

    def of(self, task: Task) -> OpenTransaction | None:
        """The one that *task* belongs to."""
        return self._open.get(task)

    def finish(self, task: Task, state: State) -> None:
        """Take notice of the end of *task*, all its children included."""
        if task in self._open:
            self.problem = self._open[task].finish(task, state) or self.problem

    def go_on(self, earlier: Earlier, finished: Mapping[Task, State]) -> None:
        """Take notice of the tasks that were *finished* before this part of the run began."""
        for each in self._all():
            mine = [(task, state) for task, state in finished.items() if self.of(task) is each]
            self.problem = each.go_on(earlier, mine) or self.problem

    def stop(self) -> None:
        """Roll back those that have not ended."""
        for each in self._all():
            each.stop()

    def _all(self) -> Iterable[OpenTransaction]:
        return dict.fromkeys(self._open.values())


def current_transaction() -> OpenTransaction:
    """The transaction that the running task belongs to.

    Raises:
        DefinitionError: it belongs to none, or runs in a process of its own, which the transaction does not reach.
    """
    found = _current.get()
    if found is None:
        raise DefinitionError("no transaction is open here; in a process of its own a task does not see the run's")
    return found


class Entered:
    """Lets `current_transaction` be *opened* while a ``with`` block is open."""

    def __init__(self, opened: OpenTransaction) -> None:
        self._opened = opened

    def __enter__(self) -> None:
        self._token = _current.set(self._opened)

    def __exit__(self, *error: object) -> None:
        _current.reset(self._token)


def _store(run: Run) -> ResultStore:
    return run.project.receipts()


def _any_failed(state: State) -> bool:
    return isinstance(state, Mapped) and any(child.is_failed() for child in state.map_states)
