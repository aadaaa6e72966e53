# SPDX-License-Identifier: Apache-2.0
"""Does `strongroom store` show what is kept, find what is damaged, and delete what nobody needs?"""

from __future__ import annotations

import json
import os
import sqlite3
from pathlib import Path

import pytest

from .terminal import Terminal


def records(terminal: Terminal) -> list[Path]:
    return sorted(path for path in (terminal.home / "results" / "runs").rglob("*") if path.is_file())


def make_older(terminal: Terminal) -> None:
    for path in records(terminal):
        os.utime(path, (path.stat().st_mtime - 90_000,) * 2)


def told(terminal: Terminal, *arguments: str) -> dict[str, object]:
    done = terminal.call("store", *arguments, "--json")
    found = json.loads(done.out)
    assert isinstance(found, dict)
    return found


def test_a_list_says_what_each_record_is(lived: Terminal) -> None:
    done = lived.call("store", "ls")

    assert done.code == 0
    assert done.lines[0].split() == ["key", "size", "chain", "created", "expires"]
    assert [line.split()[-1] for line in done.lines[1:-1]] == ["never"] * len(records(lived))
    assert done.lines[-1].startswith(f"{len(records(lived))} records, ")


def test_a_list_for_programs_is_json(lived: Terminal) -> None:
    found = json.loads(lived.call("store", "ls", "runs/", "--json").out)

    assert {each["key"] for each in found} == {str(path.relative_to(lived.home / "results")) for path in records(lived)}
    assert {each["chain"] for each in found} >= {"json", "mine"}


def test_a_folder_with_nothing_in_it_says_so(lived: Terminal) -> None:
    assert "there is nothing in" in lived.call("store", "ls", "nothing").out


def test_a_folder_may_have_a_slash_behind_it_and_none_before(lived: Terminal) -> None:
    assert lived.call("store", "verify", "runs/").out == lived.call("store", "verify", "runs").out
    assert "storage refuses '/'" in lived.call("store", "ls", "/").err


def test_what_is_whole_verifies(lived: Terminal) -> None:
    done = lived.call("store", "verify")

    assert done.code == 0
    assert done.out.startswith(f"{len(records(lived))} records of ")


def test_what_is_damaged_is_named_and_the_exit_code_says_so(copy_of_lived: Terminal) -> None:
    broken = records(copy_of_lived)[0]
    broken.write_bytes(broken.read_bytes()[:-1])

    done = copy_of_lived.call("store", "verify")
    found = told(copy_of_lived, "verify")

    assert done.code == 1
    assert done.lines[0].count(broken.name) == 1
    assert done.lines[-1].endswith("authentic, 1 not")
    assert [each["key"] for each in found["problems"]] == [str(broken.relative_to(copy_of_lived.home / "results"))]  # type: ignore[attr-defined]


def test_what_runs_refer_to_is_no_garbage(copy_of_lived: Terminal) -> None:
    make_older(copy_of_lived)
    before = records(copy_of_lived)

    for _ in range(2):
        assert told(copy_of_lived, "gc")["deleted"] == []

    assert records(copy_of_lived) == before


def test_what_no_run_refers_to_is_marked_and_then_deleted(copy_of_lived: Terminal) -> None:
    unused = records(copy_of_lived)[0].with_name("0" * 32)
    unused.write_bytes(records(copy_of_lived)[0].read_bytes())
    make_older(copy_of_lived)

    first = copy_of_lived.call("store", "gc")
    dry = copy_of_lived.call("store", "gc", "--dry-run")
    last = copy_of_lived.call("store", "gc")

    assert "1 result unused: the next collection deletes what still is" in first.lines
    assert dry.lines[0].startswith("would delete runs/")
    assert last.lines[0].endswith("no state refers to it")
    assert last.lines[1].startswith("1 file, ")
    assert not unused.exists()


def test_what_is_left_alone_for_a_handler_that_cannot_tell_is_counted(terminal: Terminal) -> None:
    terminal.write(
        "wrapped.py",
        "from strongroom import Flow, Keyring, task\nfrom strongroom.keyring import Key\n"
        "from strongroom_masked.uri import MaskedURI\n"
        "@task(persist_result=True, result_handler=MaskedURI(keyring=Keyring([Key(bytes(32))])))\n"
        "def kept():\n    return 1\n"
        "with Flow('wrapped') as flow:\n    kept()\n",
    )
    assert terminal.call("run", "wrapped.py").code == 0
    make_older(terminal)

    assert (
        "1 result left alone, of runs that keep results with a handler of a plugin: "
        in terminal.call("store", "gc").out
    )
    assert told(terminal, "gc")["opaque"] == 1
    assert len(records(terminal)) == 1


def test_nothing_is_collected_when_a_document_does_not_open(copy_of_lived: Terminal) -> None:
    make_older(copy_of_lived)
    with sqlite3.connect(copy_of_lived.home / "strongroom.db") as database:
        database.execute("UPDATE documents SET at = at + 1 WHERE task != ''")
    database.close()

    done = copy_of_lived.call("store", "gc")

    assert done.code == 1
    assert "no garbage is collected" in done.err


def test_nothing_is_collected_when_a_document_is_missing(copy_of_lived: Terminal) -> None:
    with sqlite3.connect(copy_of_lived.home / "strongroom.db") as database:
        database.execute("DELETE FROM documents WHERE task != '' AND sequence = 0")
    database.close()

    done = copy_of_lived.call("store", "gc")

    assert done.code == 1
    assert "or is missing" in done.err


@pytest.mark.parametrize("grace", ["-1", "nan", "1e30"])
def test_a_grace_that_is_no_time_is_refused(copy_of_lived: Terminal, grace: str) -> None:
    done = copy_of_lived.call("store", "gc", f"--grace={grace}")

    assert done.code == 2
    assert "--grace is a number of hours" in done.err


def test_on_a_terminal_of_80_columns_no_line_is_cut(lived: Terminal) -> None:
    shown = lived.see("store", "ls").plain

    assert all(path.name in shown for path in records(lived))
