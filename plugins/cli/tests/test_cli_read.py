# SPDX-License-Identifier: Apache-2.0
"""Does `strongroom read` print results, and hand them out as they are stored?"""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom_cli._values import lines_of, not_plain

from .terminal import Terminal


@pytest.fixture
def run_id(lived: Terminal) -> str:
    """The run of the flow ``good``."""
    (_, good) = json.loads(lived.call("runs", "--json").out)
    return str(good["run_id"])


def test_a_plain_value_is_printed_as_json(lived: Terminal, run_id: str) -> None:
    printed, as_json = lived.call("read", run_id, "table"), lived.call("read", run_id, "table", "--json")

    assert json.loads(printed.out) == json.loads(as_json.out) == {"secret-column": [0, 1, 2, 3]}


def test_what_is_kept_in_the_record_of_the_run_can_be_read_too(lived: Terminal, run_id: str) -> None:
    assert json.loads(lived.call("read", run_id, "inline").out) == [1, 2]


def test_out_writes_the_stored_bytes_and_replaces_a_file_only_by_force(
    lived: Terminal, run_id: str, tmp_path: Path
) -> None:
    file = tmp_path / "table"

    first = lived.call("read", run_id, "own_format", "--out", str(file))
    assert (first.code, file.read_bytes()) == (0, b"a\nb")

    file.write_bytes(b"precious")
    assert lived.call("read", run_id, "own_format", "--out", str(file)).code == 2
    assert file.read_bytes() == b"precious"

    assert lived.call("read", run_id, "own_format", "--out", str(file), "--force").code == 0
    assert file.read_bytes() == b"a\nb"
    assert [path.name for path in tmp_path.iterdir()] == ["table"]


def test_raw_gives_the_stored_bytes_to_a_pipe_but_not_to_a_terminal(lived: Terminal, run_id: str) -> None:
    piped, seen = lived.call("read", run_id, "own_format", "--raw"), lived.see("read", run_id, "own_format", "--raw")

    assert (piped.code, piped.out) == (0, "a\nb")
    assert seen.code == 2
    assert "standard output is a terminal" in seen.plain


def test_a_serializer_that_is_no_plugin_is_named_with_the_way_to_the_bytes(lived: Terminal, run_id: str) -> None:
    done = lived.call("read", run_id, "own_format")

    assert (done.code, done.out) == (1, "")
    assert "the result is in the format 'mine', which no plugin here reads" in done.err
    assert f"strongroom read {run_id} own_format --out FILE" in done.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["tabel"], "the run has no task 'tabel'; did you mean 'table'?"),
        ([""], "the run has no task ''; it has "),
        (["total"], "no result of it was kept; persist_result=True keeps results"),
        (["table", "--out", "."], ". is a folder; name a file"),
        (["table", "--raw", "--json"], "--out, --raw and --json exclude each other"),
    ],
)
def test_misuse_is_answered_with_the_way_out(lived: Terminal, run_id: str, arguments: list[str], said: str) -> None:
    done = lived.call("read", run_id, *arguments)

    assert (done.code, done.out) == (2, "")
    assert said in done.err


def test_a_task_with_a_changed_document_is_not_read(copy_of_lived: Terminal, run_id: str) -> None:
    with closing(sqlite3.connect(copy_of_lived.home / "strongroom.db")) as connection, connection:
        connection.execute("UPDATE documents SET at = at + 1 WHERE task = 'table' AND type = 'Running'")

    done = copy_of_lived.call("read", run_id, "table")

    assert (done.code, done.out) == (1, "")
    assert "does not open" in done.err


def test_a_changed_result_is_not_handed_out(terminal: Terminal, tmp_path: Path) -> None:
    terminal.call("run", "flows.py:good")
    (path,) = (path for path in terminal.home.glob("results/runs/*/*") if b"mine" in path.read_bytes())
    content = bytearray(path.read_bytes())
    content[content.index(b"a\nb")] ^= 1
    path.write_bytes(content)

    done = terminal.call("read", "last", "own_format", "--out", str(tmp_path / "file"))

    assert done.code == 1
    assert "is damaged or was changed" in done.err
    assert not (tmp_path / "file").exists()


def test_a_result_that_somebody_made_larger_than_memory_is_not_read(terminal: Terminal) -> None:
    terminal.call("run", "flows.py:good")
    (path,) = (path for path in terminal.home.glob("results/runs/*/*") if b"mine" in path.read_bytes())
    with path.open("ab") as file:
        file.truncate(1 << 42)

    done = terminal.call("read", "last", "own_format", "--raw")

    assert done.code == 1
    assert "is damaged or was changed" in done.err


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(PLAIN.filter(lambda value: not isinstance(value, str)))
def test_a_small_plain_value_is_shown_whole(value: object) -> None:
    assert json.loads("\n".join(lines_of(value, 80))) == value
    assert not_plain(value) is None


@pytest.mark.parametrize("value", [(1,), {1: 2}, {"a": [float("nan")]}, {1}, b"", object()])
def test_what_json_would_change_is_not_called_json(value: object) -> None:
    assert not_plain(value) is not None


@pytest.mark.parametrize(
    "value",
    [
        list(range(10**5)),
        {str(number): number for number in range(10**5)},
        "line\n" * 10**5,
        "x" * 10**6,
        bytes(10**6),
        {(number,) for number in range(10**5)},
    ],
    ids=["list", "dict", "lines", "line", "bytes", "set"],
)
def test_a_large_value_is_shortened_and_says_so(value: object) -> None:
    lines = list(lines_of(value, 80))

    assert len(lines) <= 62
    assert sum(map(len, lines)) < 50_000
    assert "more" in lines[-1] or lines[-1].endswith(("...", "}"))


def test_bytes_are_shown_as_numbers_and_letters() -> None:
    (line,) = lines_of(b"abc\x1b[31m", 80)

    assert line.split(maxsplit=9)[:9] == ["00000000", "61", "62", "63", "1b", "5b", "33", "31", "6d"]
    assert line.endswith("  abc.[31m")


def test_a_table_is_shown_as_wide_as_the_terminal_is() -> None:
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame({f"column {number}": range(1000) for number in range(10)})

    lines = list(lines_of(table, 60))

    assert max(map(len, lines)) <= 60
    assert lines[-1] == "[1000 rows x 10 columns]"
