# SPDX-License-Identifier: Apache-2.0
"""Going on with a run from the terminal."""

from __future__ import annotations

import json

import pytest

from .terminal import Terminal

PAUSES = """
from strongroom import Flow, Parameter, task, triggers

@task(persist_result=True)
def load(n):
    print("loading")
    return list(range(n))

@task(trigger=triggers.manual_only)
def release(numbers):
    return sum(numbers)

with Flow("pauses") as flow:
    release(load(Parameter("n", default=4)))
"""

LIMITED = """
from strongroom import Flow, task

@task(tags=["db"])
def ask():
    return 1

with Flow("limited") as flow:
    ask()
"""


@pytest.fixture
def paused(terminal: Terminal) -> Terminal:
    terminal.write("pauses.py", PAUSES)
    assert terminal.call("run", "pauses.py", "n=5").code == 1
    return terminal


def test_a_paused_run_goes_on_and_repeats_nothing(paused: Terminal) -> None:
    done = paused.call("resume", "last", "pauses.py")

    assert done.code == 0, done.err
    assert "loading" not in done.out
    told = json.loads(paused.call("show", "last", "--json").out)
    assert told["state"] == "Success"
    assert told["parameters"] == {"n": 5}


def test_a_run_from_the_terminal_has_the_leases_that_its_backend_lends(terminal: Terminal) -> None:
    terminal.write("limited.py", LIMITED)

    done = terminal.call("run", "limited.py", STRONGROOM_LIMITS="db=1")

    # Without leases a limit is refused, and nobody could say that the run goes on.
    assert done.code == 0, done.err


def test_an_ended_run_is_told_from_an_unknown_one(paused: Terminal) -> None:
    paused.call("resume", "last", "pauses.py")

    ended = paused.call("resume", "last", "pauses.py")
    unknown = paused.call("resume", "0123", "pauses.py")

    assert (ended.code, unknown.code) == (2, 2)
    assert "has ended, in the state Success" in ended.err
    assert "0123" in unknown.err
    assert len(ended.err.splitlines()) == len(unknown.err.splitlines()) == 1
