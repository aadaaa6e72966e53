# SPDX-License-Identifier: Apache-2.0
"""How fast are documents appended to PostgreSQL, against raw pipelined inserts of the same rows by psycopg?

Both are durable, are measured in turns in one process, and insert into the very same table. Above 1 we are faster.
"""

from __future__ import annotations

import os
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
# On a disk that others use, too, the ratio swings by a third from one run to the next: 0.56 to 1.06 were seen. So a
# short run finds what is far off, and a long one judges by the budget.
LEAST = BUDGET if os.environ.get("STRONGROOM_TEST_LONG") else 0.4


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

    # The best of each: what is slower waited for the disk of others.
    ratio = min(raw) / min(ours)
    print(f"\n{COUNT / min(ours):,.0f} rows a second, {ratio:.2f} times raw")  # noqa: T201  # the report
    assert ratio >= LEAST
