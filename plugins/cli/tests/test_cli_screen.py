# SPDX-License-Identifier: Apache-2.0
"""Does the output fit the terminal, and is it left as it was found?"""

from __future__ import annotations

import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.text import Text

from strongroom_cli._errors import printable
from strongroom_cli._output import Output, duration, size

from .terminal import Terminal

COLOUR = re.compile(r"\x1b\[[0-9;]*3[0-9]m")


@pytest.mark.parametrize("width", [80, 40])
@pytest.mark.parametrize("arguments", [["runs"], ["show", "last"], ["plugins"], ["egress", "show", "last"]])
def test_no_line_is_longer_than_the_terminal_is_wide_but_for_words_that_are(
    lived: Terminal, width: int, arguments: list[str]
) -> None:
    done = lived.see(*arguments, width=width)

    assert done.code == 0
    too_long = [line for line in done.plain.splitlines() if len(line) > width]
    assert [line for line in too_long if max(map(len, line.split())) <= width - 4] == []


def test_a_terminal_gets_a_display_that_is_taken_away_and_prints_come_out_above_the_summary(terminal: Terminal) -> None:
    done = terminal.see("run", "flows.py:good")

    assert done.code == 0
    assert done.out.count("\x1b[?25l") == done.out.count("\x1b[?25h") == 1
    end = done.out.rpartition("\x1b[?25h")[2]
    assert "total" in end
    assert "\x1b[" not in re.sub(r"\x1b\[[0-9;]*m", "", end.partition("run ")[2])
    assert done.plain.index("the total is computed") < done.plain.index("run ")
    assert "download: Retrying: OSError: the first attempt fails" in done.plain


def test_half_a_line_that_a_task_prints_is_not_lost(terminal: Terminal) -> None:
    terminal.write(
        "half.py",
        "import sys\nfrom strongroom import Flow, task\nkept = []\n"
        "@task\ndef half():\n    kept.append(sys.stdout)\n    print('half a line', end='')\n"
        "with Flow('half') as flow: half()\n",
    )

    assert "half a line" in terminal.see("run", "half.py").plain


def test_a_terminal_gets_colours_but_no_pipe_and_nobody_who_does_not_want_them(lived: Terminal) -> None:
    assert COLOUR.search(lived.see("runs").out)
    assert not COLOUR.search(lived.see("runs", NO_COLOR="1").out)
    assert "\x1b" not in lived.run("runs").out


def test_an_error_message_cannot_write_the_screen(terminal: Terminal) -> None:
    terminal.write(
        "rude.py",
        "from strongroom import Flow, task\n@task\ndef rude(): raise ValueError('\\x1b[2J\\x1b]0;title\\x07\\nnext')\n"
        "with Flow('rude') as flow: rude()\n",
    )

    for arguments in (["run", "rude.py", "--traceback"], ["show", "last", "--traceback"]):
        done = terminal.see(*arguments)
        assert "\\x1b[2J\\x1b]0;title\\x07 next" in done.plain.replace("\n", "")
        assert "\x1b[2J" not in done.out
        assert "\x1b]0" not in done.out


@given(st.text())
def test_what_is_printable_stays_as_it_is_and_nothing_else_is_left(text: str) -> None:
    shown = printable(text)

    assert shown.isprintable()
    assert shown == text or not text.isprintable()


def drawn(width: int, *rows: tuple[str, ...]) -> list[str]:
    file = io.StringIO()
    Output(Console(file=file, width=width)).table(("task", "size", "result"), rows, right=("size",))
    return file.getvalue().splitlines()


def test_a_table_is_aligned_and_becomes_narrower_in_steps() -> None:
    row = ("a-task", "9 kB", "a/rather/long/place")

    assert drawn(60, row) == ["task    size  result", "a-task  9 kB  a/rather/long/place"]
    assert drawn(30, row) == ["task    size", "a-task  9 kB", "    a/rather/long/place"]
    assert drawn(11, row) == ["a-task", "  size 9 kB", "  result a/rather/long/place"]


def test_a_table_of_wide_characters_is_aligned_by_what_they_take() -> None:
    assert drawn(60, ("日本", "1 B", "x"), ("abcd", "2 B", "y"))[1:] == ["日本   1 B  x", "abcd   2 B  y"]


def test_pieces_are_kept_whole() -> None:
    file = io.StringIO()

    Output(Console(file=file, width=12)).pieces([Text("one=1"), Text("two=2"), Text("three=3")])

    assert file.getvalue().splitlines() == ["one=1  two=2", "three=3"]


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (999_949, "999.9 kB"), (999_950, "1.0 MB"), (10**15, "1000.0 TB")],
)
def test_sizes_are_rounded_to_what_a_person_reads(count: int, text: str) -> None:
    assert size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "-"), (0.0314, "31 ms"), (1.26, "1.3 s"), (59.94, "59.9 s"), (125, "2 min 05 s"), (7440, "2 h 04 min")],
)
def test_durations_are_rounded_to_what_a_person_reads(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text
