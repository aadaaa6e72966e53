# SPDX-License-Identifier: Apache-2.0
"""How fast are documents appended to PostgreSQL, against raw pipelined inserts of the same rows by psycopg?

Both are durable, are measured in turns, group by group, in one process, and insert into the very same table. Above 1 we
are faster.
"""

from __future__ import annotations

import statistics
import time
import uuid
from collections.abc import Callable

import psycopg
import pytest
from msgspec.structs import astuple
from pytest_benchmark.fixture import BenchmarkFixture

from strongroom import Envelope
from strongroom_sql.postgresql import PostgreSQLBackend

pytestmark = pytest.mark.benchmark(group="postgresql append")

GROUP = 500
GROUPS = 40
BUDGET = 0.6


def documents() -> list[Envelope]:
    run_id = uuid.uuid4().hex
    return [
        Envelope(run_id, f"task-{n // 3}", -1, n % 3, "state", "task", "Success", n, 1, n.to_bytes(250))
        for n in range(GROUP * GROUPS)
    ]


def test_append_in_groups(benchmark: BenchmarkFixture, postgresql_url: str) -> None:
    names = ", ".join(Envelope.__struct_fields__)
    marks = ", ".join(["%s"] * len(Envelope.__struct_fields__))
    statement = f"INSERT INTO strongroom.documents ({names}) VALUES ({marks})"
    ours, raw = [], []
    with PostgreSQLBackend(postgresql_url) as backend, psycopg.connect(postgresql_url) as connection:

        def append_raw(sent: list[Envelope]) -> None:
            with connection.transaction(), connection.cursor() as cursor:
                # Which psycopg sends as a pipeline.
                cursor.executemany(statement.encode(), list(map(astuple, sent)))

        # The tables are made, statements compiled, connections opened.
        backend.append(documents()[:GROUP])
        append_raw(documents()[:GROUP])
        first, second = documents(), documents()
        # Group by group in turns: whatever else the machine and its disk do just then, falls on both.
        starts = iter(range(0, GROUP * GROUPS, GROUP))

        def measure_both() -> None:
            group = slice(start := next(starts), start + GROUP)
            raw.append(seconds(lambda: append_raw(first[group])))
            ours.append(seconds(lambda: backend.append(second[group])))

        benchmark.pedantic(measure_both, rounds=GROUPS)

    # Of so many the middle one: single ones wait for the disk of others.
    ratio = statistics.median(raw) / statistics.median(ours)
    benchmark.extra_info |= {
        "rows per second": GROUP / statistics.median(ours),
        "ratio to raw": ratio,
        "budget": BUDGET,
    }
    assert ratio >= BUDGET


def seconds(call: Callable[[], None]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
