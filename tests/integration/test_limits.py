# SPDX-License-Identifier: Apache-2.0
"""Do two processes keep to one limit through SQLite, and does one that is killed free what it held?

Run as a script, this file is one of the processes.
"""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from strongroom import Backend, Flow, State, _boot, _leases, _running, task
from strongroom._leases import open_leases
from strongroom.errors import NotResumableError
from strongroom.project import Project

SECONDS = 1.0
# A lease of a minute, which no busy machine loses, and a heartbeat in a tenth of a second.
ALIVE = ("60", "600")
INSIDE = Path("inside")
MOST = Path("most")


def say(word: str) -> None:
    os.write(1, f"{word}\n".encode())


@task(tags=["db"])
def work(number: int) -> int:
    """Leave a file while it runs, so that other processes can see how many run at once."""
    mine = INSIDE / f"{os.getpid()}-{number}"
    mine.touch()
    time.sleep(0.002)  # long enough for somebody else to be seen who should not be here
    with MOST.open("a") as file:
        file.write(f"{len(list(INSIDE.iterdir()))} {os.getpid()}\n")
    mine.unlink()
    return number


@task(tags=["db"])
def stay() -> None:
    """Say that it has begun, and end when it is told to."""
    say("begun")
    sys.stdin.readline()


@task(cache_key="claimed", cache_for=timedelta(hours=1))
def compute() -> int:
    """Say that it has begun, and end when it is told to."""
    say("begun")
    sys.stdin.readline()
    return 1


def work_a_lot() -> None:
    with Flow("work", result_handler="json") as flow:
        for number in range(15):
            work(number)
    say("ready")
    sys.stdin.readline()
    assert flow.run(executor="threads").is_successful()


def hold(seconds: str, beats: str = "3") -> None:
    _leases._BEATS = int(beats)  # type: ignore[misc]  # a constant for everybody else
    _running.open_leases = functools.partial(open_leases, seconds=float(seconds))  # type: ignore[assignment]
    with Flow("hold") as flow:
        stay()
    flow.run()


def claim(seconds: str) -> None:
    _running.open_leases = functools.partial(open_leases, seconds=float(seconds))  # type: ignore[assignment]
    with Flow("claim") as flow:
        compute()
    flow.run()


@contextlib.contextmanager
def a_process(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, __file__, *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def tell(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("go on\n")
    process.stdin.flush()


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> Iterator[Backend]:
    monkeypatch.setenv("STRONGROOM_LIMITS", "db=1")
    with Project.open().open_backend() as backend:
        yield backend


def is_held(backend: Backend) -> bool:
    leases = open_leases(backend, "the test")
    assert leases is not None
    with leases:
        return leases.try_hold(limit_token()) is None


def limit_token() -> str:
    return Project.open().keyring.token("limit", "db")


@pytest.mark.parametrize("limit", [1, 3])
def test_two_processes_share_one_limit(monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    monkeypatch.setenv("STRONGROOM_LIMITS", f"db={limit}")
    INSIDE.mkdir()
    with a_process("work_a_lot") as one, a_process("work_a_lot") as two:
        assert [line_of(one), line_of(two)] == ["ready", "ready"]
        for process in (one, two):
            tell(process)
        assert [one.wait(300), two.wait(300)] == [0, 0]

    seen = [line.split() for line in MOST.read_text().splitlines()]
    assert len(seen) == 30
    assert max(int(count) for count, _ in seen) <= limit
    assert len({process for _, process in seen}) == 2


def test_a_killed_process_frees_its_slot_when_its_lease_has_ended(
    backend: Backend, isolated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As on another machine, where nobody can see that the process is gone.
    monkeypatch.setattr(_boot, "_FILE", Path("absent"))
    seen: list[str] = []
    with closing(sqlite3.connect(isolated / "strongroom.db", timeout=60, isolation_level=None)) as database:

        def let_it_end(_: object, _old: State, new: State) -> None:
            seen.append(type(new).__name__)
            if new.is_queued():
                assert is_held(backend)
                database.execute("UPDATE leases SET expires = 0 WHERE name = ?", [limit_token()])

        with a_process("hold", *ALIVE) as holder:
            assert line_of(holder) == "begun"
            wait_until_renewed(database)
            os.kill(holder.pid, signal.SIGKILL)
        with Flow("next") as flow:
            task(lambda: 1, name="next", tags=["db"], state_handlers=[let_it_end])()
        assert flow.run(backend=backend).is_successful()

    assert seen == ["Queued", "Running", "Success"]


def test_where_it_is_seen_that_the_process_is_gone_its_slot_is_free_at_once(backend: Backend) -> None:
    begin_and_die("hold", *ALIVE)
    assert is_held(backend)
    seen: list[str] = []
    handler = lambda _, __, new: seen.append(type(new).__name__)  # noqa: E731  # it answers with nothing
    with Flow("next") as flow:
        task(lambda: 1, name="next", tags=["db"], state_handlers=[handler])()

    assert flow.run(backend=backend).is_successful()

    assert seen == ["Running", "Success"]


def wait_until_renewed(database: sqlite3.Connection) -> None:
    def end() -> int:
        ((end,),) = database.execute("SELECT expires FROM leases WHERE name = ?", [limit_token()])
        return int(end)

    first, deadline = end(), time.monotonic() + 60
    while end() == first:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_process_that_ends_well_frees_its_slot_at_once(backend: Backend) -> None:
    with a_process("hold", "600") as holder:
        assert line_of(holder) == "begun"
        assert is_held(backend)

        tell(holder)

        assert holder.wait(60) == 0
        assert not is_held(backend)


def test_a_run_that_another_process_runs_cannot_be_resumed_and_goes_on_undisturbed(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_running, "open_leases", functools.partial(open_leases, seconds=SECONDS))
    with a_process("hold", *ALIVE) as holder:
        assert line_of(holder) == "begun"
        (run_id,) = backend.runs()

        with pytest.raises(NotResumableError, match="it is running; wait for its end, or stop its process"):
            with_one_task("hold", "stay").resume(run_id, backend=backend)

        tell(holder)
        assert holder.wait(60) == 0
    assert [row.type for row in backend.read(run_id, task="")][-1] == "Success"


def with_one_task(name: str, slug: str) -> Flow:
    with Flow(name) as flow:
        task(lambda: None, name=slug, tags=["db"])()
    return flow


def begin_and_die(what: str, *arguments: str) -> None:
    with a_process(what, *arguments) as holder:
        assert line_of(holder) == "begun"
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait(60)


def test_a_run_that_was_killed_can_be_resumed_when_its_lease_has_ended(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_boot, "_FILE", Path("absent"))
    monkeypatch.setattr(_running, "open_leases", functools.partial(open_leases, seconds=SECONDS))
    begin_and_die("hold", str(SECONDS))
    (run_id,) = backend.runs()

    assert with_one_task("hold", "stay").resume(run_id, backend=backend).is_successful()


def test_what_a_killed_run_was_computing_for_all_is_computed_by_the_next_one_at_once(backend: Backend) -> None:
    begin_and_die("claim", "600")
    with Flow("other") as flow:
        computed = task(cache_key="claimed", cache_for=timedelta(hours=1), name="compute")(lambda: 2)()

    state = flow.run(backend=backend)

    assert state.result[computed].result == 2  # type: ignore[index]


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
