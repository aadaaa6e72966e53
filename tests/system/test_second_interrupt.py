# SPDX-License-Identifier: Apache-2.0
"""The first ctrl-C asks for an orderly end; the second one ends the process at once, and still the record is whole."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from strongroom.project import Project

PROGRAM = [sys.executable, str(Path(__file__).with_name("stubborn_runs.py"))]
# Nobody who waits for a task of five minutes is done by then, on however slow a machine.
AT_ONCE = 120.0
INTERRUPTED = -signal.SIGINT


@contextmanager
def started(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """The program, once it says that what goes on for minutes has begun."""
    with Path("errors").open("w") as errors:
        process = subprocess.Popen([*PROGRAM, *arguments], stdout=subprocess.PIPE, stderr=errors, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n", Path("errors").read_text()
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_for(text: str) -> None:
    deadline = time.monotonic() + AT_ONCE
    while text not in Path("errors").read_text():
        assert time.monotonic() < deadline, Path("errors").read_text()
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("executor", "what"),
    [
        ("sync", "cleans_up"),
        ("sync", "is_kept"),
        ("threads", "sleeps"),
        ("threads", "is_told_about"),
        ("processes", "is_told_about"),
    ],
)
def test_the_second_one_ends_the_process_whatever_goes_on_there(executor: str, what: str) -> None:
    with started(executor, what) as process:
        process.send_signal(signal.SIGINT)
        wait_for("press it again to stop at once")
        assert process.poll() is None

        process.send_signal(signal.SIGINT)

        assert process.wait(AT_ONCE) == INTERRUPTED
    assert f"waiting for the end of {what}" in Path("errors").read_text()
    _check_record(executor, what)


@pytest.mark.parametrize(("executor", "what"), [("processes", "sleeps"), ("sync", "sleeps"), ("sync", "is_told_about")])
def test_where_nobody_has_to_be_waited_for_the_first_one_is_enough(executor: str, what: str) -> None:
    with started(executor, what) as process:
        process.send_signal(signal.SIGINT)

        assert process.wait(AT_ONCE) == INTERRUPTED
    _check_record(executor, what)


def test_the_second_one_ends_a_run_whose_database_is_locked(isolated: Path) -> None:
    with (
        started("threads", "sleeps") as process,
        closing(sqlite3.connect(isolated / "strongroom.db", timeout=60)) as other,
    ):
        other.execute("BEGIN EXCLUSIVE")
        process.send_signal(signal.SIGINT)
        wait_for("press it again to stop at once")

        process.send_signal(signal.SIGINT)

        assert process.wait(AT_ONCE) == INTERRUPTED
    _check_record("threads", "sleeps")


@pytest.mark.parametrize("executor", ["sync", "threads", "processes"])
def test_the_second_one_ends_a_run_that_waits_for_room_in_the_outbox(
    executor: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STRONGROOM_BACKEND_OUTBOX_MEGABYTES", "1")
    with started(executor, "fills_the_outbox") as process:
        process.send_signal(signal.SIGINT)
        wait_for("press it again to stop at once")

        process.send_signal(signal.SIGINT)

        assert process.wait(AT_ONCE) == INTERRUPTED, Path("errors").read_text()
    # There was no room to write down that it ended: it is gone on with like one that was killed.
    (waiting,) = Project.open().outbox.waiting()
    done = subprocess.run(
        [*PROGRAM, executor, "fills_the_outbox", waiting.run_id, "now"], capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()


def _check_record(executor: str, what: str) -> None:
    """See that the record has an end for all that was begun, and that the run can be gone on with."""
    project = Project.open()
    last: dict[tuple[str, int], str] = {}
    with project.open_backend() as backend:
        project.outbox.deliver(backend, seconds=AT_ONCE)
        (run_id,) = backend.runs()
        for document in project.documents(backend, run_id):
            last[document.task, document.map_index] = document.type
    assert last.pop(("", -1)) == "Cancelled"
    assert last.pop(("first", -1)) == "Success"
    assert set(last.values()) == {"Cancelled"}
    done = subprocess.run([*PROGRAM, executor, what, run_id, "now"], capture_output=True, check=False, timeout=240)
    assert done.returncode == 0, done.stderr.decode()
