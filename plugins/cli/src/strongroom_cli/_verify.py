# SPDX-License-Identifier: Apache-2.0
"""Is the record of a run what was sent, all of it and in its order?"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from strongroom import Envelope
from strongroom.errors import SealError, UnknownRunError
from strongroom.states import STATE_TYPES, Finished
from strongroom_cli._errors import FAILED, complain, printable
from strongroom_cli._history import find_run, open_record
from strongroom_cli._output import Output, print_json
from strongroom_cli._unopened import complain_of_all, complain_of_keys, foreign_keys

if TYPE_CHECKING:
    from strongroom import Backend
    from strongroom.project import Chain, Project

__all__ = ["Break", "Verdict", "check", "verify"]


@dataclass(frozen=True, slots=True)
class Break:
    """A place where the record is not what was sent."""

    number: int
    """Which document of the run it is, from 1."""
    task: str
    map_index: int
    sequence: int
    type: str
    problem: str

    @property
    def line(self) -> str:
        """What to say of it."""
        whose = f"task {printable(self.task)!r}" if self.task else "the run itself"
        index = f"[{self.map_index}]" if self.map_index >= 0 else ""
        return f"document {self.number}, number {self.sequence} of {whose}{index}: {self.problem}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found out about the record of a run."""

    run_id: str
    documents: int
    breaks: tuple[Break, ...]
    keys: dict[str, int]
    """Which keys that are not here are named by documents that do not open, and by how many."""
    end: str
    """``known``: it is the end that this home remembers; ``closed``: the run's own end; ``open``: more may be missing;
    ``cut``: this home remembers more."""

    @property
    def is_whole(self) -> bool:
        """True if nothing is seen to be wrong."""
        return not self.breaks and self.end != "cut"


_ENDS = {
    "known": "it ends where this home saw it end",
    "closed": "it ends with the end of the run",
    "open": "the run has not ended, so nothing tells whether its newest documents are there",
    "cut": "its end is missing: this home has sent more of it",
}


def verify(run: str, *, as_json: bool) -> None:
    """Say whether the record of *run* is what was sent.

    Raises:
        SystemExit: it is not.
    """
    with open_record() as (project, backend):
        verdict = check(project, backend, find_run(project, backend, run))
        waits = sum(each.documents for each in project.outbox.waiting() if each.run_id == verdict.run_id)
    if as_json:
        print_json({**asdict(verdict), "whole": verdict.is_whole})
    else:
        said = "is as it was sent" if verdict.is_whole else "is not as it was sent"
        Output().line(f"the record of run {verdict.run_id} {said}: {verdict.documents} documents; {_ENDS[verdict.end]}")
    complain_of_all([each.line for each in verdict.breaks])
    complain_of_keys(verdict.keys)
    if verdict.end == "cut":
        complain(f"{waits} documents at its end wait in the outbox of this home" if waits else _ENDS["cut"])
    if not verdict.is_whole:
        raise SystemExit(FAILED)


def check(project: Project, backend: Backend, run_id: str) -> Verdict:
    """Follow all documents of a run from the first to the last.

    Raises:
        UnknownRunError: there are none.
    """
    chain, breaks, unopened, number, last = project.chain(run_id), [], list[Envelope](), 0, ""
    for number, envelope in enumerate(project.envelopes(backend, run_id), 1):  # how many there were
        follows, opens = chain.follow(envelope), _opens(project, envelope)
        problem = _problem(run_id, envelope, opens=opens, follows=follows)
        if problem:
            breaks.append(_break(number, envelope, problem))
        if not opens:
            unopened.append(envelope)
        if envelope.kind != "log":  # lines of logs may come after the end
            last = envelope.type if not envelope.task and not problem else ""
    if not number:
        raise UnknownRunError(run_id)
    keys = foreign_keys(project, unopened) if unopened else {}
    return Verdict(run_id, number, tuple(breaks), keys, _end(chain, last))


def _end(chain: Chain, last: str) -> str:
    if chain.is_cut:
        return "cut"
    if chain.is_at_known:
        return "known"
    return "closed" if issubclass(STATE_TYPES.get(last, object), Finished) else "open"


def _opens(project: Project, envelope: Envelope) -> bool:
    try:
        project.open_document(envelope)
    except SealError:
        return False
    return True


def _problem(run_id: str, envelope: Envelope, *, opens: bool, follows: bool) -> str:
    if not opens:
        return "it does not open: it was changed, or is sealed with a key that is not here"
    if envelope.run_id != run_id:
        return "it is of another run"
    return "" if follows else "it does not follow the one before it: something was left out, put in or put elsewhere"


def _break(number: int, envelope: Envelope, problem: str) -> Break:
    return Break(number, envelope.task, envelope.map_index, envelope.sequence, envelope.type, problem)
