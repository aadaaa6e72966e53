# SPDX-License-Identifier: Apache-2.0
"""Do polars frames and series come back with their schema, or are they refused?"""

from __future__ import annotations

import datetime as dt
import decimal
import inspect
import io
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.errors import SerializationError
from strongroom_arrow import ArrowIPC, strongroom_choose_serializer

Same = Callable[[object, object], None]

SERIES = {
    "Int8": pl.Series([1, None], dtype=pl.Int8),
    "UInt64": pl.Series([2**64 - 1, None], dtype=pl.UInt64),
    "Float32": pl.Series([1.5, None, float("nan"), -0.0], dtype=pl.Float32),
    "Boolean": pl.Series([True, None]),
    "String": pl.Series(["x" * 20, None, "\u6f22"]),
    "Binary": pl.Series([b"x", None]),
    "Date": pl.Series([dt.date(2013, 1, 1), None]),
    "Time": pl.Series([dt.time(1, 2, 3), None]),
    "Datetime": pl.Series([dt.datetime(2013, 1, 1), None], dtype=pl.Datetime("ms")),  # noqa: DTZ001  # without a zone
    "zoned": pl.Series([0, None], dtype=pl.Datetime("ns", "America/New_York")),
    "Duration": pl.Series([dt.timedelta(1), None]),
    "Decimal": pl.Series([decimal.Decimal("1.50"), None], dtype=pl.Decimal(10, 2)),
    "Null": pl.Series([None, None]),
    "Categorical": pl.Series(["u", None, "v"], dtype=pl.Categorical),
    "Enum": pl.Series(["u", None], dtype=pl.Enum(["v", "u", "unused"])),
    "List": pl.Series([[1], None, [2, None]]),
    "List of Enum": pl.Series([["u"], None], dtype=pl.List(pl.Enum(["u"]))),
    "Struct": pl.Series([{"a": 1, "b": ["x"]}, {"a": None, "b": None}]),
    "no name": pl.Series("", [1]),
}
NEWER = int(pl.__version__.partition(".")[0]) > 1
if NEWER:
    SERIES["Array"] = pl.Series([[1, 2], None], dtype=pl.Array(pl.Int8, 2))


@pytest.mark.parametrize("name", SERIES)
def test_a_series_comes_back_alone_and_in_a_frame(name: str, serializer: ArrowIPC, same: Same) -> None:
    series = SERIES[name]

    for value in (series, series[:0], series.to_frame(), series.rename("c").to_frame()[1:]):
        assert strongroom_choose_serializer(value) == "arrow"
        data = serializer.dumps(value)
        same(value, serializer.loads(data))
        same(value, serializer.load(io.BufferedReader(io.BytesIO(data))))


# Older versions have no frames with rows but without columns.
ROWS_ONLY = [pl.DataFrame(height=3)] if "height" in inspect.signature(pl.DataFrame).parameters else []


@pytest.mark.parametrize("frame", [pl.DataFrame(), pl.DataFrame({"a": []}), *ROWS_ONLY], ids=str)
def test_a_frame_with_nothing_in_it_comes_back(frame: pl.DataFrame, serializer: ArrowIPC, same: Same) -> None:
    same(frame, serializer.loads(serializer.dumps(frame)))


def test_a_frame_of_several_slices_comes_back(serializer: ArrowIPC, same: Same) -> None:
    frame = pl.DataFrame({"s": [f"row {number}" for number in range(100_000)]}).with_columns(
        pl.col("s").cast(pl.Categorical).alias("c")
    )

    same(frame, serializer.loads(serializer.dumps(frame)))


@given(rows=st.lists(st.tuples(st.integers(-(2**63), 2**63 - 1), st.text() | st.none(), st.floats() | st.none())))
def test_a_frame_of_any_values_comes_back(rows: list[object], serializer: ArrowIPC, same: Same) -> None:
    frame = pl.DataFrame(rows, {"i": pl.Int64, "s": pl.String, "f": pl.Float64}, orient="row")

    same(frame, serializer.loads(serializer.dumps(frame)))


def test_real_flights_come_back(flights: Path, serializer: ArrowIPC, same: Same) -> None:
    frame = pl.read_csv(flights / "planes.csv", null_values="NA")

    same(frame, serializer.loads(serializer.dumps(frame)))
    assert frame.height > 3_000


def test_the_payload_is_a_stream_that_arrow_opens(serializer: ArrowIPC) -> None:
    frame = pl.DataFrame({"a": [1, 2], "b": ["x", None]})

    assert pa.ipc.open_stream(serializer.dumps(frame)).read_all().to_pydict() == frame.to_dict(as_series=False)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (pl.LazyFrame({"a": [1]}), r"collect\(\)"),
        (pl.DataFrame({"c": pl.Series([object()])}), r"\$\['c'\].*Object"),
        (pl.DataFrame({"c": pl.Series([2**100], dtype=pl.Int128)}), r"\$\['c'\].*Int128"),
        (pl.Expr, "not one of"),
        (pl.DataFrame({"c": pl.Series([[]], dtype=pl.Array(pl.Int8, 0))}), r"\$\['c'\].*no items"),
        (pl.Series("c", [{"x": [[]]}], pl.Struct({"x": pl.List(pl.Array(pl.Int8, 0))})), r"\$\['c'\].*no items"),
    ],
)
def test_what_would_change_is_refused_with_its_place(value: object, reason: str, serializer: ArrowIPC) -> None:
    with pytest.raises(SerializationError, match=reason):
        serializer.dumps(value)

    assert strongroom_choose_serializer(value) is None


@pytest.mark.skipif(NEWER, reason="polars 2 exports slices of arrays as they are")
def test_an_array_that_polars_would_export_wrongly_is_refused(serializer: ArrowIPC) -> None:
    with pytest.raises(SerializationError, match="pip install -U polars"):
        serializer.dumps(pl.Series([[[1, 2]]], dtype=pl.List(pl.Array(pl.Int8, 2))))


@pytest.mark.skipif(not hasattr(pl, "Extension"), reason="older versions of polars have no extension types")
def test_an_extension_type_that_is_somebodys_code_is_refused(serializer: ArrowIPC) -> None:
    series = pl.Series("c", [1]).ext.to(pl.Extension("test.unit", pl.Int64, None))

    with pytest.raises(SerializationError, match=r"\$\['c'\].*([Ee]xtension)"):
        serializer.dumps(series)
