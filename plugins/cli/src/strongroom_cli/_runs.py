# SPDX-License-Identifier: Apache-2.0
"""Which runs were there?"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from strongroom.errors import UnknownRunError
from strongroom_cli._history import History, TaskHistory, open_record, read_history, short_id
from strongroom_cli._output import Output, duration, moment, print_json, state_text

if TYPE_CHECKING:
    from rich.text import Text

    from strongroom import Backend
    from strongroom.project import Project

__all__ = ["runs"]


def runs(limit: int, *, as_json: bool) -> None:
    """Print the newest *limit* runs, the newest first."""
    with open_record() as (project, backend):
        ids = project.runs(backend, limit=limit)
        if as_json:
            print_json([_json(_history(project, backend, run_id)) for run_id in ids])
            return
        rows = [_cells(_history(project, backend, run_id), short_id(project, backend, run_id)) for run_id in ids]
    output = Output()
    if rows:
        output.table(("run", "flow", "state", "started", "time", "tasks"), rows, right=("time",))
    else:
        output.line("there are no runs yet; to make the first: strongroom run FILE.py")


def _history(project: Project, backend: Backend, run_id: str) -> History:
    try:
        return read_history(project, backend, run_id)
    except UnknownRunError:
        # The backend named it, and has nothing of it: that is no reason to hide the others.
        return History(run_id, None, TaskHistory("", -1, ()), (), (), 0)


def _cells(history: History, run_id: str) -> tuple[str | Text, ...]:
    opening = history.opening
    tasks = [f"{count} {name}" for name, count in sorted(history.counts().items())]
    if not history.is_finished and history.last is not None:
        # The process may be at work or dead: nobody here can know, so say what is known.
        tasks.append(f"last heard of {duration(time.time() - history.last / 1e6)} ago")
    if not history.is_whole:
        tasks.append("not all of it is as it was sent: see `strongroom show`")
    return (
        run_id,
        opening.name if opening else "?",
        state_text(history.run.state),
        moment(opening.at) if opening else "?",
        duration(history.seconds),
        ", ".join(tasks),
    )


def _json(history: History) -> dict[str, object]:
    return {**history.to_json(), "tasks": dict(sorted(history.counts().items())), "whole": history.is_whole}
