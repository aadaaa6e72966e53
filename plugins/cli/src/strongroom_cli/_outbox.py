# SPDX-License-Identifier: Apache-2.0
"""What waits on this machine to be delivered to its backend, and how does it get there?"""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING

from strongroom.errors import BackendUnavailableError
from strongroom.project import Project
from strongroom_cli._errors import FAILED, CommandError, complain, printable
from strongroom_cli._output import Output, duration, print_json, size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from strongroom import Backend
    from strongroom.project import Waiting

__all__ = ["deliver", "deliver_what_waits", "discard", "show"]


def show(*, as_json: bool) -> None:
    """Print what waits, the oldest first."""
    waiting = Project.open().outbox.waiting()
    if as_json:
        print_json([asdict(each) for each in waiting])
        return
    output = Output()
    if not waiting:
        output.line("nothing waits in the outbox")
        return
    heads = ("run", "documents", "size", "since", "for")
    output.table(heads, [_cells(each) for each in waiting], right=("documents", "size"))


def deliver(*, as_json: bool) -> None:
    """Deliver what waits for the backend of the settings.

    Raises:
        SystemExit: not all of it could be delivered.
    """
    project = Project.open()
    with project.open_backend() as backend, _progress() as moved:
        delivered = project.outbox.deliver(backend, moved=moved)
    others = [each for each in project.outbox.waiting() if each.run_id not in {left.run_id for left in delivered.left}]
    if as_json:
        print_json({**asdict(delivered), "waiting": [asdict(each) for each in others]})
    else:
        Output().line(f"{_count(delivered.documents)} delivered")
    for left in delivered.left:
        complain(f"run {left.run_id}: {left.reason}")
    for each in others:
        print(f"strongroom: run {each.run_id}: {_why_not(each)}", file=sys.stderr)  # noqa: T201
    if delivered.left:
        raise SystemExit(FAILED)


def discard(run_id: str) -> None:
    """Throw away what waits of a run.

    Raises:
        CommandError: nothing of it waits.
    """
    outbox = Project.open().outbox
    if run_id not in {each.run_id for each in outbox.waiting()}:
        raise CommandError(f"nothing of a run {run_id!r} waits in the outbox; `strongroom outbox` shows what does")
    outbox.discard(run_id)
    Output().line(f"what waited of the run {run_id} was thrown away")


def deliver_what_waits(project: Project, backend: Backend) -> None:
    """Deliver what waits for *backend*; what cannot be delivered is said, and no reason to stop."""
    try:
        with _progress() as moved:
            left = project.outbox.deliver(backend, moved=moved).left
    except BackendUnavailableError as exc:
        _warn(f"what waits in the outbox is not delivered: {exc}")
        return
    for each in left:
        _warn(f"what waits of the run {each.run_id} is not delivered: {each.reason}")


def _cells(each: Waiting) -> tuple[str, ...]:
    whose = each.address or each.backend or "-"
    note = each.problem or (_why_not(each) if each.is_busy else "")
    since = f"{duration(time.time() - each.since / 1e6)} ago"
    return each.run_id, str(each.documents), size(each.size), since, whose, note


def _why_not(each: Waiting) -> str:
    if each.is_busy:
        return "a process that runs has it, and delivers it"
    return f"it waits for another backend: {each.address or each.backend}"


def _count(number: int) -> str:
    return f"{number} document" if number == 1 else f"{number} documents"


def _warn(message: str) -> None:
    print(f"strongroom: warning: {printable(message)}", file=sys.stderr)  # noqa: T201


@contextmanager
def _progress() -> Iterator[Callable[[int], None]]:
    """What counts on the terminal; nothing is shown where nobody looks."""
    watched, number = sys.stderr.isatty(), 0

    def moved(documents: int) -> None:
        nonlocal number
        number += documents
        if watched:
            sys.stderr.write(f"\r{number} documents delivered from the outbox")
            sys.stderr.flush()

    try:
        yield moved
    finally:
        if watched and number:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
