# SPDX-License-Identifier: Apache-2.0
"""Who goes on with a run that was killed does not wait for its lease where it is certain that nobody works on it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from strongroom import cancel_run
from strongroom.errors import BackendError
from strongroom.project import Project

PROGRAM = [sys.executable, str(Path(__file__).with_name("stubborn_runs.py")), "sync", "sleeps"]


@pytest.fixture
def killed() -> str:
    with subprocess.Popen(PROGRAM, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"begun\n"
        process.kill()
    project = Project.open()
    with project.open_backend() as backend:
        project.outbox.deliver(backend, seconds=60)
        (run_id,) = backend.runs()
    return run_id


def test_a_run_that_was_killed_here_goes_on_at_once(killed: str) -> None:
    done = subprocess.run([*PROGRAM, killed, "now"], capture_output=True, text=True, check=False, timeout=240)

    assert (done.returncode, done.stderr) == (0, "")


def test_elsewhere_whoever_resumes_it_is_told_what_he_waits_for_and_until_when(killed: str, isolated: Path) -> None:
    # As on another machine, which cannot see who lives here.
    shutil.rmtree(isolated / "running")

    with subprocess.Popen([*PROGRAM, killed, "now"], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        process.kill()

    assert line.startswith(f"the run {killed} is running elsewhere, or was killed just now: waiting until ")


def test_a_run_that_was_killed_here_need_not_be_cancelled(killed: str) -> None:
    with pytest.raises(BackendError, match="nobody runs it; its last state is Running"):
        cancel_run(killed)
