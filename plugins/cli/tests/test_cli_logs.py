# SPDX-License-Identifier: Apache-2.0
"""Does `strongroom logs` show what the tasks of a run said?"""

from __future__ import annotations

import json

import pytest

from .terminal import Terminal

FLOW = """
from strongroom import Flow, context, task

@task(log_stdout=True)
def load(month):
    print("rows of", month)
    context.logger.warning("late:\\n\\x1b[31m%s", month)

@task
def quiet():
    return 1

with Flow("flow") as flow:
    load.map(["May", "June"])
    quiet()
"""


@pytest.fixture
def terminal(terminal: Terminal) -> Terminal:
    terminal.write("flow.py", FLOW)
    assert terminal.call("run", "flow.py").code == 0
    return terminal


def test_lines_have_time_level_and_task(terminal: Terminal) -> None:
    done = terminal.call("logs", "last")

    assert done.code == 0, done.err
    assert [line[20:] for line in done.lines if not line.startswith("    ")] == [
        "INFO    load[0]: rows of May",
        "WARNING load[0]: late:",
        "INFO    load[1]: rows of June",
        "WARNING load[1]: late:",
    ]
    assert "    \\x1b[31mMay" in done.lines


def test_programs_get_json(terminal: Terminal) -> None:
    found = json.loads(terminal.call("logs", "last", "--json").out)

    assert [(each["task"], each["map_index"], each["text"]) for each in found][:2] == [
        ("load", 0, "rows of May"),
        ("load", 0, "late:\n\x1b[31mMay"),
    ]
    assert set(found[0]) == {"at", "task", "map_index", "level", "text"}


def test_one_task_can_be_asked_for(terminal: Terminal) -> None:
    assert len(json.loads(terminal.call("logs", "last", "--task", "load", "--json").out)) == 4
    assert terminal.call("logs", "last", "--task", "quiet").out.startswith("nothing was logged")
    done = terminal.call("logs", "last", "--task", "laod")
    assert (done.code, done.out) == (2, "")
    assert "did you mean 'load'?" in done.err


def test_an_unknown_run_is_named(terminal: Terminal) -> None:
    done = terminal.call("logs", "abcdef")

    assert done.code == 2
    assert "abcdef" in done.err
