# SPDX-License-Identifier: Apache-2.0
"""Which stored results does somebody refer to, as far as a backend knows?"""

from __future__ import annotations

import secrets
from contextlib import contextmanager
from typing import TYPE_CHECKING

from strongroom._garbage import RunReferences
from strongroom._recorder import LOG_INDEX
from strongroom._whereabouts import whereabouts
from strongroom.abc import SupportsLeases
from strongroom.documents import StateDocument
from strongroom.errors import ReferencesError, SealError, StrongroomError
from strongroom.states import STATE_TYPES, Finished

if TYPE_CHECKING:
    from collections.abc import Iterator

    from strongroom.abc import Backend
    from strongroom.documents import Document
    from strongroom.project import Project

__all__ = ["BackendReferences"]

_ALL = 1 << 62
# As for resumption: a run that ended in any other state can be gone on with.
_ENDED = frozenset({"Success", "Failed"})
_SECONDS = 60.0


class BackendReferences:
    """What the runs and transactions of a project refer to.

    It fails closed: what does not open or is missing, as far as that can be seen, is an error, and where a plugin keeps
    results in its own way, all that its run has written is in use. A backend that hides the newest documents of a run,
    or a whole run, is not seen through here; a run that it does not know is left alone.
    """

    def __init__(self, project: Project, backend: Backend) -> None:
        self._project = project
        self._backend = backend

    def __iter__(self) -> Iterator[RunReferences]:
        for run_id in self._project.runs(self._backend, limit=_ALL):
            yield self._of_run(run_id)
        yield RunReferences("", frozenset(self._of_transactions()), goes_on=False)

    @contextmanager
    def turn(self, storage: str, key: str) -> Iterator[bool]:
        """A ``with`` block in which no task of a known run writes the cached result *key*; False if one is at it."""
        if not isinstance(self._backend, SupportsLeases):
            yield True
            return
        # The name under which `_task_cache` waits for its turn.
        name = self._project.keyring.lease("turn", storage, key)
        lease = self._backend.acquire(name, secrets.token_hex(16), seconds=_SECONDS)
        try:
            yield lease is not None
        finally:
            if lease is not None:
                self._backend.release(lease)

    def _of_run(self, run_id: str) -> RunReferences:
        keys, opaque = set[str](), False
        newest: dict[tuple[str, int], Document] = {}
        try:
            for document in self._project.documents(self._backend, run_id):
                place = (document.task, document.map_index)
                before = newest.get(place)
                if document.sequence != (before.sequence + 1 if before else 0):
                    raise ReferencesError(run_id, "a document is missing")
                newest[place] = document
                if isinstance(document, StateDocument):
                    results = [*document.cached_inputs.values(), *([document.result] if document.result else [])]
                    places = [whereabouts(kept, document, self._project) for kept in results]
                    keys.update(place.key for place in places if place.key)
                    # What a plugin kept from leaving may have been a reference.
                    hidden = not {"result", "cached_inputs"}.isdisjoint(document.withheld)
                    opaque = opaque or hidden or any(place.opaque for place in places)
        except SealError:
            # Its link to the one before it does not hold where one was taken away, either.
            raise ReferencesError(run_id, "a document does not open, or is missing") from None
        last = {place: document.type for place, document in newest.items()}
        last.pop(("", LOG_INDEX), None)
        ended = last.pop(("", -1), "") in _ENDED and all(map(_is_finished, last.values()))
        return RunReferences(run_id, frozenset(keys), goes_on=opaque or not ended, opaque=opaque and ended)

    def _of_transactions(self) -> Iterator[str]:
        """What the last commits made visible: a run that begins now may find it there."""
        store = self._project.receipts()
        for entry in store.list("transactions"):
            try:
                found = store.read(entry.key).result
            except StrongroomError as exc:
                raise ReferencesError(entry.key, str(exc)) from exc
            assert isinstance(found, dict)  # noqa: S101  # what the serializer reads
            yield from (receipt.key for receipt in found.values())


def _is_finished(type_: str) -> bool:
    return type_ in STATE_TYPES and issubclass(STATE_TYPES[type_], Finished)
