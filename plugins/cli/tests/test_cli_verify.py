# SPDX-License-Identifier: Apache-2.0
"""Does `verify` notice whatever was done to the record of a run, and say where?"""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing

import pytest

from .terminal import Terminal


def change(terminal: Terminal, statement: str) -> None:
    with closing(sqlite3.connect(terminal.home / "strongroom.db")) as connection, connection:
        assert connection.execute(statement).rowcount > 0


OF_LAST = "(SELECT run_id FROM documents WHERE kind = 'run' ORDER BY ordinal DESC LIMIT 1)"


def test_a_record_that_nobody_changed_is_whole(lived: Terminal) -> None:
    done = lived.call("verify", "last")

    assert (done.code, done.err) == (0, "")
    assert "is as it was sent" in done.out
    assert "it ends where this home saw it end" in done.out


def test_the_home_need_not_know_the_end_of_a_run_that_has_ended(copy_of_lived: Terminal) -> None:
    shutil.rmtree(copy_of_lived.home / "heads.d")

    done = copy_of_lived.call("verify", "last", "--json")

    assert done.code == 0
    assert json.loads(done.out)["end"] == "closed"


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("UPDATE documents SET type = 'Success' WHERE type = 'TriggerFailed'", "does not open"),
        ("UPDATE documents SET at = at + 1 WHERE kind = 'run'", "does not open"),
        (f"DELETE FROM documents WHERE run_id = {OF_LAST} AND type = 'Running' AND task != ''", "does not follow"),
        (f"DELETE FROM documents WHERE run_id = {OF_LAST} AND kind = 'run'", "does not follow|there is no run"),
        (
            "UPDATE documents SET ordinal = 0 WHERE ordinal = (SELECT max(ordinal) FROM documents)",
            "does not follow",
        ),
        ("DELETE FROM documents WHERE ordinal = (SELECT max(ordinal) FROM documents)", "its end is missing"),
    ],
)
def test_what_was_done_to_a_record_is_noticed(copy_of_lived: Terminal, statement: str, says: str) -> None:
    run = json.loads(copy_of_lived.call("runs", "--json").out)[0]["run_id"]
    change(copy_of_lived, statement)

    done = copy_of_lived.call("verify", run)

    assert done.code != 0
    assert any(each in done.err for each in says.split("|"))


def test_what_is_broken_is_named_for_programs(copy_of_lived: Terminal) -> None:
    change(copy_of_lived, "UPDATE documents SET type = 'Success' WHERE type = 'TriggerFailed'")

    done = copy_of_lived.call("verify", "last", "--json")
    found = json.loads(done.out)

    assert done.code == 1
    assert not found["whole"]
    assert [each["type"] for each in found["breaks"]] == ["Success"]


@pytest.mark.parametrize("command", ["show", "verify"])
def test_a_keyring_that_was_replaced_is_missed_by_the_id_of_its_key(copy_of_lived: Terminal, command: str) -> None:
    key = json.loads(copy_of_lived.call("keys", "show", "--json").out)["keys"][0]["id"]
    copy_of_lived.replace_keyring()

    done = copy_of_lived.call(command, "last")

    lines = done.err.splitlines()
    assert done.code == 1
    assert any(f"of them name the key '{key}', which is not here; restore the keyring" in line for line in lines)
    assert len(lines) < 25


def test_very_many_breaks_are_not_all_said(copy_of_lived: Terminal) -> None:
    run = json.loads(copy_of_lived.call("runs", "--json").out)[0]["run_id"]
    with closing(sqlite3.connect(copy_of_lived.home / "strongroom.db")) as connection, connection:
        columns = "task, map_index, kind, name, type, at, run_count, sealed, shown"
        connection.execute(
            f"WITH RECURSIVE a(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM a WHERE value < 100) "
            f"INSERT INTO documents (run_id, sequence, {columns}) SELECT ?, 10000 + a.value, {columns} "
            "FROM a, (SELECT * FROM documents WHERE run_id = ? AND kind = 'state' LIMIT 1)",
            (run, run),
        )

    for command in ("show", "verify"):
        done = copy_of_lived.call(command, run)

        assert done.code == 1
        assert "more; --json has all of them" in done.err
        assert len(done.err.splitlines()) < 25
