# SPDX-License-Identifier: Apache-2.0
"""Does the command line show what waits in the outbox, deliver it with every look at runs, and say what it cannot?"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from .terminal import Terminal


@pytest.fixture
def database(terminal: Terminal) -> Iterator[sqlite3.Connection]:
    """The database of a terminal that has one."""
    assert terminal.call("runs").code == 0
    with closing(sqlite3.connect(terminal.home / "strongroom.db", isolation_level=None)) as connection:
        yield connection


@pytest.fixture
def waiting(terminal: Terminal, database: sqlite3.Connection) -> sqlite3.Connection:
    """The database, which takes no documents; those of a run wait for it."""
    refuse(database)
    done = terminal.run("run", "flows.py:bad")
    assert done.code == 1
    assert "documents of the run" in done.err
    assert "`strongroom outbox` shows them" in done.err
    assert "Traceback" not in done.err
    return database


def refuse(database: sqlite3.Connection) -> None:
    database.execute("CREATE TRIGGER refuse BEFORE INSERT ON documents BEGIN SELECT RAISE(ABORT, 'no'); END")


def mend(database: sqlite3.Connection) -> None:
    database.execute("DROP TRIGGER refuse")


def test_nothing_waits_after_a_run_whose_backend_works(lived: Terminal) -> None:
    done = lived.call("outbox")

    assert (done.code, done.out, done.err) == (0, "nothing waits in the outbox\n", "")
    assert json.loads(lived.call("outbox", "--json").out) == []


def test_what_waits_is_shown_and_every_look_at_runs_delivers_it(
    terminal: Terminal, waiting: sqlite3.Connection
) -> None:
    (shown,) = json.loads(terminal.call("outbox", "--json").out)
    assert shown["address"] == f"sqlite:///{terminal.home}/strongroom.db"
    assert shown["documents"] > 5
    assert shown["run_id"] in terminal.call("outbox").out
    refused = terminal.call("outbox", "deliver")
    assert refused.code == 1
    assert f"run {shown['run_id']}: the database" in refused.err
    mend(waiting)

    (run,) = json.loads(terminal.call("runs", "--json").out)

    assert (run["run_id"], run["state"], run["whole"]) == (shown["run_id"], "Failed", True)
    assert "it ends where this home saw it end" in terminal.call("verify", "last").out
    assert terminal.call("outbox").out == "nothing waits in the outbox\n"


def test_it_can_be_delivered_by_hand(terminal: Terminal, waiting: sqlite3.Connection) -> None:
    (shown,) = json.loads(terminal.call("outbox", "--json").out)
    mend(waiting)

    done = terminal.call("outbox", "deliver", "--json")

    assert done.code == 0
    assert json.loads(done.out) == {"documents": shown["documents"], "left": [], "waiting": []}


def test_what_waits_for_another_backend_is_not_delivered_to_this_one(
    terminal: Terminal, waiting: sqlite3.Connection
) -> None:
    mend(waiting)
    elsewhere = {"STRONGROOM_BACKEND_URL": f"sqlite:///{terminal.folder}/other.db"}

    done = terminal.call("outbox", "deliver", **elsewhere)

    assert (done.code, done.out) == (0, "0 documents delivered\n")
    assert "it waits for another backend: sqlite:///" in done.err
    assert terminal.call("runs", **elsewhere).out.startswith("there are no runs yet")


def test_a_run_is_delivered_before_it_is_resumed(terminal: Terminal, database: sqlite3.Connection) -> None:
    terminal.write(
        "pauses.py",
        "from strongroom import Flow, task\nfrom strongroom.triggers import manual_only\n"
        "@task(trigger=manual_only)\ndef waits(): return 1\n"
        "with Flow('pauses') as flow: waits()\n",
    )
    refuse(database)
    terminal.run("run", "pauses.py")
    mend(database)

    done = terminal.run("resume", "last", "pauses.py")

    assert done.code == 0, done.err
    assert "Success" in done.out


def test_what_nobody_will_ever_take_can_be_thrown_away(terminal: Terminal, waiting: sqlite3.Connection) -> None:
    (shown,) = json.loads(terminal.call("outbox", "--json").out)
    assert terminal.call("outbox", "discard", "f" * 32).code == 2

    done = terminal.call("outbox", "discard", shown["run_id"])

    assert done.code == 0
    assert terminal.call("outbox").out == "nothing waits in the outbox\n"


def test_a_damaged_file_is_named_and_does_not_keep_runs_from_being_listed(
    terminal: Terminal, waiting: sqlite3.Connection
) -> None:
    (segment,) = (terminal.home / "outbox").glob("*/*")
    segment.write_bytes(b"not ours")
    mend(waiting)

    done = terminal.call("runs")

    assert done.code == 0
    assert "warning: what waits of the run" in done.err
    assert str(segment) in done.err
    assert "is no file of an outbox" in terminal.call("outbox").out


def test_a_run_from_the_command_line_is_marked_as_running(terminal: Terminal) -> None:
    terminal.write(
        "asks.py",
        "import sqlite3\nfrom strongroom import Flow, context, task\nfrom strongroom.project import Project\n"
        "@task\ndef asks():\n"
        "    database = sqlite3.connect(Project.open().home / 'strongroom.db')\n"
        "    return database.execute('SELECT count(*) FROM leases').fetchone()[0]\n"
        "@task\ndef check(count): assert count == 1\n"
        "with Flow('asks') as flow: check(asks())\n",
    )

    assert terminal.run("run", "asks.py").code == 0


def test_no_key_is_removed_while_documents_wait_that_may_need_it(
    terminal: Terminal, waiting: sqlite3.Connection
) -> None:
    old = json.loads(terminal.call("keys", "show", "--json").out)["primary"]
    terminal.call("keys", "rotate")
    keys = (terminal.home / "keyring.toml").read_bytes()

    done = terminal.call("keys", "retire", old, "--force")

    assert done.code == 2
    assert "strongroom outbox deliver" in done.err
    assert (terminal.home / "keyring.toml").read_bytes() == keys
