# SPDX-License-Identifier: Apache-2.0
"""Are the records of a storage checked at once where that is quicker, in order, and left when nobody waits any more?"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from strongroom._checking import in_order
from strongroom._plugins import Plugins
from strongroom.errors import DamagedError
from strongroom.keyring import Key, Keyring
from strongroom.results import ResultStore
from strongroom.testing._executor_tasks import Literal

PATIENCE = 60


class Together(MemoryFileSystem):  # type: ignore[misc]  # fsspec publishes no types
    """A store of which no record can be read before so many are asked for at once."""

    cachable = False
    barrier: threading.Barrier | None = None

    def open(self, path: str, mode: str = "rb", **options: object) -> object:
        if self.barrier is not None and mode == "rb":
            self.barrier.wait(PATIENCE)
        return super().open(path, mode, **options)


@pytest.fixture
def files() -> Iterator[Together]:
    files = Together()
    files.store = {}
    files.pseudo_dirs = [""]
    yield files
    files.barrier = None


def a_store(files: Together) -> ResultStore:
    return ResultStore(
        (files, "/records"), serializer=Literal(), keyring=Keyring([Key(bytes(32))]), allow=(), plugins=Plugins({})
    )


def test_eight_records_of_a_remote_storage_are_read_at_once_and_told_in_the_order_of_the_list(files: Together) -> None:
    store = a_store(files)
    for number in range(24):
        store.write(number, f"runs/{number:02}")
    files.store["/records/runs/07"].seek(0)
    files.store["/records/runs/07"].write(b"no record")
    files.barrier = threading.Barrier(8)

    found = list(store.verify())

    assert [each.key for each in found] == [entry.key for entry in store.list()]
    assert [each.key for each in found if isinstance(each.problem, DamagedError)] == ["runs/07"]


def test_what_is_deleted_meanwhile_is_no_problem(files: Together) -> None:
    store = a_store(files)
    for number in range(40):
        store.write(number, f"runs/{number:02}")
    checking = store.verify()

    first = next(checking)
    # No more than sixteen are ahead.
    for number in range(20, 40):
        store.delete(f"runs/{number:02}")

    assert [first.key, *(each.key for each in checking)] == [f"runs/{number:02}" for number in range(20)]


def test_no_more_than_twice_as_many_are_ahead_as_are_worked_on_at_once() -> None:
    asked = list[int]()

    def items() -> Iterator[int]:
        for number in range(100):
            asked.append(number)
            yield number

    squares = in_order(lambda number: number * number, items(), 4)

    assert [next(squares) for _ in range(3)] == [0, 1, 4]
    assert len(asked) == 10
    assert list(squares) == [number * number for number in range(3, 100)]


def test_an_error_comes_in_its_turn_and_ends_it() -> None:
    done = list[float]()

    with pytest.raises(ZeroDivisionError):
        done.extend(in_order(lambda number: 6 / number, [3, 2, 0, 1], 4))

    assert done == [2.0, 3.0]


def test_nothing_is_begun_when_nobody_asks_any_more() -> None:
    begun, go_on = list[int](), threading.Event()
    before = threading.active_count()

    def work(number: int) -> int:
        begun.append(number)
        assert number == 0 or go_on.wait(PATIENCE)
        return number

    numbers = in_order(work, range(100), 2)
    assert next(numbers) == 0
    numbers.close()  # type: ignore[attr-defined]  # it is a generator
    go_on.set()
    for thread in threading.enumerate():
        if thread.name.startswith("strongroom-check"):
            thread.join(PATIENCE)

    assert set(begun) <= {0, 1, 2}
    # Threads of other tests may have ended meanwhile.
    assert threading.active_count() <= before


INTERRUPTED = """
import os, signal, sys, threading
from strongroom._checking import in_order

def work(number):
    if number:
        threading.Event().wait()
    return number

try:
    for number in in_order(work, range(10), 4):
        print(number, flush=True)
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


def test_an_interrupt_does_not_wait_for_reads_that_hang(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=PATIENCE
    )

    assert done.stdout.splitlines() == ["0", "interrupted"]
    assert done.stderr == ""
