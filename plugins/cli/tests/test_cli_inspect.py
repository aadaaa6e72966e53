# SPDX-License-Identifier: Apache-2.0
"""Do `runs` and `show` tell what happened, and notice what was changed since?"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager

import pytest

from strongroom import Backend, Envelope
from strongroom.project import Project
from strongroom_cli._history import read_history

from .terminal import Terminal


@contextmanager
def database(terminal: Terminal) -> Iterator[sqlite3.Connection]:
    """What somebody who can write to the database can do to it."""
    with closing(sqlite3.connect(terminal.home / "strongroom.db")) as connection, connection:
        yield connection


def test_runs_lists_the_newest_first_with_state_and_tasks_by_state(lived: Terminal) -> None:
    done = lived.call("runs")

    head, bad, good = done.lines
    assert head.split() == ["run", "flow", "state", "started", "time", "tasks"]
    assert bad.split()[1:3] == ["bad", "Failed"]
    assert bad.endswith("1 Failed, 1 Success, 1 TriggerFailed")
    assert good.split()[1:3] == ["good", "Success"]
    assert good.endswith("6 Success")


def test_runs_lists_no_more_than_it_is_asked_for(lived: Terminal) -> None:
    done = lived.call("runs", "--limit", "1", "--json")

    assert [run["flow"] for run in json.loads(done.out)] == ["bad"]


def test_no_runs_are_no_error(terminal: Terminal) -> None:
    assert terminal.call("runs").lines == ["there are no runs yet; to make the first: strongroom run FILE.py"]


def test_a_run_is_found_by_its_id_by_the_beginning_of_it_and_as_the_last_one(lived: Terminal) -> None:
    newest, _ = json.loads(lived.call("runs", "--json").out)
    shortest = lived.call("runs").lines[1].split()[0]
    assert len(shortest) == 8

    found = {
        json.loads(lived.call("show", name, "--json").out)["run_id"] for name in ("last", newest["run_id"], shortest)
    }

    assert found == {newest["run_id"]}


def test_a_beginning_that_several_runs_share_is_misuse_and_lists_them(copy_of_lived: Terminal) -> None:
    with database(copy_of_lived) as connection:
        connection.execute("UPDATE documents SET run_id = 'aa' || substr(run_id, 3)")

    done = copy_of_lived.call("show", "aa")

    assert done.code == 2
    assert done.err.startswith("strongroom: error: several runs begin with 'aa': aa")
    assert len(done.err.split(", ")) == 2


@pytest.mark.parametrize("name", ["0000nothing", "%", "", "last "])
def test_a_run_that_is_not_there_is_misuse(lived: Terminal, name: str) -> None:
    done = lived.call("show", name)

    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"strongroom: error: there is no run {name!r};")


def test_show_opens_parameters_states_and_errors(lived: Terminal) -> None:
    _, good = json.loads(lived.call("runs", "--json").out)

    done = lived.call("show", good["run_id"])

    assert (done.code, done.err) == (0, "")
    assert "parameter rows = 4" in done.lines
    (download,) = [line for line in done.lines if line.startswith("download ")]
    assert download.split()[1:3] == ["Success", "2"]
    assert "    Running > Failed > Retrying > Running > Success" in done.lines
    assert any(line.startswith("    Failed: OSError: the first attempt fails (flows.py:") for line in done.lines)


def test_show_says_where_a_task_failed_and_how_it_came_there(lived: Terminal) -> None:
    done = lived.call("show", "last", "--traceback")

    assert "ZeroDivisionError: division by zero (flows.py:" in done.out
    start = done.lines.index("ZeroDivisionError: division by zero")
    assert [line.rpartition(" in ")[2] for line in done.lines[start - 2 : start]] == ["breaks", "divide"]
    assert done.lines[start - 3].startswith("breaks, Failed ")


def test_a_document_that_was_changed_is_named_and_the_rest_is_shown(copy_of_lived: Terminal) -> None:
    with database(copy_of_lived) as connection:
        connection.execute("UPDATE documents SET type = 'Success' WHERE task = 'breaks' AND type = 'Failed'")

    done = copy_of_lived.call("show", "last")

    assert done.code == 1
    assert done.err == (
        "strongroom: error: a document does not open, and was left out: "
        "number 1 of task 'breaks', which calls itself 'Success'\n"
    )
    states = dict(line.split()[:2] for line in done.lines if line.startswith(("breaks", "number", "never")))
    assert states == {"breaks": "Running", "number": "Success", "never": "TriggerFailed"}
    assert "not all of it is as it was sent" in copy_of_lived.call("runs").out


def test_a_document_that_was_taken_away_is_missed(copy_of_lived: Terminal) -> None:
    with database(copy_of_lived) as connection:
        connection.execute("DELETE FROM documents WHERE task = 'breaks' AND sequence = 0")

    done = copy_of_lived.call("show", "last")

    assert (done.code, done.err) == (
        1,
        "strongroom: error: 1 documents are missing: later ones of the same tasks are there\n",
    )


def test_a_document_of_another_run_does_not_pass_for_one_of_this(copy_of_lived: Terminal) -> None:
    (bad, good) = (run["run_id"] for run in json.loads(copy_of_lived.call("runs", "--json").out))
    with database(copy_of_lived) as connection:
        connection.execute("DELETE FROM documents WHERE run_id = ? AND task = '' AND type = 'Failed'", [bad])
        connection.execute(
            "UPDATE documents SET run_id = ? WHERE run_id = ? AND task = '' AND type = 'Success'", [bad, good]
        )

    done = copy_of_lived.call("show", bad)

    assert done.code == 1
    assert "of bad: Running" in done.lines[0]
    assert "number 2 of the run itself, which calls itself 'Success'" in done.err


class Lying(Backend):
    """A backend that answers with the genuine documents of another run, or of another task."""

    id = "lying"

    def __init__(self, envelopes: Sequence[Envelope]) -> None:
        self._envelopes = envelopes

    def append(self, envelopes: Sequence[Envelope]) -> None:
        raise NotImplementedError

    def runs(self, *, prefix: str = "", limit: int = 20) -> Sequence[str]:
        raise NotImplementedError

    def read(self, run_id: str, *, task: str | None = None) -> Iterator[Envelope]:
        yield from self._envelopes

    def close(self) -> None:
        pass


def test_what_is_genuine_but_was_not_asked_for_does_not_pass(lived: Terminal) -> None:
    bad, _ = json.loads(lived.call("runs", "--json").out)
    project = Project.open(lived.environment(), lived.folder)
    with project.open_backend() as backend:
        envelopes = list(backend.read(bad["run_id"]))

    of_another_run = read_history(project, Lying(envelopes), "0" * 32)
    of_another_task = read_history(project, Lying(envelopes), bad["run_id"], task="number")

    assert len(of_another_run.unopened) == len(envelopes)
    assert [each.label for each in of_another_task.tasks] == ["number"]


def test_a_run_whose_process_died_is_running_as_far_as_anybody_knows(terminal: Terminal) -> None:
    terminal.write(
        "dies.py",
        "import os, sqlite3, time\nfrom strongroom import Flow, context, task\n"
        "from strongroom.project import Project\n"
        "@task\ndef first(): pass\n"
        "@task\ndef dies(value):\n"
        "    while len(list(Project.open().open_backend().read(context.run_id, task='dies'))) == 0: pass\n"
        "    os._exit(9)\n"
        "with Flow('dies') as flow: dies(first())\n",
    )

    assert terminal.run("run", "dies.py").code == 9

    (run,) = terminal.call("runs").lines[1:]
    assert run.split()[1:3] == ["dies", "Running"]
    assert "1 Running, 1 Success, last heard of " in run


def test_a_backend_that_keeps_nothing_is_named_rather_than_looked_into(lived: Terminal) -> None:
    done = lived.call("runs", STRONGROOM_BACKEND_ID="memory")

    assert done.code == 2
    assert "to keep it: pip install strongroom-sql" in done.err


@pytest.mark.parametrize("arguments", [["runs"], ["runs", "--json"]])
def test_a_list_that_is_cut_off_by_its_reader_ends_quietly(lived: Terminal, arguments: list[str]) -> None:
    process = lived.start(*arguments)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    with process:
        err = process.stderr.read()

    assert err == b""
    assert process.returncode == 128 + 13


def test_another_key_opens_nothing(copy_of_lived: Terminal) -> None:
    copy_of_lived.replace_keyring()

    done = copy_of_lived.call("show", "last")

    assert done.code == 1
    assert done.err.count("does not open") == 8


@pytest.mark.parametrize(
    "command",
    [
        *(["runs"], ["show", "last"], ["verify", "last"], ["read", "last", "good"], ["run", "flows.py:good"]),
        *(["store", "ls"], ["store", "verify"], ["store", "gc"], ["keys", "show"], ["keys", "rotate"]),
    ],
    ids=" ".join,
)
def test_a_keyring_that_is_gone_is_said_and_no_other_one_is_made(copy_of_lived: Terminal, command: list[str]) -> None:
    (copy_of_lived.home / "keyring.toml").unlink()

    done = copy_of_lived.call(*command)

    assert done.code == 1
    assert done.err.count("\n") == 1
    assert "is gone, and what lies beside it cannot be read without it; restore it from a backup" in done.err
    assert not (copy_of_lived.home / "keyring.toml").exists()
