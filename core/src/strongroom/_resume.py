# SPDX-License-Identifier: Apache-2.0
"""What is left of a run that stopped, and what has to be run again?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from strongroom._handlers import StoredHandler
from strongroom._jobs import Beginning, Gathered
from strongroom._policy import FIELDS, NAMES
from strongroom._result import NoResult, Result
from strongroom._transactions import STOPPED, Earlier, label_of
from strongroom.documents import RunDocument, StateDocument
from strongroom.errors import NotResumableError, RecordedError, StrongroomError, UnknownRunError
from strongroom.results import Receipt
from strongroom.states import (
    STATE_TYPES,
    Failed,
    Mapped,
    Paused,
    Pending,
    Queued,
    Resume,
    Retrying,
    Scheduled,
    State,
    Success,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from strongroom._graph import Edge, Graph
    from strongroom._policy import Policy
    from strongroom._run import Run
    from strongroom._task import Task
    from strongroom.abc import Backend
    from strongroom.documents import Document, KeptResult
    from strongroom.keyring import Keyring
    from strongroom.project import Project

__all__ = ["Record", "beginning", "check_policy", "deliver_first", "read_record"]

_PATIENCE = 1.0

_Place = tuple[str, int]
_RUN = ("", -1)
# A run that ended in one of these has nothing left to do.
_ENDED = frozenset({"Success", "Failed"})
# A task run that ended in one of these was kept from ending otherwise: it is to be run again.
_AGAIN = frozenset({"Cancelled", "Cancelling", "Running", "Submitted", "ClientFailed"})
_WAITING = frozenset({"Scheduled", "Resume", "Retrying", "Paused", "Queued"})


@dataclass(frozen=True, slots=True)
class Record:
    """What the backend knows of a run: how it was started, and the last state of each task run."""

    run: RunDocument
    last: Mapping[_Place, StateDocument]
    sequences: Mapping[_Place, int]
    """How many documents there are of each task run."""
    cache_keys: Mapping[_Place, str]
    """Under which key the result of each task run was looked for, and is kept."""
    ended: frozenset[str]
    """The labels of the transactions that came to their end."""
    undone: Mapping[str, Mapping[_Place, int]]
    """The labels of those that start over, and how many documents there were of each task run when that was decided."""


def read_record(run_id: str, documents: Iterable[Document]) -> Record:
    """The record in *documents*, which are opened and in the order in which they were sent.

    Raises:
        UnknownRunError: there are none.
        NotResumableError: the run has ended, or is not recorded from its beginning.
    """
    run: RunDocument | None = None
    last: dict[_Place, StateDocument] = {}
    sequences: dict[_Place, int] = {}
    keys: dict[_Place, str] = {}
    ended: set[str] = set()
    undone: dict[str, Mapping[_Place, int]] = {}
    for document in documents:
        place = (document.task, document.map_index)
        sequences[place] = document.sequence + 1
        if isinstance(document, RunDocument):
            run = document
        elif isinstance(document, StateDocument) and not _was_called_off(last.get(place), document):
            last[place] = document
            if document.cache is None:
                continue
            if place != _RUN:
                keys[place] = document.cache.key
            elif document.cache.reason == STOPPED:
                undone[document.cache.key] = dict(sequences)
            else:
                ended.add(document.cache.key)
    if not sequences:
        raise UnknownRunError(run_id)
    if run is None:
        raise NotResumableError(run_id, "its beginning is not recorded")
    state = last.pop(_RUN, None)
    if state is not None and state.type in _ENDED:
        raise NotResumableError(run_id, f"it has ended, in the state {state.type}; start a new run")
    return Record(run, last, sequences, keys, frozenset(ended), undone)


def _was_called_off(waiting: StateDocument | None, document: StateDocument) -> bool:
    """True if *document* says no more than that the run was stopped while the task waited: it goes on waiting."""
    return document.type == "Cancelled" and waiting is not None and waiting.type in _WAITING


def deliver_first(project: Project, backend: Backend, run_id: str) -> None:
    """Bring to *backend* what the run could not, so that it goes on from its newest states.

    Raises:
        NotResumableError: that cannot be done.
    """
    for left in project.outbox.deliver(backend, run_id=run_id, seconds=_PATIENCE).left:
        raise NotResumableError(run_id, f"states of it wait in the outbox: {left.reason}")


def check_policy(run: RunDocument, policy: Policy, keyring: Keyring) -> None:
    """See that *run* can be gone on with under *policy*.

    Raises:
        NotResumableError: its parameters were not recorded as they were, or its tasks would be recorded by other names.
    """
    if "parameters" in run.withheld:
        raise NotResumableError(run.run_id, "its parameters were masked when they were recorded; start a new run")
    changed = [each for each in NAMES if run.policy.get(each, FIELDS[each].value) != policy[each].value]
    if changed:
        raise NotResumableError(run.run_id, f"the policy for egress.{changed[0]} has changed since; start a new run")
    if run.policy.get("key", keyring.primary) != keyring.primary:
        raise NotResumableError(run.run_id, "its tasks go by tokens of a key that is no longer the primary one")


def beginning(graph: Graph, tasks: tuple[Task, ...], run: Run, record: Record) -> Beginning:
    """Where *run* goes on: finished tasks are left alone, unless somebody needs a result that nobody kept."""
    record = _without_undone(graph, record)
    grouped = {task for each in graph.transactions for task in each.tasks}
    states: dict[_Place, tuple[State, int]] = {}
    children: dict[str, list[_Place]] = {}
    for place in record.last:
        if place[1] >= 0:
            children.setdefault(place[0], []).append(place)
    for task in tasks:
        for place in [(task.slug, -1), *children.get(task.slug, ())]:
            restored = _restore(task, run, place[1], record.last.get(place), may_search=task not in grouped)
            if restored is not None:
                states[place] = restored
        _restore_mapped(task, run, record, sorted(children.get(task.slug, ())), states)
    for task in reversed(tasks):
        if (task.slug, -1) in states and _is_missed(graph, task, states):
            del states[task.slug, -1]
    whole = {slug for slug, index in states if index < 0}
    # A child whose result nobody kept is of no use to a mapped task that is put together again.
    left = {place: it for place, it in states.items() if place[0] in whole or not _lacks_result(it[0])}

    def find_child(task: Task, index: int) -> State:
        # How many children there are is not known before their task is mapped again.
        is_known = (task.slug, index) in record.last
        found = None if is_known else _restore(task, run, index, None, may_search=task not in grouped)
        return Pending() if found is None else found[0]

    staged = {task: dict(_staged(task, record, left)) for task in grouped}
    return Beginning(left, find_child=find_child, transactions=Earlier(record.ended, staged))


def _without_undone(graph: Graph, record: Record) -> Record:
    """*record* without what the tasks of a transaction did that was rolled back since: they begin anew."""
    last = dict(record.last)
    for number, each in enumerate(graph.transactions):
        known = record.undone.get(label_of(graph.transactions, number), {})
        slugs = {task.slug for task in each.tasks}
        for place, count in known.items():
            if place[0] in slugs and record.sequences[place] == count:
                last.pop(place, None)
    return replace(record, last=last)


def _staged(task: Task, record: Record, states: Mapping[_Place, tuple[State, int]]) -> Iterator[tuple[str, Receipt]]:
    """Under which cache keys results of *task* become visible with its transaction, and where they are."""
    for place, key in record.cache_keys.items():
        if place[0] != task.slug or place not in states or not states[place][0].is_successful():
            continue
        kept = record.last[place].result
        if kept is not None and kept.handler == StoredHandler.id and isinstance(kept.reference, dict):
            yield key, Receipt(**kept.reference)


def _restore(
    task: Task, run: Run, map_index: int, document: StateDocument | None, *, may_search: bool
) -> tuple[State, int] | None:
    """The state to go on from; None if the task run is to begin anew."""
    if document is None or document.type in _AGAIN:
        # Its result may have been kept right before the end, and word of that not have got to the backend. In a
        # transaction that is of no use, since nobody knows what it was to become visible as.
        found = _found_in_storage(task, run, map_index) if may_search else None
        return None if found is None else (Success("its result was found in storage", result=found), 0)
    kind = STATE_TYPES.get(document.type)
    if kind is None or issubclass(kind, Mapped):
        return None
    if issubclass(kind, (Success, Failed)):
        return _finished(kind, task, run, document), document.run_count
    return _waiting(kind, task, run, document) if issubclass(kind, (Pending, Queued)) else None


def _waiting(kind: type[State], task: Task, run: Run, document: StateDocument) -> tuple[State, int]:
    inputs = {key: _result(task, run, kept, document) for key, kept in document.cached_inputs.items()}
    message, run_count = document.message, document.run_count
    at = datetime.now(UTC) if document.start_time is None else _moment(document.start_time)
    if issubclass(kind, Paused):
        return Resume(message, start_time=at, cached_inputs=inputs), run_count - 1
    if issubclass(kind, Queued):
        return Scheduled(message, cached_inputs=inputs), run_count
    return Retrying(message, start_time=at, run_count=run_count, cached_inputs=inputs), run_count


def _moment(at: int) -> datetime:
    try:
        return datetime.fromtimestamp(at / 1e6, UTC)
    except (OverflowError, ValueError, OSError):
        # The last moment of all, as a number, may be rounded beyond itself.
        return datetime.max.replace(tzinfo=UTC)


def _finished(kind: type[State], task: Task, run: Run, document: StateDocument) -> State:
    result: object = NoResult
    if document.result is not None:
        result = _result(task, run, document.result, document)
    elif issubclass(kind, Failed):
        error = document.error
        result = RecordedError(error.kind, error.message) if error else RecordedError("", document.message or "")
    return kind(document.message, result=result)


def _found_in_storage(task: Task, run: Run, map_index: int) -> Result | None:
    if task.result_storage_key is not None or not run.keeps(task):
        return None
    try:
        handler = run.handler(task, {})
        if not isinstance(handler, StoredHandler):
            return None
        slot = run.slot(task, map_index)
        reference = handler.find(slot)
    except StrongroomError:
        return None  # what cannot be looked up is computed again
    return None if reference is None else Result.from_reference(reference, handler, slot)


def _result(task: Task, run: Run, kept: KeptResult, document: StateDocument) -> Result:
    # A handler that the task holds is used rather than looked up: it may be nobody's plugin.
    try:
        own = run.handler(task, {}) if task.result_storage_key is None else None
    except StrongroomError:
        own = None
    if own is not None and own.id == kept.handler and own.can_read(kept.reference):
        slot = run.slot(task, document.map_index, kept.field)
        return Result.from_reference(kept.reference, own, slot)  # type: ignore[arg-type]  # JSON by contract
    return run.project.result(kept, document)


def _restore_mapped(
    task: Task, run: Run, record: Record, places: list[_Place], states: dict[_Place, tuple[State, int]]
) -> None:
    """Restore a mapped task as a whole, if all its children are finished."""
    document = record.last.get((task.slug, -1))
    if document is None or document.type != "Mapped":
        return
    children = [states[place][0] for place in places if place in states]
    if len(children) == len(places) and all(child.is_finished() for child in children):
        finished = tuple(children)
        lacking = any(_lacks_result(child) for child in finished)
        result = NoResult if lacking else Gathered(finished, run.handler(task))
        states[task.slug, -1] = Mapped(document.message, result=result, map_states=finished), document.run_count


def _has_result(state: State) -> bool:
    return state._result is not NoResult  # noqa: SLF001  # asking for its value would read it


def _lacks_result(state: State) -> bool:
    return state.is_successful() and not state.is_skipped() and not _has_result(state)


def _is_missed(graph: Graph, task: Task, states: Mapping[_Place, tuple[State, int]]) -> bool:
    """True if *task* has to run again although it is finished: what comes after it needs what it does not have."""
    state, _ = states[task.slug, -1]
    if not state.is_finished():
        return False
    # What waits for a task that runs again is judged by new states, so it runs again too, unless its result is kept.
    if not _has_result(state) and any((edge.upstream.slug, -1) not in states for edge in graph.edges_to(task)):
        return True
    if not _lacks_result(state):
        return False
    return any(_needs(edge, states) for edge in graph.edges_from(task) if edge.key is not None)


def _needs(edge: Edge, states: Mapping[_Place, tuple[State, int]]) -> bool:
    """True if the task that *edge* leads to will read what it brings: it will run, and has not kept that itself."""
    entry = states.get((edge.downstream.slug, -1))
    return entry is None or not (entry[0].is_finished() or edge.key in entry[0].cached_inputs)
