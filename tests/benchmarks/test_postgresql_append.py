# SPDX-License-Identifier: Apache-2.0
"""How fast are documents appended to PostgreSQL, against raw pipelined inserts of the same rows by psycopg?

Both are durable, are measured in turns in one process, and insert into the very same table. Above 1 we are faster.
"""

from __future__ import annotations

import statistics
import time
import uuid

import psycopg
import pytest
from msgspec.structs import astuple

from strongroom import Envelope
from strongroom_sql.postgresql import PostgreSQLBackend

pytestmark = pytest.mark.benchmark(group="postgresql append")

COUNT = 10_000
GROUP = 500
ROUNDS = 5
BUDGET = 0.6


def documents() -> list[Envelope]:
    run_id = uuid.uuid4().hex
    return [
        Envelope(run_id, f"task-{n // 3}", -1, n % 3, "state", "task", "Success", n, 1, n.to_bytes(250))
        for n in range(COUNT)
    ]


def test_append_in_groups(postgresql_url: str) -> None:
    names = ", ".join(Envelope.__struct_fields__)
    marks = ", ".join(["%s"] * len(Envelope.__struct_fields__))
    statement = f"INSERT INTO strongroom.documents ({names}) VALUES ({marks})"
    ours, raw = [], []
    with PostgreSQLBackend(postgresql_url) as backend, psycopg.connect(postgresql_url) as connection:
        backend.append(documents()[:GROUP])
        for _ in range(ROUNDS):
            sent = documents()
            start = time.perf_counter()
            for first in range(0, COUNT, GROUP):
                with connection.transaction(), connection.cursor() as cursor:
                    # Which psycopg sends as a pipeline.
                    cursor.executemany(statement.encode(), list(map(astuple, sent[first : first + GROUP])))
            raw.append(time.perf_counter() - start)
            sent = documents()
            start = time.perf_counter()
            for first in range(0, COUNT, GROUP):
                backend.append(sent[first : first + GROUP])
            ours.append(time.perf_counter() - start)

    ratio = statistics.median(raw) / statistics.median(ours)
    print(f"\n{COUNT / statistics.median(ours):,.0f} rows a second, {ratio:.2f} times raw")  # noqa: T201  # the report
    assert ratio >= BUDGET
