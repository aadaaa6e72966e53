# SPDX-License-Identifier: Apache-2.0
"""Does anything still need an old key, and how is it removed if nothing does?"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from strongroom.documents import StateDocument
from strongroom.errors import SealError
from strongroom.keyring import sealed_with
from strongroom.project import Project
from strongroom_cli._errors import FAILED, CommandError, complain
from strongroom_cli._keys import changeable, source_of
from strongroom_cli._output import Output, print_json
from strongroom_cli._paths import local_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from strongroom.abc import Envelope
    from strongroom.keyring import Keyring
    from strongroom.project import Whereabouts

__all__ = ["retire"]

_ALL = 1 << 62


@dataclass(frozen=True, slots=True)
class _Needs:
    """What cannot be read without a key."""

    looked_at: Sequence[str]
    """The URLs of the storages that are known here: there may be others."""
    records: Mapping[str, int]
    """The URL of a storage -> how many records are tagged with the key."""
    documents: int
    """Those that are sealed with it, or hold a reference that is."""
    runs: int
    opaque: Sequence[str]
    """The ids of result handlers that alone know where results lie."""

    @property
    def of_runs(self) -> str:
        """The documents, counted."""
        return f"{self.documents} document{'s' * (self.documents > 1)} of {self.runs} run{'s' * (self.runs > 1)}"

    @property
    def said(self) -> str:
        """All of it, and the way out of it."""
        parts = []
        if self.records:
            where = ", ".join(f"{count} in {local_path(url)}" for url, count in sorted(self.records.items()))
            parts.append(
                f"records ({where}): `strongroom keys rewrite --storage URL` brings them to the one that seals"
            )
        if self.documents:
            parts.append(f"{self.of_runs}, which stay as they were sent: with --force nobody can ever open these again")
        if self.opaque:
            parts.append(
                f"whatever handlers that alone can tell have kept with it ({', '.join(self.opaque)}): name their "
                "storages with --storage, and add --force if there is nothing else"
            )
        return "; and by ".join(parts)


def retire(key: str, storages: Sequence[str], *, force: bool, as_json: bool) -> None:
    """Remove *key* from where the keys are, unless something needs it, or may need it where nobody can look.

    *force* gives up documents and what cannot be looked at, never records.

    Raises:
        CommandError: there is no such key, it seals, or it cannot be removed.
        SystemExit: something needs it, or may need it.
    """
    project = Project.open()
    keyring = project.keyring
    source = changeable(source_of(keyring))
    key_id = _full(key, keyring)
    if key_id == keyring.primary:
        raise CommandError(f"the key {key_id} seals; let a new one do that first: strongroom keys rotate")
    if waiting := project.outbox.waiting():
        # They are in no backend yet, and sealed with whatever key sealed when they were made.
        runs = f"{len(waiting)} run{'s' * (len(waiting) > 1)}"
        raise CommandError(f"documents of {runs} wait in the outbox; deliver them first: strongroom outbox deliver")
    # All looking comes before the one change, which is whole or not at all: so this may be stopped at any point.
    needs = _look(project, key_id, storages)
    goes = not needs.records and (force or not (needs.documents or needs.opaque))
    if goes:
        source.remove(key_id)
    if as_json:
        found = {"records": dict(needs.records), "documents": needs.documents, "runs": needs.runs}
        found |= {"storages": list(needs.looked_at), "opaque": list(needs.opaque)}
        print_json({"key": key_id, "retired": goes, "primary": keyring.primary, **found})
    elif goes:
        lost = f"; what nobody can ever open again: {needs.of_runs}" if needs.documents else ""
        output = Output()
        output.line(f"the key {key_id} is gone{lost}")
        output.line(
            f"no record in {', '.join(map(local_path, needs.looked_at))} needed it; no other storage was looked at"
        )
        output.line("a process that began before the rotation still seals with it: what that writes, nobody can open")
        if needs.opaque:
            output.line(f"where results lie that these handlers keep is known to them only: {', '.join(needs.opaque)}")
    else:
        complain(f"the key {key_id} was left where it is: it is needed by {needs.said}")
    if not goes:
        raise SystemExit(FAILED)


def _full(key: str, keyring: Keyring) -> str:
    found = [each for each in keyring.ids if key and each.startswith(key)]
    if len(found) != 1:
        what = f"{len(found)} keys begin" if found else "no key begins"
        raise CommandError(f"{what} with {key!r}; `strongroom keys show` lists them")
    return found[0]


def _look(project: Project, key_id: str, storages: Sequence[str]) -> _Needs:
    places = dict.fromkeys([project.store().url, *(project.store(url).url for url in storages)])
    of_runs, opaque = Counter[str](), set[str]()
    for envelope in _envelopes(project):
        found = list(_results(project, envelope))
        # A reference within a document may be older than the document, and sealed with another key.
        if key_id in (sealed_with(envelope.sealed), *(key for each in found for key in each.sealed_with)):
            of_runs[envelope.run_id] += 1
        # What a task has kept in a storage of its own may need the key, whichever sealed the word of it.
        places.update(dict.fromkeys(each.storage for each in found if each.storage))
        opaque.update(each.opaque for each in found if each.opaque)
    records = {url: sum(1 for _ in project.store(url).former(key_id)) for url in places}
    needed = {url: count for url, count in records.items() if count}
    return _Needs(tuple(places), needed, of_runs.total(), len(of_runs), tuple(sorted(opaque)))


def _envelopes(project: Project) -> Iterator[Envelope]:
    if project.backend_id == "memory":
        return
    with project.open_backend() as backend:
        for run_id in project.runs(backend, limit=_ALL):
            yield from project.envelopes(backend, run_id)


def _results(project: Project, envelope: Envelope) -> Iterator[Whereabouts]:
    try:
        document = project.open_document(envelope)
    except SealError:
        # Sealed with a key that is gone, or changed: it leads nowhere any more.
        return
    if not isinstance(document, StateDocument):
        return
    for kept in [*document.cached_inputs.values(), *([document.result] if document.result else [])]:
        yield project.whereabouts(kept, document)
