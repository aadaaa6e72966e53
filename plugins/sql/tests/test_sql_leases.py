# SPDX-License-Identifier: Apache-2.0
"""Do processes that share nothing but the file respect each other's leases, and does nothing stay of the dead?

Run as a script, this file is one of the processes.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from strongroom.errors import BackendError
from strongroom_sql import _leases
from strongroom_sql._schema import migrate
from strongroom_sql.backend import SQLBackend

LONG = 600.0
NAME = "a" * 32


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/strongroom.db"


@pytest.fixture
def backend(url: str) -> Iterator[SQLBackend]:
    with SQLBackend(url) as backend:
        yield backend


def race(url: str, turns: str, slots: str) -> None:
    """Take turns in holding a lease; say for each its epoch, and how many processes held one just then."""
    inside = Path("inside")
    with SQLBackend(url) as backend:
        os.write(1, b"ready\n")
        sys.stdin.readline()
        for _ in range(int(turns)):
            while (lease := backend.acquire(NAME, "one of many", seconds=LONG, slots=int(slots))) is None:
                pass
            mine = inside / f"{os.getpid()}"
            mine.touch()
            time.sleep(0.001)  # long enough for somebody else to be seen who should not be here
            os.write(1, f"{lease.epoch} {len(list(inside.iterdir()))}\n".encode())
            mine.unlink()
            backend.release(lease)


def hold(url: str, seconds: str) -> None:
    """Hold a lease, and say so, until the end."""
    with SQLBackend(url) as backend:
        assert backend.acquire(NAME, "a mortal", seconds=float(seconds)) is not None
        os.write(1, b"held\n")
        sys.stdin.readline()


def a_process(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, __file__, *arguments]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@pytest.mark.parametrize("slots", [1, 2])
def test_processes_that_race_never_hold_more_than_there_are_slots(url: str, slots: int) -> None:
    Path("inside").mkdir()
    processes = [a_process("race", url, "20", str(slots)) for _ in range(4)]
    assert [line_of(process) for process in processes] == ["ready"] * 4

    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    said = [process.communicate(timeout=300)[0].splitlines() for process in processes]

    assert [process.returncode for process in processes] == [0] * 4
    turns = [line.split() for lines in said for line in lines]
    assert max(int(count) for _, count in turns) <= slots
    assert len({epoch for epoch, _ in turns}) == len(turns) == 80


def test_a_killed_holder_frees_its_slot_when_its_time_is_over_and_not_before(url: str, backend: SQLBackend) -> None:
    with a_process("hold", url, "1.5") as holder:
        before = time.monotonic()
        assert line_of(holder) == "held"
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait(60)

    while (lease := backend.acquire(NAME, "the next", seconds=LONG)) is None:
        assert time.monotonic() < before + 60

    assert time.monotonic() > before + 1.49
    assert lease.epoch > 1


def test_nothing_stays_of_leases_that_have_expired(backend: SQLBackend) -> None:
    for number in range(50):
        assert backend.acquire(f"name {number}", "one", seconds=0) is not None

    assert backend.acquire(NAME, "one", seconds=LONG) is not None

    with backend._transaction() as connection:
        assert connection.exec_driver_sql("SELECT name FROM leases").scalars().all() == [NAME]


def test_epochs_grow_although_nothing_is_left_and_the_database_was_closed(url: str) -> None:
    epochs = []
    for _ in range(3):
        with SQLBackend(url) as backend:
            lease = backend.acquire(NAME, "one", seconds=LONG)
            assert lease is not None
            epochs.append(lease.epoch)
            backend.release(lease)

    assert epochs == sorted(set(epochs))


def test_whoever_asks_in_vain_writes_nothing(url: str, backend: SQLBackend) -> None:
    assert backend.acquire(NAME, "one", seconds=LONG) is not None
    with SQLBackend(url) as watching:

        def version() -> int:
            with watching._transaction() as connection:
                return int(connection.exec_driver_sql("PRAGMA data_version").scalar_one())

        before = version()
        assert backend.acquire(NAME, "two", seconds=LONG) is None
        assert version() == before

        assert backend.acquire("another", "two", seconds=LONG) is not None
        assert version() != before


def test_leases_leave_the_next_batch_as_durable_as_ever(backend: SQLBackend) -> None:
    lease = backend.acquire(NAME, "one", seconds=LONG)
    assert lease is not None
    backend.acquire(NAME, "two", seconds=LONG)
    backend.renew(lease, seconds=LONG)
    backend.release(lease)
    with pytest.raises(BackendError, match="out of range"):
        backend.acquire(NAME, "one", seconds=1e30)

    with backend._transaction() as connection:
        full = 2
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar_one() == full


@pytest.mark.parametrize("call", ["acquire", "renew"])
def test_a_lease_in_a_file_that_was_moved_away_is_refused(backend: SQLBackend, tmp_path: Path, call: str) -> None:
    lease = backend.acquire(NAME, "one", seconds=LONG)
    assert lease is not None
    (tmp_path / "strongroom.db").rename(tmp_path / "elsewhere.db")

    with pytest.raises(BackendError, match="moved or deleted"):
        backend.acquire("another", "one", seconds=LONG) if call == "acquire" else backend.renew(lease, seconds=LONG)


def test_what_is_asked_about_leases_is_compiled_once(tmp_path: Path) -> None:
    cache: dict[object, object] = {}
    engine = sa.create_engine(f"sqlite:///{tmp_path}/leases.db", poolclass=sa.NullPool)
    with engine.begin() as connection:
        migrate(connection, "the database")
        connection.execution_options(compiled_cache=cache)

        _leases.is_full(connection, NAME, slots=1)
        lease = _leases.acquire(connection, NAME, "one", seconds=LONG, slots=1)
        assert lease is not None
        _leases.renew(connection, lease, seconds=LONG)
        _leases.release(connection, lease)

    # To look; to sweep those of a name and all others, to look and to insert; to renew; to delete.
    assert len(cache) == 7


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
