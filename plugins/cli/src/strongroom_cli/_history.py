# SPDX-License-Identifier: Apache-2.0
"""What does the backend have of a run, opened as far as it can be opened?"""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from strongroom.documents import RunDocument, StateDocument
from strongroom.errors import NotSupportedError, SealError, UnknownRunError
from strongroom.project import Project
from strongroom.states import STATE_TYPES, Finished, Running
from strongroom_cli._errors import CommandError
from strongroom_cli._outbox import deliver_what_waits

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from strongroom import Backend, Envelope
    from strongroom.documents import Document

__all__ = ["History", "TaskHistory", "find_run", "open_record", "read_history", "short_id"]

_SHORTEST = 8
_LISTED = 10


@contextmanager
def open_record() -> Iterator[tuple[Project, Backend]]:
    """The project, and its backend with what former runs left there, or could not bring there until now.

    Raises:
        NotSupportedError: the backend does not outlive a run.
    """
    project = Project.open()
    if project.backend_id == "memory":
        raise NotSupportedError(
            "looking at runs whose record was kept in memory", instead="to keep it: pip install strongroom-sql"
        )
    with project.open_backend() as backend:
        deliver_what_waits(project, backend)
        yield project, backend


def find_run(project: Project, backend: Backend, text: str) -> str:
    """The id of the run that *text* means: an id, the beginning of one, or ``last``.

    Raises:
        UnknownRunError: there is none.
        CommandError: there are several.
    """
    prefix = "" if text == "last" else text.lower()
    if not text:
        raise UnknownRunError(text)
    found = project.runs(backend, prefix=prefix, limit=1 if text == "last" else _LISTED + 1)
    if not found:
        raise UnknownRunError(text)
    if len(found) > 1:
        more = "" if len(found) <= _LISTED else " and more"
        raise CommandError(f"several runs begin with {text!r}: {', '.join(found[:_LISTED])}{more}")
    return found[0]


def short_id(project: Project, backend: Backend, run_id: str) -> str:
    """The shortest beginning of *run_id*, from 8 digits on, that means no other run."""
    for length in range(_SHORTEST, len(run_id)):
        if len(project.runs(backend, prefix=run_id[:length], limit=2)) == 1:
            return run_id[:length]
    return run_id


@dataclass(frozen=True, slots=True)
class TaskHistory:
    """The states of one task, or of one child of a mapped task, in their order; also those of the run itself."""

    task: str
    map_index: int
    states: tuple[StateDocument, ...]

    @property
    def label(self) -> str:
        """What it is called on the screen."""
        return self.task if self.map_index < 0 else f"{self.task}[{self.map_index}]"

    @property
    def state(self) -> str:
        """The type of the newest state."""
        return self.states[-1].type if self.states else "Pending"

    @property
    def started(self) -> int | None:
        """When it was first started, in microseconds since 1970-01-01 UTC."""
        return next((each.at for each in self.states if _is(each.type, Running)), None)

    @property
    def seconds(self) -> float | None:
        """From its first start to its newest finished state; None without one of them."""
        end = self.states[-1] if self.states and _is(self.states[-1].type, Finished) else None
        return (end.at - self.started) / 1e6 if end is not None and self.started is not None else None

    @property
    def run_count(self) -> int:
        """How often it was started."""
        return max((each.run_count for each in self.states), default=0)


@dataclass(frozen=True, slots=True)
class History:
    """One run, as far as its documents open."""

    run_id: str
    opening: RunDocument | None
    run: TaskHistory
    tasks: tuple[TaskHistory, ...]
    unopened: tuple[Envelope, ...]
    """What is not what was sent."""
    missing: int
    """How many documents must have been there, since later ones are."""

    @property
    def is_whole(self) -> bool:
        """True if nothing is seen to be changed or missing."""
        return self.opening is not None and not self.unopened and not self.missing

    @property
    def is_finished(self) -> bool:
        """True if the run came to an end, rather than that nobody knows of one."""
        return _is(self.run.state, Finished)

    @property
    def last(self) -> int | None:
        """When the newest document of all was made."""
        times = [state.at for each in (self.run, *self.tasks) for state in each.states]
        return max(times, default=self.opening.at if self.opening else None)

    @property
    def seconds(self) -> float | None:
        """From the beginning of the run to its end; None if it has no end."""
        if self.opening is None or not self.is_finished:
            return None
        return (self.run.states[-1].at - self.opening.at) / 1e6

    def to_json(self) -> dict[str, object]:
        """What `runs` and `show` both tell programs of it."""
        return {
            "run_id": self.run_id,
            "flow": self.opening.name if self.opening else None,
            "state": self.run.state,
            "started": self.opening.at if self.opening else None,
            "last": self.last,
            "seconds": self.seconds,
        }

    def counts(self) -> Counter[str]:
        """How many tasks are in a state of each type."""
        return Counter(each.state for each in self.tasks)


def read_history(project: Project, backend: Backend, run_id: str, *, task: str | None = None) -> History:
    """What *backend* has of a run, or of one task of it.

    Raises:
        UnknownRunError: it has nothing.
    """
    documents: list[Document] = []
    unopened: list[Envelope] = []
    for envelope in project.envelopes(backend, run_id, task=task):
        try:
            document = project.open_document(envelope)
        except SealError:
            document = None
        # What is authentic but of another run or task was put in the place of what was asked for.
        if document is None or document.run_id != run_id or (task is not None and document.task != task):
            unopened.append(envelope)
        else:
            documents.append(document)
    if not documents and not unopened and task is None:
        raise UnknownRunError(run_id)
    return _history(run_id, documents, unopened)


def _history(run_id: str, documents: Sequence[Document], unopened: Sequence[Envelope]) -> History:
    places: dict[tuple[str, int], dict[int, Document]] = {}
    for document in documents:
        places.setdefault((document.task, document.map_index), {})[document.sequence] = document
    # A document that does not open may still stand for the one that is not there.
    claimed = {(each.task, each.map_index, each.sequence) for each in unopened}
    missing = sum(
        (*place, number) not in claimed
        for place, found in places.items()
        for number in set(range(max(found))) - set(found)
    )
    run = places.pop(("", -1), {})
    # Lines of logs are no states: see `strongroom logs`.
    places.pop(("", -2), None)
    opening = next((each for each in run.values() if isinstance(each, RunDocument)), None)
    order = {slug: number for number, slug in enumerate(opening.tasks if opening else ())}
    for slug in order.keys() - {task for task, _ in places}:
        places[slug, -1] = {}
    tasks = sorted(places, key=lambda place: (order.get(place[0], len(order)), place))
    return History(
        run_id,
        opening,
        _states("", -1, run),
        tuple(_states(*place, places[place]) for place in tasks),
        tuple(unopened),
        missing,
    )


def _states(task: str, map_index: int, found: Mapping[int, Document]) -> TaskHistory:
    states = (found[number] for number in sorted(found))
    return TaskHistory(task, map_index, tuple(each for each in states if isinstance(each, StateDocument)))


def _is(type_: str, kind: type) -> bool:
    return type_ in STATE_TYPES and issubclass(STATE_TYPES[type_], kind)
