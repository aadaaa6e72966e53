# SPDX-License-Identifier: Apache-2.0
"""Runs flows with secrets in them, and is killed in the middle of each; a program of its own, run by test_canaries.py.

Each run is a fork of this process, which has imported everything. Another fork then goes on with the run.
"""

from __future__ import annotations

import faulthandler
import os
import pickle
import sys
from typing import TYPE_CHECKING

from strongroom import Keyring
from strongroom.project import Project

from .leaky_ends import dies
from .seals import seal_nothing

if TYPE_CHECKING:
    from .surfaces import Told


def go(told: Told, *, for_good: bool) -> None:
    """Run the flow that dies, or go on with the run that was."""
    flow, parameters = dies(told, for_good=for_good)
    if for_good:
        flow.run(parameters)
        return
    project = Project.open()
    with project.open_backend() as backend:
        # What was not sent yet when that process died has outlived it.
        project.outbox.deliver(backend, seconds=60)
        run = backend.runs(limit=1)[0]
    flow.resume(run)


def in_a_fork(told: Told, *, for_good: bool) -> int:
    """Do that in a process of its own; what ended it is what this returns."""
    pid = os.fork()
    if not pid:
        # One that waits for ever says where each of its threads is, and fails.
        faulthandler.dump_traceback_later(120, exit=True)
        try:
            go(told, for_good=for_good)
        finally:
            os._exit(0)
    return os.waitpid(pid, 0)[1]


if __name__ == "__main__":
    if sys.argv[1] == "open":
        Keyring.seal, Keyring.open = seal_nothing()  # type: ignore[method-assign, assignment]
    for each in pickle.load(sys.stdin.buffer):
        print(in_a_fork(each, for_good=True), in_a_fork(each, for_good=False), flush=True)  # noqa: T201
