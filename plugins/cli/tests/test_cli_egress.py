# SPDX-License-Identifier: Apache-2.0
"""Does `strongroom egress show` print every byte that the backend holds, and need no key for it?"""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing

from .terminal import Terminal


def rows_of(terminal: Terminal, flow: str) -> list[sqlite3.Row]:
    with closing(sqlite3.connect(terminal.home / "strongroom.db")) as connection:
        connection.row_factory = sqlite3.Row
        of_the_run = "run_id = (SELECT run_id FROM documents WHERE kind = 'run' AND name = ?)"
        return connection.execute(f"SELECT * FROM documents WHERE {of_the_run} ORDER BY ordinal", [flow]).fetchall()


def test_every_column_of_every_row_is_printed_and_all_sealed_bytes_if_asked_for(lived: Terminal) -> None:
    rows = rows_of(lived, "bad")

    done = lived.call("egress", "show", "last", "--full")

    shown = list(zip(done.lines[::2], done.lines[1::2], strict=False))[: len(rows)]
    assert len(rows) == 8
    for row, (clear, sealed) in zip(rows, shown, strict=True):
        for column in set(row.keys()) - {"ordinal", "sealed"}:
            value = repr(row[column]) if column == "shown" else row[column] or repr(row[column])
            assert f"{column}={value}" in clear
        assert sealed == f"  sealed, {len(row['sealed'])} bytes: {row['sealed'].hex()}"
    assert done.lines[-1].startswith("in all 8 documents, ")


def test_json_has_the_same(lived: Terminal) -> None:
    rows = rows_of(lived, "bad")

    told = json.loads(lived.call("egress", "show", "last", "--json").out)

    for row, document in zip(rows, told["documents"], strict=True):
        assert {"ordinal": row["ordinal"], **document} == {**dict(row), "sealed": row["sealed"].hex()}
    assert told["totals"]["sealed_bytes"] == sum(len(row["sealed"]) for row in rows)


def test_only_the_first_bytes_are_printed_if_nothing_is_asked_for_and_no_error(
    lived: Terminal,
) -> None:
    done = lived.call("egress", "show", "last")

    assert max(map(len, done.lines)) < 300
    assert "division" not in done.out


def test_it_needs_no_key_and_makes_none(copy_of_lived: Terminal) -> None:
    (copy_of_lived.home / "keyring.toml").unlink()

    assert copy_of_lived.call("egress", "show", "last").code == 0
    assert not (copy_of_lived.home / "keyring.toml").exists()


def test_what_the_backend_says_cannot_write_the_screen(copy_of_lived: Terminal) -> None:
    with closing(sqlite3.connect(copy_of_lived.home / "strongroom.db")) as connection, connection:
        connection.execute("UPDATE documents SET name = 'x  type=Success' || char(27) || '[2J', at = 9e15 * 1000")

    done = copy_of_lived.see("egress", "show", "last")
    shown = copy_of_lived.see("show", "last")

    assert "name='x  type=Success\\x1b[2J'" in done.plain
    assert "\x1b[2J" not in done.out + shown.out
    assert (done.code, shown.code) == (0, 1)
