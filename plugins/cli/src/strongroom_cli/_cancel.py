# SPDX-License-Identifier: Apache-2.0
"""How is a run stopped from another terminal?"""

from __future__ import annotations

from strongroom import cancel_run
from strongroom_cli._history import find_run, open_record
from strongroom_cli._output import Output, print_json

__all__ = ["cancel"]


def cancel(run: str, *, seconds: float, as_json: bool) -> None:
    """Stop *run*, and say when it has stopped.

    Raises:
        BackendError: it is not running, or has not stopped within so many *seconds*.
    """
    say = _nothing if as_json else Output().line
    with open_record() as (project, backend):
        run_id = find_run(project, backend, run)
        waits = f"run {run_id} is told to stop; it does when the tasks that it runs have ended"
        cancel_run(run_id, backend=backend, seconds=seconds, told=lambda: say(waits))
    say(f"run {run_id}: Cancelled; `strongroom resume` goes on with it")
    if as_json:
        print_json({"run_id": run_id, "state": "Cancelled"})


def _nothing(_: str) -> None:
    return
