# SPDX-License-Identifier: Apache-2.0
"""Stopping a run from another terminal."""

from __future__ import annotations

import json

import pytest

from .terminal import Terminal

GOES_ON = """
import time
from strongroom import Flow, task

@task(persist_result=True)
def first():
    print("computing", flush=True)
    return 1

@task
def wait(after):
    time.sleep(0.05)
    return after

with Flow("goes_on") as flow:
    after = first()
    for _ in range(%d):
        after = wait(after)
"""


@pytest.fixture
def going(terminal: Terminal) -> Terminal:
    terminal.write("goes_on.py", GOES_ON % 1000)
    return terminal


# It takes six seconds, as long as a heartbeat takes to come: two real processes share nothing but a database.
def test_a_run_is_cancelled_from_another_terminal_and_can_be_resumed(going: Terminal) -> None:
    process = going.start("run", "goes_on.py")
    assert process.stdout is not None
    with process:
        # At the end of what it says comes an empty line for ever.
        while b"computing" not in (line := process.stdout.readline()):
            assert line

        done = going.run("cancel", "last")

        assert done.code == 0, done.err
        assert "Cancelled" in done.lines[-1]
        process.communicate(timeout=240)
        assert process.returncode == 130
    assert json.loads(going.call("show", "last", "--json").out)["state"] == "Cancelled"
    again = going.call("cancel", "last")
    assert (again.code, again.out) == (1, "")
    assert "nobody runs it; its last state is Cancelled" in again.err


def test_a_run_that_is_not_there_cannot_be_cancelled(going: Terminal) -> None:
    done = going.call("cancel", "0123")

    assert done.code == 2
    assert "0123" in done.err
