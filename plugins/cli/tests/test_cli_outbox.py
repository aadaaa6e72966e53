# SPDX-License-Identifier: Apache-2.0
"""Does the command line show what waits in the outbox, deliver it with every look at runs, and say what it cannot?"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable, Iterator
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


def test_something_else_in_the_place_of_a_box_keeps_no_other_from_being_delivered(
    terminal: Terminal, waiting: sqlite3.Connection
) -> None:
    mend(waiting)
    # Before all others, since it is the oldest.
    intruder = terminal.home / "outbox" / f"{1:016x}-{'f' * 32}"
    intruder.write_text("no folder")

    assert json.loads(terminal.call("runs", "--json").out)[0]["state"] == "Failed"

    (left,) = json.loads(terminal.call("outbox", "--json").out)
    assert left["problem"] == f"{str(intruder)!r} in the outbox cannot be read: Not a directory"
    done = terminal.call("outbox", "discard", "f" * 32)
    assert done.code == 1
    assert f"Not a directory: {str(intruder)!r}" in done.err


@pytest.fixture
def doctor(terminal: Terminal) -> Callable[..., tuple[int, str, str]]:
    """What the doctor says of the outbox, after its exit code."""

    def doctor(**environment: str) -> tuple[int, str, str]:
        done = terminal.call("doctor", "--json", **environment)
        (found,) = (each for each in json.loads(done.out)["checks"] if each["name"] == "outbox")
        return done.code, found["state"], found["says"]

    return doctor


Doctor = Callable[..., tuple[int, str, str]]


def test_the_doctor_tells_what_waits_and_how_it_gets_away(
    terminal: Terminal, database: sqlite3.Connection, doctor: Doctor
) -> None:
    assert doctor() == (0, "ok", "nothing waits to be delivered")
    refuse(database)
    for _ in range(2):
        terminal.run("run", "flows.py:bad")
    mend(database)
    waiting = json.loads(terminal.call("outbox", "--json").out)

    code, state, says = doctor()

    number, size = (sum(each[of] for each in waiting) for of in ("documents", "size"))
    assert (code, state) == (0, "warning")
    assert says.startswith(f"{number} documents of 2 runs wait for sqlite:///{terminal.home}/strongroom.db, ")
    assert f", {size / 1000:.1f} kB, the oldest for " in says
    assert says.endswith(
        "`strongroom outbox deliver` brings them there, `strongroom outbox discard RUN` throws them away"
    )
    assert "wait for sqlite" in terminal.see("doctor", width=500).plain


def test_the_doctor_names_a_damaged_file_and_whose_it_is(
    terminal: Terminal, waiting: sqlite3.Connection, doctor: Doctor
) -> None:
    (segment,) = (terminal.home / "outbox").glob("*/*")
    segment.write_bytes(b"not ours")
    mend(waiting)
    (shown,) = json.loads(terminal.call("outbox", "--json").out)

    code, state, says = doctor()

    assert (code, state) == (1, "failed")
    assert f"{str(segment)!r} in the outbox is damaged: " in says
    assert f"`strongroom outbox discard {shown['run_id']}` throws it away" in says
    assert terminal.call("outbox", "discard", shown["run_id"]).code == 0
    assert doctor()[:2] == (0, "ok")


def test_the_doctor_says_that_the_outbox_is_full(
    terminal: Terminal, waiting: sqlite3.Connection, doctor: Doctor
) -> None:
    mend(waiting)
    (segment,) = (terminal.home / "outbox").glob("*/*")
    with segment.open("r+b") as file:
        file.truncate(1_000_000)

    code, state, says = doctor(STRONGROOM_BACKEND_OUTBOX_MEGABYTES="1")

    assert (code, state) == (1, "failed")
    assert "has the 1 MB of backend.outbox_megabytes, so runs stop when their backend does not answer: " in says
    assert says.endswith("make room with `strongroom outbox deliver`, or `strongroom outbox discard RUN`")
    assert doctor()[:2] == (0, "warning")


def test_the_doctor_leaves_a_run_alone_that_goes_on(terminal: Terminal) -> None:
    terminal.write(
        "asks.py",
        "import subprocess, sys\nfrom strongroom import Flow, task\n"
        "@task\ndef asks(): print(subprocess.run([sys.executable, '-m', 'strongroom_cli', 'doctor'], "
        "capture_output=True, text=True, timeout=240).stdout)\n"
        "with Flow('asks') as flow: asks()\n",
    )

    done = terminal.run("run", "asks.py")

    assert done.code == 0, done.err
    (line,) = (line for line in done.lines if line.startswith("outbox "))
    assert re.fullmatch(
        r"outbox   ok      (nothing waits to be delivered|\d+ documents? of 1 run waits? for .*; "
        r"who has them goes on, and delivers them)",
        line,
    )
    assert terminal.call("verify", "last").code == 0


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
