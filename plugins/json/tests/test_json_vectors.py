# SPDX-License-Identifier: Apache-2.0
"""Is what an earlier version wrote read as it was meant, and written the same today?"""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path, PurePosixPath, PureWindowsPath
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from strongroom.testing import difference, vector
from strongroom_json import JSON

FOLDER = Path(__file__).parents[3] / "tests" / "vectors" / "json"

VECTORS = {
    "plain.json": {"name": "ünïcödé", "rows": [1, -2.5, True, None, 2**64 - 1], "nested": {"empty": [{}, []]}},
    "numbers.json": [2**64, -(2**63) - 1, -0.0, math.nan, math.inf, -math.inf, Decimal("-1.10"), Decimal("sNaN7")],
    "containers.json": [(1, ()), {"b", "a", 1}, frozenset({(1, 2)}), {1: "a", None: (2,), (3,): {"x": b"y"}}],
    "texts.json": ["half \udcff", b"\0\xff", {"\udcff": 1}],
    "escapes.json": {"$tuple": [1], "$$": {"$": "$"}, "plain": "$set"},
    "times.json": [
        *(date(2026, 1, 31), timedelta(-1, 2, 3), time(1, 2, 3, 4), datetime(2026, 1, 31, 5, tzinfo=UTC)),
        datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=ZoneInfo("Europe/Berlin")),
        datetime(2026, 1, 31, tzinfo=timezone(timedelta(hours=5, minutes=30), "IST")),
    ],
    "others.json": [UUID(int=1), PurePosixPath("a/b"), PureWindowsPath("C:\\a"), PurePosixPath("\udcff")],
}


@pytest.mark.parametrize("name", VECTORS)
def test_what_was_written_once_is_read_for_ever(name: str) -> None:
    stored = vector(FOLDER / name, lambda: JSON().dumps(VECTORS[name]))

    assert difference(VECTORS[name], JSON().loads(stored)) is None


@pytest.mark.parametrize("name", VECTORS)
def test_the_same_value_is_written_as_the_same_bytes(name: str) -> None:
    assert vector(FOLDER / name, lambda: JSON().dumps(VECTORS[name])) == JSON().dumps(VECTORS[name])
