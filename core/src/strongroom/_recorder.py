# SPDX-License-Identifier: Apache-2.0
"""How does a state become a document?"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from strongroom._error_info import error_info
from strongroom._heads import note_head
from strongroom._interrupts import RunEnds
from strongroom._links import Links
from strongroom._memory_backend import MemoryBackend
from strongroom.documents import KeptResult, LogDocument, RunDocument, StateDocument
from strongroom.secret import Secret
from strongroom.states import STATE_TYPES, Cached, Paused, Queued, Running, Scheduled, Success

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime

    from strongroom._egress import Gate
    from strongroom.abc import Backend, Envelope
    from strongroom.documents import CacheInfo, LogLine
    from strongroom.project import Project
    from strongroom.results import Result
    from strongroom.states import State

__all__ = ["LOG_INDEX", "Recorder", "SharedRecorder", "StateRecorder", "linked"]

LOG_INDEX = -2
"""The map index of lines of logs, which are no task's states."""

# No failures, and nothing that waits.
_PLAIN = frozenset({Cached, Running, Success})

_NAMES = {kind: name for name, kind in STATE_TYPES.items()}

_log = logging.getLogger("strongroom")


class Recorder:
    """Writes down one run, state by state, numbering the states of each task."""

    def __init__(
        self,
        gate: Gate,
        run_id: str,
        *,
        sequences: Mapping[tuple[str, int], int] | None = None,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._gate = gate
        self._run_id = run_id
        self._clock = clock
        # A run that is resumed goes on counting where it stopped.
        self._sequences = dict(sequences or {})

    @property
    def has_begun(self) -> bool:
        """True once it is written down that there is this run."""
        return ("", -1) in self._sequences

    def leave_others(self) -> None:
        """Write down nothing more of what other threads say; there are none."""

    def run(self, flow_name: str, run_name: str, parameters: Mapping[str, object], tasks: tuple[str, ...]) -> None:
        """Write down that the run begins.

        Raises:
            EgressError: a plugin did not let it out.
        """
        self._gate.send(
            RunDocument(
                run_id=self._run_id,
                sequence=self._sequences.get(("", -1), 0),
                name=flow_name,
                at=self._clock() // 1000,
                run_name=run_name,
                parameters={name: value for name, value in parameters.items() if not isinstance(value, Secret)},
                secrets={name: value.name for name, value in parameters.items() if isinstance(value, Secret)},
                tasks=tasks,
            )
        )
        self._sequences["", -1] = 1

    def state(
        self,
        state: State,
        *,
        task: str = "",
        name: str,
        run_count: int = 0,
        map_index: int = -1,
        task_run_name: str = "",
        tags: tuple[str, ...] = (),
        cache: CacheInfo | None = None,
    ) -> None:
        """Write down that a task, or with an empty *task* the flow, has come into *state*.

        Raises:
            EgressError: a plugin did not let it out.
        """
        result = state._result  # noqa: SLF001  # the reference, not the value
        sequence = self._sequences.get((task, map_index), 0)
        # What most states have not is added by itself: with more than 15 names, Python makes a dictionary for the call.
        document = StateDocument(
            run_id=self._run_id,
            task=task,
            map_index=map_index,
            sequence=sequence,
            name=name,
            type=_NAMES.get(type(state)) or _name_of_ours(type(state)),
            at=self._clock() // 1000,
            run_count=run_count,
            message=state.message,
            result=_kept(result) if result.serialized else None,
            task_run_name=task_run_name,
            tags=tags,
            cache=cache,
        )
        # Nearly all states are such.
        if (type(state) not in _PLAIN or state.cached_inputs) and (more := _more(state, result, task)):
            document = msgspec.structs.replace(document, **more)
        self._gate.send(document)
        # Only now: a document that was not let out leaves no gap.
        self._sequences[task, map_index] = sequence + 1

    def log(self, lines: tuple[LogLine, ...]) -> None:
        """Write down what tasks logged. Not to be called by two threads at once.

        Raises:
            EgressError: a plugin did not let it out.
        """
        sequence = self._sequences.get(("", LOG_INDEX), 0)
        at = self._clock() // 1000
        self._gate.send(LogDocument(run_id=self._run_id, map_index=LOG_INDEX, sequence=sequence, at=at, lines=lines))
        self._sequences["", LOG_INDEX] = sequence + 1


class StateRecorder(Protocol):
    """What tasks need of a recorder; see `Recorder`."""

    @property
    def has_begun(self) -> bool: ...

    def state(
        self,
        state: State,
        *,
        task: str = "",
        name: str,
        run_count: int = 0,
        map_index: int = -1,
        task_run_name: str = "",
        tags: tuple[str, ...] = (),
        cache: CacheInfo | None = None,
    ) -> None: ...

    def leave_others(self) -> None: ...


class SharedRecorder:
    """A recorder for tasks in threads, which may be left behind."""

    def __init__(self, inner: StateRecorder) -> None:
        self._inner = inner
        self._lock = threading.Lock()
        self._only = 0

    @property
    def has_begun(self) -> bool:
        """As that of the recorder within."""
        return self._inner.has_begun

    def state(self, state: State, *, name: str, **about: Any) -> None:  # noqa: ANN401  # as above
        """Write down that *name* has come into *state*, one thread after the other.

        Raises:
            EgressError: a plugin did not let it out.
        """
        # Beside the numbers of the states: whoever is left behind must not take one that is given to another state.
        with self._lock:
            if self._only not in {0, threading.get_ident()}:
                raise RunEnds
            self._inner.state(state, name=name, **about)

    def leave_others(self) -> None:
        """From now on write down nothing but what this thread says; whatever others are just writing is finished."""
        with self._lock:
            self._only = threading.get_ident()


def _more(state: State, result: Result, task: str) -> dict[str, Any]:
    """The fields of a failure, and of a state that will be run again."""
    fields: dict[str, Any] = {}
    failure = result.value if result.in_memory else None
    if isinstance(failure, BaseException):
        fields |= {"error_id": _log_error(failure, task), "error": error_info(failure)}
    if state.cached_inputs:
        kept = {key: _kept(each) for key, each in state.cached_inputs.items() if each.serialized}
        fields["cached_inputs"] = kept
    if isinstance(state, (Scheduled, Paused, Queued)):
        fields["start_time"] = _microseconds(state.start_time)
    return fields


def _name_of_ours(kind: type[State]) -> str:
    """Which of our types a state of the user's own type is of: the name of that one may say anything, and is seen."""
    return next(_NAMES[each] for each in kind.__mro__ if each in _NAMES)


def _microseconds(time: datetime | None) -> int | None:
    return None if time is None else int(time.timestamp() * 1e6)


def _log_error(error: BaseException, task: str) -> str:
    """A random id for *error*, which the local log has beside its text."""
    error_id = secrets.token_hex(8)
    _log.info("error %s in %s", error_id, task or "the run", exc_info=error)
    return error_id


def _kept(result: Result) -> KeptResult:
    assert result.handler is not None  # noqa: S101  # serialized results have both
    assert result.slot is not None  # noqa: S101
    return KeptResult(result.handler.id, result.reference, result.slot.field, result.slot.task)


@contextmanager
def linked(
    project: Project, backend: Backend, run_id: str, put: Callable[[Envelope], None], head: bytes | None
) -> Iterator[Callable[[Envelope], None]]:
    """A *put* that links each document of the run to the one before it; what the last one is stays known here."""
    links = Links(project.keyring, put, head)
    before = links.head
    try:
        yield links.put
    finally:
        if links.head != before and backend.id != MemoryBackend.id:
            _note(project, run_id, links.head)


def _note(project: Project, run_id: str, head: bytes) -> None:
    try:
        note_head(project.home, run_id, head)
    except OSError as exc:
        # The run is over, and all of it is recorded.
        what = f"how far the record of the run {run_id} goes is not noted in {str(project.home)!r}"
        _log.warning("%s, so nobody will miss its end: %s", what, exc.strerror)
