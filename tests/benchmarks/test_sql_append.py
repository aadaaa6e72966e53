# SPDX-License-Identifier: Apache-2.0
"""How fast are documents appended to SQLite in groups, against what raw `sqlite3` does with the same rows?

Both are measured in turns in one process, and the ratio of their medians is what counts: above 1 we are faster.
"""

from __future__ import annotations

import sqlite3
import statistics
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import pytest
from msgspec.structs import astuple
from pytest_benchmark.fixture import BenchmarkFixture

from strongroom import Envelope
from strongroom_sql.backend import SQLBackend

pytestmark = pytest.mark.benchmark(group="sql append")

ROUNDS = 7
SEALED = 250
BUDGET = 40_000


@dataclass(frozen=True, slots=True)
class Load:
    """How many documents are appended, how many at a time, and whether a thread computes beside."""

    count: int
    group: int
    busy: bool = False

    def __str__(self) -> str:
        return f"groups of {self.group}{', a thread computing' if self.busy else ''}"


# About 1000 is the most that the outbox sends at once, and of 100 what it sends while a run is slower than that.
LOADS = (*(Load(10_000, group) for group in (100, 512, 1000, 5000)), Load(1000, 1000, busy=True))


def documents(count: int) -> list[Envelope]:
    """*count* documents of a new run, three to a task, with blobs of the size that small states have."""
    run_id = uuid.uuid4().hex
    return [
        Envelope(run_id, f"task-{n // 3}", -1, n % 3, "state", "task", "Success", n, 1, n.to_bytes(SEALED))
        for n in range(count)
    ]


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[SQLBackend]:
    with SQLBackend(f"sqlite:///{tmp_path}/ours.db") as backend:
        yield backend


@pytest.fixture
def raw(tmp_path: Path, backend: SQLBackend) -> Iterator[Callable[[Sequence[Envelope]], None]]:
    """Appends with `executemany` to the very same tables, as durably."""
    path = tmp_path / "raw.db"
    with closing(sqlite3.connect(tmp_path / "ours.db")) as ours, closing(sqlite3.connect(path)) as connection:
        connection.isolation_level = None
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        own = "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%'"
        for (statement,) in ours.execute(own):
            connection.execute(statement)
        names = ", ".join(Envelope.__struct_fields__)
        marks = ", ".join("?" * len(Envelope.__struct_fields__))

        def append(envelopes: Sequence[Envelope]) -> None:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(f"INSERT INTO documents ({names}) VALUES ({marks})", map(astuple, envelopes))
            connection.execute("COMMIT")

        yield append


@contextmanager
def busy_thread() -> Iterator[None]:
    """A thread of plain Python beside, as a flow that computes would be."""
    stop = False

    def compute() -> None:
        number = 0
        while not stop:
            number += 1

    thread = threading.Thread(target=compute)
    thread.start()
    try:
        yield
    finally:
        stop = True
        thread.join()


def in_groups(append: Callable[[Sequence[Envelope]], None], sent: Sequence[Envelope], group: int) -> None:
    for start in range(0, len(sent), group):
        append(sent[start : start + group])


@pytest.mark.parametrize("load", LOADS, ids=str)
def test_append_in_groups(
    benchmark: BenchmarkFixture, backend: SQLBackend, raw: Callable[[Sequence[Envelope]], None], load: Load
) -> None:
    backend.append(documents(load.group))  # the statement is compiled once
    raw_seconds = []

    def measure_raw_first() -> tuple[tuple[object, ...], dict[str, object]]:
        sent = documents(load.count)
        start = time.perf_counter()
        in_groups(raw, sent, load.group)
        raw_seconds.append(time.perf_counter() - start)
        return (backend.append, documents(load.count), load.group), {}

    with busy_thread() if load.busy else nullcontext():
        benchmark.pedantic(in_groups, setup=measure_raw_first, rounds=ROUNDS)  # type: ignore[no-untyped-call]

    assert benchmark.stats is not None
    ours, theirs = benchmark.stats.stats.median, statistics.median(raw_seconds)
    benchmark.extra_info |= {"rows per second": load.count / ours, "raw rows per second": load.count / theirs}
    benchmark.extra_info |= {"ratio to raw": theirs / ours, "budget": BUDGET}
