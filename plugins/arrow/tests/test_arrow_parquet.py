# SPDX-License-Identifier: Apache-2.0
"""Do tables and frames come back from Parquet as they were, and is it Parquet?"""

from __future__ import annotations

import datetime as dt
import io
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from strongroom.errors import SerializationError
from strongroom.testing import SerializerTests, vector
from strongroom_arrow import Parquet
from strongroom_arrow._errors import PayloadError
from strongroom_arrow._pages import values_in

Same = Callable[[object, object], None]
VECTORS = Path(__file__).parents[3] / "tests" / "vectors" / "parquet"
PARQUET = Parquet()
KEY = b"strongroom.arrow"

VALUES: dict[str, object] = {
    "table.parquet": pa.table(
        {
            "a": [1, None],
            "s": ["x", None],
            "f": [np.nan, -0.0],
            "l": [[1, None], None],
            "d": [{"x": 1, "y": [b"z"]}, None],
            "t": pa.array([1, None], pa.timestamp("ns", "Europe/Berlin")),
            "n": pa.array([1, 2], pa.decimal128(20, 3)),
        },
        metadata={"k": "v"},
    ),
    "batch.parquet": pa.record_batch({"a": pa.array([1, 2**63], pa.uint64())}),
    "chunked.parquet": pa.chunked_array([["x"], [None, "y"]]),
    "array.parquet": pa.array([dt.date(2026, 1, 31), None]),
    "pandas.parquet": pd.DataFrame(
        {
            "i": [1, 2],
            "s": pd.Series(["x", None], dtype="string[python]"),
            "m": pd.Series([1, None], dtype="Int8"),
            "u": pd.to_datetime(["2013-01-01", None]).as_unit("ns").tz_localize(dt.UTC),
        },
        index=pd.DatetimeIndex(["2013-01-01", "2013-01-02"], freq="D", name="day").as_unit("ns"),
    ).set_axis(pd.Index(list("ismu"), dtype=object), axis=1),
    "pandas-series.parquet": pd.Series([True, False], name=3),
    "polars.parquet": pl.DataFrame({"a": [1, None], "s": ["x", None], "l": [[1.5], None]}),
    "polars-series.parquet": pl.Series("s", [1, None]),
}


class TestParquet(SerializerTests):
    serializer = PARQUET
    values = tuple(VALUES.values())
    refused = (
        *(None, [1], np.arange(3), pa.table({}), pl.LazyFrame({"a": [1]})),
        pa.table({"a": pa.array(["u"]).dictionary_encode()}),
        pd.DataFrame({"a": pd.Categorical(["u"])}),
        pl.Series(["u"], dtype=pl.Categorical),
        pa.table({"a": [[pa.scalar("u")]]}).cast(pa.schema([("a", pa.list_(pa.dictionary(pa.int8(), pa.string())))])),
        pa.table({"a": pa.array([1], pa.duration("s"))}).append_column("b", pa.array([1], pa.time32("s"))),
    )

    @pytest.fixture(autouse=True)
    def _comparison(self, same: Same) -> None:
        self._same = same

    def difference(self, expected: object, actual: object) -> str | None:
        try:
            self._same(expected, actual)
        except AssertionError as exc:
            return str(exc) or "it came back with another value"
        return None


@pytest.mark.parametrize("name", VALUES)
def test_what_an_earlier_version_wrote_is_read(name: str, same: Same) -> None:
    same(VALUES[name], PARQUET.loads(vector(VECTORS / name, lambda: PARQUET.dumps(VALUES[name]))))


def test_tensors_come_back_or_are_refused(same: Same) -> None:
    tensors = pa.table({"a": pa.FixedShapeTensorArray.from_numpy_ndarray(np.zeros((1, 2, 2)))})
    try:
        payload = PARQUET.dumps(tensors)
    except SerializationError:
        return  # newer versions of pyarrow cannot write them, older ones can
    same(tensors, PARQUET.loads(payload))


def test_every_vector_has_its_value() -> None:
    assert {path.name for path in VECTORS.iterdir()} == set(VALUES)


def test_other_tools_read_it(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    path.write_bytes(PARQUET.dumps(pd.DataFrame({"a": [1, 2], "b": ["x", "y"]})))

    assert pq.read_table(path).to_pydict() == {"a": [1, 2], "b": ["x", "y"]}
    assert pl.read_parquet(path).to_dict(as_series=False) == {"a": [1, 2], "b": ["x", "y"]}


def test_real_flights_come_back(flights: Path, same: Same) -> None:
    # Its times are in seconds, which Parquet does not have.
    table = pa.csv.read_csv(flights / "weather.csv").drop_columns(["time_hour"])

    same(table, PARQUET.loads(PARQUET.dumps(table)))


def test_a_large_table_comes_back(same: Same) -> None:
    table = pa.table({"a": np.arange((1 << 20) + 7)})

    assert PARQUET.loads(PARQUET.dumps(table)) == table


def test_what_it_cannot_keep_is_named_with_its_place() -> None:
    table = pa.table({"a": [1], "here": pa.array(["u"]).dictionary_encode()})

    with pytest.raises(SerializationError, match=r"arrow\.parquet.*\$\['here'\].*categories.*use the serializer arrow"):
        PARQUET.dumps(table)


@pytest.mark.parametrize("name", VALUES)
def test_a_file_that_is_cut_off_or_goes_on_is_refused(name: str) -> None:
    data = PARQUET.dumps(VALUES[name])

    for size in range(0, len(data), 7):
        with pytest.raises(PayloadError):
            PARQUET.loads(data[:size])
    with pytest.raises(PayloadError):
        PARQUET.loads(data + b"\0")


@pytest.mark.parametrize("name", VALUES)
def test_changed_bytes_give_a_value_or_an_error_of_ours(name: str) -> None:
    data = PARQUET.dumps(VALUES[name])
    chance = random.Random(7)

    for _ in range(200):
        changed = bytearray(data)
        for _ in range(chance.choice([1, 2, 4])):
            changed[chance.randrange(len(data))] = chance.choice([0, 1, 127, 128, 255])
        try:
            PARQUET.loads(bytes(changed))
        except PayloadError:
            continue


def file_of(column: object, **options: object) -> bytes:
    """A file that says of itself that it holds a table of *column*, written as no writer of ours would."""
    table = pa.table({"a": column})
    told = f'{{"is":"description","version":1,"kind":"pyarrow.Table","rows":{len(table)}}}'.encode()
    sink = io.BytesIO()
    pq.write_table(table.replace_schema_metadata({KEY: told}), sink, **{"use_dictionary": False, **options})
    return sink.getvalue()


LONG = "x" * (1 << 18)
BOMBS = {
    "of a dictionary": (lambda: pa.array([LONG] * 1000), {"use_dictionary": True, "compression": "none"}),
    "of pieces of the value before": (
        lambda: pa.array([LONG[:size] for size in range(1, 16_000)]),
        {"column_encoding": {"a": "DELTA_BYTE_ARRAY"}, "compression": "none"},
    ),
    "of later pages": (lambda: np.zeros(1000), {"data_page_version": "2.0", "compression": "none"}),
    "of missing values in one row": (
        lambda: pa.ListArray.from_arrays([0, 70_000_000], pa.nulls(70_000_000, pa.int8())),
        {"compression": "none"},
    ),
    **{
        name: (lambda: np.zeros(1 << 22), {"compression": name}) for name in ("zstd", "gzip", "snappy", "brotli", "lz4")
    },
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_small_file_that_becomes_much_more_is_refused_before_it_does(name: str) -> None:
    column, options = BOMBS[name]
    data = file_of(column(), **options)
    assert len(data) < 4 << 20
    before = pa.total_allocated_bytes()

    with pytest.raises(PayloadError, match=r"this plugin does not write|much more than it is"):
        PARQUET.loads(data)
    assert pa.total_allocated_bytes() - before < 1 << 20


def test_what_is_read_of_a_file_before_pyarrow_is_what_pyarrow_reads_of_it() -> None:
    for name, value in VALUES.items():
        data = PARQUET.dumps(value)
        metadata = pq.ParquetFile(io.BytesIO(data)).metadata
        groups = [metadata.row_group(at) for at in range(metadata.num_row_groups)]
        counts = [group.column(at).num_values for group in groups for at in range(group.num_columns)]
        assert values_in(memoryview(data)) == sum(counts), name


def test_a_small_file_of_very_many_missing_values_is_refused_by_writer_and_reader() -> None:
    empty = pa.table({"a": pa.nulls(20_000_000, pa.int64())})

    with pytest.raises(SerializationError, match="missing values"):
        PARQUET.dumps(empty)
