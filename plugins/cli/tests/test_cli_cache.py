# SPDX-License-Identifier: Apache-2.0
"""Does `strongroom cache explain` say why a cached result was used, or not?"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .terminal import Terminal

FLOW = """
from strongroom import Flow, Parameter, task
from strongroom.caching import INPUTS, TASK_SOURCE

@task(cache_policy=INPUTS + TASK_SOURCE - "verbose")
def load(rows, month, verbose):
    return [rows] * ROWS

ROWS = {rows}

@task(cache_key_fn=lambda context, inputs: None)
def never():
    return 1

@task(cache_policy=INPUTS)
def each(x):
    return x

with Flow("flow") as flow:
    load(Parameter("rows", default=1), Parameter("month", default=1), Parameter("verbose", default=True))
    never()
    each.map([1, 2])
"""


@pytest.fixture
def terminal(terminal: Terminal) -> Terminal:
    write(terminal, 1)
    return terminal


def write(terminal: Terminal, rows: int) -> None:
    terminal.write("flow.py", FLOW.format(rows=rows))


def explained(terminal: Terminal, task: str = "load", *parameters: str) -> list[dict[str, object]]:
    assert terminal.call("run", "flow.py", *parameters).code == 0
    done = terminal.call("cache", "explain", "last", task, "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert isinstance(found, list)
    return found


def test_the_first_run_misses_since_nothing_is_kept(terminal: Terminal) -> None:
    (told,) = explained(terminal)

    assert (told["hit"], told["reason"], told["compared_with"]) == (False, "nothing is kept under its key", None)
    assert told["parts"] == dict.fromkeys(["input month", "input rows", "source", "task"])


def test_a_hit_says_so(terminal: Terminal) -> None:
    explained(terminal)

    (told,) = explained(terminal, "load", "verbose=false")

    assert (told["hit"], told["reason"]) == (True, "the result that is kept under its key is used")
    assert set(told["parts"].values()) == {"the same"}  # type: ignore[attr-defined]


def test_a_miss_names_the_input_that_is_different(terminal: Terminal) -> None:
    explained(terminal)

    (told,) = explained(terminal, "load", "month=2")

    assert not told["hit"]
    assert [part for part, how in told["parts"].items() if how != "the same"] == ["input month"]  # type: ignore[attr-defined]


def test_a_miss_after_a_change_of_a_value_that_the_task_uses_names_the_source(terminal: Terminal) -> None:
    explained(terminal)
    write(terminal, 2)

    (told,) = explained(terminal)

    assert [part for part, how in told["parts"].items() if how != "the same"] == ["source"]  # type: ignore[attr-defined]


def test_each_child_of_a_mapped_task_is_explained_against_the_nearest_one(terminal: Terminal) -> None:
    explained(terminal, "each")

    told = explained(terminal, "each")

    assert [(each["map_index"], each["hit"]) for each in told] == [(0, True), (1, True)]
    assert all(how == "the same" for each in told for how in each["parts"].values())  # type: ignore[attr-defined]


def test_a_task_without_a_key_says_who_gave_none(terminal: Terminal) -> None:
    (told,) = explained(terminal, "never")

    assert (told["hit"], told["reason"], told["key"]) == (False, "cache_key_fn gave no key", None)


def test_on_a_terminal_it_is_a_table(terminal: Terminal) -> None:
    explained(terminal)
    explained(terminal, "load", "month=2")

    shown = terminal.see("cache", "explain", "last", "load").plain

    assert "load: miss: nothing is kept under its key" in shown
    assert "input month" in shown
    assert "different" in shown


@pytest.mark.parametrize(
    ("task", "complaint"), [("nothing", "nothing"), ("rows", "the task 'rows' is not cached; give it a cache_policy")]
)
def test_a_task_that_is_not_there_or_not_cached_is_an_error(terminal: Terminal, task: str, complaint: str) -> None:
    terminal.call("run", "flow.py")

    done = terminal.call("cache", "explain", "last", task)

    assert done.code == 2
    assert complaint in done.err


def test_nothing_of_what_decided_leaves_in_clear(terminal: Terminal, tmp_path: Path) -> None:
    (told,) = explained(terminal)

    backend = b"".join(path.read_bytes() for path in tmp_path.rglob("strongroom.db*"))

    assert backend
    for text in ("nothing is kept", "input month", str(told["key"])):
        assert text.encode() not in backend
