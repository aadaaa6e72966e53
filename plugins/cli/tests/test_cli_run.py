# SPDX-License-Identifier: Apache-2.0
"""Does `strongroom run` run the right flow with the right parameters, and say what became of it?"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom_cli._load import read_parameters

from .terminal import Terminal

STUBBORN = """
from threading import Lock
from strongroom import Flow, task

class StubbornError(Exception):
    def __init__(self):
        super().__init__("not today")
        self.lock = Lock()

@task
def fails():
    raise StubbornError

with Flow("stubborn") as flow:
    fails()
"""
MANY = """
from strongroom import Flow, task

@task
def one(number):
    if number == 77:
        raise ValueError("not this one")

with Flow("many") as flow:
    for number in range(300):
        one(number)
"""

WAITS = """
import threading
from strongroom import Flow, task

@task
def waits():
    print("now it waits", flush=True)
    # Again and again: Python can miss a signal that comes just before a wait begins, until that ends.
    while not threading.Event().wait(0.1):
        pass

@task
def after(value):
    pass

with Flow("waits") as flow:
    after(waits())
"""

WAITS_AFTER_CHILDREN = """
import threading
from strongroom import Flow, task

@task
def each(x):
    return x

@task
def waits(x):
    print("now it waits", flush=True)
    while not threading.Event().wait(0.1):
        pass

with Flow("flow") as flow:
    waits(each.map([1, 2, 3]))
"""
WAITS_IN_A_THREAD = """
import signal, sys, threading
from strongroom import Flow, task

asked = threading.Event()

def hear(number, frame):
    asked.set()
    raise KeyboardInterrupt

signal.signal(signal.SIGINT, hear)

@task(persist_result=True)
def waits():
    # The engine must be waiting too: a thread that is just being started is not known to its executor yet.
    main = threading.main_thread().ident
    while sys._current_frames()[main].f_code.co_name != "next_done":
        pass
    print("now it waits", flush=True)
    return asked.wait(50)

with Flow("waits") as flow:
    waits()
"""


def test_a_flow_that_succeeds_ends_with_0_and_says_where_each_result_lies(terminal: Terminal) -> None:
    done = terminal.run("run", "flows.py:good", "rows=4")

    assert (done.code, done.err) == (0, "")
    (row,) = [line for line in done.lines if line.startswith("table ")]
    place = row.split()[-1]
    assert (terminal.folder / place).is_file()
    assert f"{(terminal.folder / place).stat().st_size} B" in row


def test_the_last_line_says_what_the_backend_got_and_it_is_what_the_backend_holds(terminal: Terminal) -> None:
    done = terminal.call("run", "flows.py:good")
    held = json.loads(terminal.call("egress", "show", "last", "--json").out)["totals"]

    assert done.lines[-1].startswith(f"backend: {held['documents']} documents, {held['bytes'] / 1000:.1f} kB, of which")
    assert f"{held['clear_bytes'] / 1000:.1f} kB in clear" in done.lines[-1]
    assert f"{held['sealed_bytes'] / 1000:.1f} kB sealed" in done.lines[-1]


def test_a_flow_that_fails_ends_with_1_and_says_why_in_one_line_that_leads_to_the_users_code(
    terminal: Terminal,
) -> None:
    done = terminal.run("run", "flows.py:bad")

    assert done.code == 1
    number = next(n for n, line in enumerate(_source(terminal), 1) if "number / 0" in line)
    (row,) = [line for line in done.lines if line.startswith("breaks ")]
    assert row.endswith(f"ZeroDivisionError: division by zero (flows.py:{number})")
    assert "Traceback" not in done.out + done.err


def test_an_error_that_cannot_leave_its_process_is_told_as_any_other(terminal: Terminal) -> None:
    terminal.write("stubborn.py", STUBBORN)

    done = terminal.run("run", "stubborn.py", "--executor", "processes")

    (row,) = [line for line in done.lines if line.startswith("fails ")]
    assert row.endswith("StubbornError: not today (stubborn.py:12)")


def test_an_error_that_does_not_come_from_the_users_code_is_not_given_a_line_of_ours(terminal: Terminal) -> None:
    done = terminal.call("run", "flows.py:bad")

    (row,) = [line for line in done.lines if line.startswith("never ")]
    assert row.split()[1] == "TriggerFailed"
    assert ".py" not in row


def test_a_traceback_is_shown_when_asked_for_and_only_of_the_users_code(terminal: Terminal) -> None:
    done = terminal.call("run", "flows.py:bad", "--traceback")

    assert "Traceback (most recent call last)" in done.out
    assert "return number / 0" in done.out
    assert "_task_runner" not in done.out


def test_what_a_task_prints_is_printed_and_each_task_gets_a_line_in_a_pipe(terminal: Terminal) -> None:
    done = terminal.call("run", "flows.py:good")

    assert "the total is computed" in done.lines
    assert re.search(r"^total: Success after [\d.]+ m?s$", done.out, re.MULTILINE)
    assert re.search(r"^download: Failed after [\d.]+ m?s: OSError: the first attempt fails ", done.out, re.MULTILINE)
    assert "download: Retrying" in done.lines


def test_of_many_tasks_only_failures_and_every_tenth_part_get_a_line(terminal: Terminal) -> None:
    terminal.write("many.py", MANY)

    done = terminal.call("run", "many.py")

    assert "150 of 300 tasks finished" in done.lines
    assert len(done.lines) < 20
    (failure,) = [line for line in done.lines if line.startswith("one-78: Failed")]
    assert "ValueError: not this one (many.py:7)" in failure
    assert "300 tasks: 1 Failed, 299 Success" in done.out


def test_json_is_all_that_goes_to_standard_output_whatever_the_tasks_print(terminal: Terminal) -> None:
    done = terminal.run("run", "flows.py:bad", "--json")
    good = terminal.run("run", "flows.py:good", "--json")

    told = json.loads(done.out)
    assert (done.code, told["state"], told["flow"]) == (1, "Failed", "bad")
    error = next(task["error"] for task in told["tasks"] if task["task"] == "breaks")
    assert (error["kind"], error["message"]) == ("ZeroDivisionError", "division by zero")
    assert Path(error["file"]).name == "flows.py"
    assert json.loads(good.out)["state"] == "Success"
    assert "the total is computed" in good.err


def test_a_value_is_json_if_it_parses_and_a_file_may_bring_more(terminal: Terminal) -> None:
    terminal.write("more.json", '{"a": 1, "b": [true]}')
    terminal.write(
        "given.py",
        "from strongroom import flow, task\n"
        "@task\ndef show(a, b, c): print(repr((a, b, c)))\n"
        "@flow\ndef given(a, b, c): show(a, b, c)\n",
    )

    done = terminal.call("run", "given.py", 'a={"x": null}', "c=a text", "--parameters", "more.json")

    assert "({'x': None}, [True], 'a text')" in done.lines


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(JSON)
def test_every_json_value_arrives_as_it_is(value: object) -> None:
    assert read_parameters([f"x={json.dumps(value)}"], None) == {"x": value}


@pytest.mark.parametrize("text", ["", "2024-05-01", "a=b", "NaN", "Infinity", "[1,", "None", "s3://bucket/key"])
def test_what_is_no_json_arrives_as_text(text: str) -> None:
    assert read_parameters([f"x={text}"], None) == {"x": text}


def test_classes_of_the_file_can_be_pickled_and_its_neighbours_imported_and_its_main_block_does_not_run(
    terminal: Terminal,
) -> None:
    (terminal.folder / "elsewhere").mkdir()
    terminal.write("elsewhere/beside.py", "NUMBER = 41\n")
    terminal.write(
        "elsewhere/pickles.py",
        "import sys\nimport beside\nprint('the file is imported')\n"
        "from strongroom import Flow, task\n"
        "class Point:\n    x = beside.NUMBER\n"
        '@task(result_serializer="pickle", cache_result_in_memory=False)\ndef make(): return Point()\n'
        "@task\ndef use(point): print(type(point) is Point, point.x, sys.modules['pickles'].Point is Point)\n"
        'with Flow("pickles") as flow: use(make())\n'
        'if __name__ == "__main__": print("main ran")\n',
    )

    done = terminal.run("run", "elsewhere/pickles.py", "--executor", "threads")

    assert done.code == 0
    assert "True 41 True" in done.lines
    assert "main ran" not in done.out
    assert done.lines.count("the file is imported") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["flows.py"], "has several flows; say which: flows.py:good, flows.py:bad"),
        (["flows.py:nothing"], "has no flow 'nothing'; it has good, bad"),
        (["absent.py"], "there is no file absent.py"),
        ([".:flow"], "there is no file .:flow"),
        (["text.txt"], "not a Python file"),
        (["empty.py"], "empty.py has no flow"),
        (["raises.py"], "raises.py could not be imported: KeyError: 'a' (raises.py:2)"),
        (["leaves.py"], "leaves.py could not be imported: SystemExit: 3 (leaves.py:2)"),
        (["syntax.py"], "syntax.py could not be imported: SyntaxError: "),
        (["builds.py"], "builds.py could not be imported: CycleError: these tasks wait for each other"),
        (["odd/json.py"], "odd/json.py has the name of the module 'json', which is in use"),
        (["flows.py:good", "rowz=1"], "has no parameter 'rowz'"),
        (["flows.py:good", "rows"], "'rows' is no parameter; write NAME=VALUE"),
        (["flows.py:good", "rows=1", "rows=2"], "the parameter 'rows' is given twice"),
        (["flows.py:good", "--parameters", "text.txt"], "text.txt is not JSON"),
        (["flows.py:good", "--parameters", "absent.json"], "cannot be read from absent.json: No such file"),
        (["flows.py:good", "--executor", "moon"], "there is no executor 'moon'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_misuse_ends_with_2_and_one_clear_line(terminal: Terminal, arguments: list[str], said: str) -> None:
    terminal.write("text.txt", "no Python")
    (terminal.folder / "odd").mkdir()
    terminal.write("odd/json.py", "")
    terminal.write("empty.py", "")
    terminal.write("raises.py", "def f():\n    return {}['a']\nf()\n")
    terminal.write("leaves.py", "import sys\nsys.exit(3)\n")
    terminal.write("syntax.py", "def f(:\n")
    terminal.write(
        "builds.py",
        "from strongroom import Flow, Task\na, b = Task('a'), Task('b')\n"
        "with Flow('f') as flow:\n    flow.add_edge(a, b); flow.add_edge(b, a)\n    flow.validate()\n",
    )

    done = terminal.call("run", *arguments)

    assert done.code == 2
    assert done.out == ""
    (line,) = done.err.splitlines()
    assert line.startswith("strongroom: error: ")
    assert said in line


def test_a_file_that_was_just_edited_is_run_as_it_is_now(terminal: Terminal) -> None:
    # Of the same length, and within the same second: what Python compares before it believes its cache.
    flow = "from strongroom import Flow, task\n@task\ndef say(): print('it is {}')\nwith Flow('f') as flow: say()\n"
    said = []
    for number in range(3):
        terminal.write("edited.py", flow.format(number))
        os.utime(terminal.folder / "edited.py", (1_700_000_000, 1_700_000_000))
        said.append(f"it is {number}" in terminal.call("run", "edited.py").out)

    assert said == [True, True, True]


def test_nothing_is_recorded_of_a_misuse(terminal: Terminal) -> None:
    terminal.call("run", "flows.py:good", "rowz=1")
    terminal.call("run", "flows.py:good", "--executor", "moon")

    assert json.loads(terminal.call("runs", "--json").out) == []


def test_ctrl_c_ends_with_130_and_one_line_and_the_run_is_recorded_as_cancelled(terminal: Terminal) -> None:
    terminal.write("waits.py", WAITS)

    done = terminal.interrupt("now it waits", "run", "waits.py")

    assert done.code == 130
    # A machine that takes a second to write down the end says what it waits for.
    (line,) = [line for line in done.err.splitlines() if not line.startswith("ctrl-C: waiting for the end of ")]
    assert re.fullmatch(r"strongroom: run [0-9a-f]{32} was cancelled; 0 of 2 tasks had finished", line)
    told = json.loads(terminal.call("show", "last", "--json").out)
    assert told["state"] == "Cancelled"
    assert {task["task"]: task["state"] for task in told["tasks"]} == {"waits": "Cancelled", "after": "Pending"}


def test_a_mapped_task_counts_as_one_when_ctrl_c_comes(terminal: Terminal) -> None:
    terminal.write("waits.py", WAITS_AFTER_CHILDREN)

    done = terminal.interrupt("now it waits", "run", "waits.py")

    assert done.err.endswith("was cancelled; 2 of 3 tasks had finished\n")


def test_a_task_that_ended_well_while_ctrl_c_was_handled_stays_successful(terminal: Terminal) -> None:
    terminal.write("waits.py", WAITS_IN_A_THREAD)

    done = terminal.interrupt("now it waits", "run", "waits.py", "--executor", "threads")

    told = json.loads(terminal.call("show", "last", "--json").out)
    assert (done.code, told["state"]) == (130, "Cancelled")
    assert [state["type"] for state in told["tasks"][0]["states"]] == ["Running", "Success"]


NEVER_ENDS = """
import concurrent.futures, time
from strongroom import Flow, task

@task
def never_ends():
    # Python itself would wait for such a thread.
    with concurrent.futures.ThreadPoolExecutor() as pool:
        pool.submit(time.sleep, 300)
        print("now it waits", flush=True)

with Flow("waits") as flow:
    never_ends()
"""


def test_a_second_ctrl_c_ends_it_at_once_although_a_thread_goes_on(terminal: Terminal) -> None:
    terminal.write("waits.py", NEVER_ENDS)

    done = terminal.interrupt("now it waits", "run", "waits.py", "--executor", "threads", again="press it again")

    assert done.code == 130
    waiting, cancelled = done.err.splitlines()
    assert waiting == "ctrl-C: waiting for the end of never_ends; press it again to stop at once"
    assert re.fullmatch(r"strongroom: run [0-9a-f]{32} was cancelled; 0 of 1 tasks had finished", cancelled)
    told = json.loads(terminal.call("show", "last", "--json").out)
    assert (told["state"], [task["state"] for task in told["tasks"]]) == ("Cancelled", ["Cancelled"])
    assert terminal.call("verify", "last").code == 0


def test_a_reader_that_goes_away_does_not_stop_the_run(terminal: Terminal) -> None:
    process = terminal.start("run", "flows.py:good")
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    with process:
        err = process.stderr.read().decode()

    assert (process.returncode, err) == (0, "")
    told = json.loads(terminal.call("show", "last", "--json").out)
    assert {task["state"] for task in told["tasks"]} | {told["state"]} == {"Success"}


def _source(terminal: Terminal) -> list[str]:
    return (terminal.folder / "flows.py").read_text().splitlines()
