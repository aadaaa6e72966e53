# SPDX-License-Identifier: Apache-2.0
"""Does the command line draw flows?"""

from __future__ import annotations

import os
import shutil

import pytest

from .terminal import Terminal


def test_a_flow_is_printed_for_graphviz(terminal: Terminal) -> None:
    done = terminal.run("draw", "flows.py:bad")

    assert (done.code, done.err) == (0, "")
    assert done.lines[0] == "digraph {"
    assert '  t1 -> t2 [label="value"]' in done.lines


def test_a_flow_is_printed_for_mermaid(terminal: Terminal) -> None:
    done = terminal.call("draw", "flows.py:bad", "--mermaid")

    assert (done.code, done.lines[0]) == (0, "flowchart TD")
    assert '  t1 -->|"value"| t2' in done.lines


def test_nothing_is_run_and_nothing_is_made(terminal: Terminal) -> None:
    assert terminal.run("draw", "flows.py:good").code == 0

    assert not terminal.home.exists()


@pytest.mark.parametrize(
    ("name", "first"), [("flow.dot", "digraph {"), ("flow.gv", "digraph {"), ("flow.mmd", "flowchart TD")]
)
def test_the_ending_of_the_file_decides_what_is_written(terminal: Terminal, name: str, first: str) -> None:
    done = terminal.call("draw", "flows.py:bad", "--out", name)

    assert (done.code, done.out) == (0, "")
    assert (terminal.folder / name).read_text().splitlines()[0] == first


@pytest.mark.skipif(not shutil.which("dot") and os.environ.get("CI") != "true", reason="Graphviz is not installed")
def test_a_picture_is_drawn(terminal: Terminal) -> None:
    done = terminal.call("draw", "flows.py:bad", "--out", "flow.svg")

    assert (done.code, done.err) == (0, "")
    assert "</svg>" in (terminal.folder / "flow.svg").read_text()


def test_what_the_file_prints_is_not_part_of_the_drawing(terminal: Terminal) -> None:
    terminal.write("loud.py", "from strongroom import Flow\nprint('loud')\nf = Flow('f')\n")

    done = terminal.run("draw", "loud.py")

    assert done.lines[0] == "digraph {"
    assert done.err == "loud\n"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["nowhere.py"], 2, "there is no file nowhere.py"),
        (["flows.py"], 2, "has several flows"),
        (["flows.py:bad", "--out", "flow.exe"], 2, "end the name in .svg"),
        (["flows.py:bad", "--out", "no/where.dot"], 1, "no/where.dot cannot be written: No such file or directory"),
    ],
)
def test_what_cannot_be_drawn_is_said_in_one_line(
    terminal: Terminal, arguments: list[str], code: int, words: str
) -> None:
    done = terminal.call("draw", *arguments)

    assert (done.code, done.out) == (code, "")
    assert words in done.err
    assert len(done.err.splitlines()) == 1


def test_without_graphviz_one_is_told_how_to_get_it(terminal: Terminal) -> None:
    done = terminal.call("draw", "flows.py:bad", "--out", "flow.svg", PATH=str(terminal.folder))

    assert done.code == 1
    assert "apt install graphviz" in done.err
