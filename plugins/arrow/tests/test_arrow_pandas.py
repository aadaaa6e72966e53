# SPDX-License-Identifier: Apache-2.0
"""Do pandas frames and series come back with their dtypes and labels, or are they refused?"""

from __future__ import annotations

import datetime as dt
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import pandas as hpd

from strongroom.errors import SerializationError
from strongroom_arrow import ArrowIPC, strongroom_choose_serializer

Same = Callable[[object, object], None]

DAYS = pd.date_range("2013-01-01", periods=3, freq="D")
ZONED = DAYS.tz_localize("America/New_York")


def one(values: object, dtype: object = None) -> pd.DataFrame:
    """A frame with one column of its own."""
    return pd.DataFrame({"c": pd.Series(values, dtype=dtype)})


def labelled(columns: object) -> pd.DataFrame:
    """A frame with two columns that are called so."""
    return pd.DataFrame([[1, 2.5]], columns=columns)


def indexed(index: pd.Index) -> pd.DataFrame:
    """A frame whose rows are called so."""
    return pd.DataFrame({"a": np.arange(len(index))}, index=index)


COLUMNS = {
    "int64": one([1, 2]),
    "uint8": one([1, 2], "uint8"),
    "float64": one([1.5, np.nan, -0.0, np.inf]),
    "float16": one([1.5, np.nan], "float16"),
    "bool": one([True, False]),
    "datetime64": one(DAYS),
    "datetime64[s]": one(pd.to_datetime(["2013", None]).as_unit("s")),
    "timedelta64[ms]": one(pd.to_timedelta([1, None], unit="s").as_unit("ms")),
    "zoned": one(ZONED),
    "zoned, utc": one(ZONED.tz_convert(dt.UTC)),
    "zoned, offset": one(ZONED.tz_convert(dt.timezone(dt.timedelta(hours=-3)))),
    "str": one(["x", None, "\u6f22"]),
    "string[python]": one(["x", None], "string[python]"),
    "string[pyarrow]": one(["x", None], "string[pyarrow]"),
    "string, python, nan": one(["x", None], pd.StringDtype("python", na_value=np.nan)),
    "Int8": one([1, None], "Int8"),
    "UInt64": one([2**64 - 1, None], "UInt64"),
    "Float64": one([1.5, None], "Float64"),
    "boolean": one([True, None], "boolean"),
    "category": one(["u", "v", None], pd.CategoricalDtype(["v", "u", "unused"], ordered=True)),
    "category of ints": one([1, 2, None], "category"),
    "category of a range": one([1, 2], pd.CategoricalDtype(pd.RangeIndex(5))),
    "category of objects": one(["u"], pd.CategoricalDtype(pd.Index(["u", "v"], dtype=object))),
    "category of days": one([DAYS[0]], pd.CategoricalDtype(DAYS)),
    "empty category": one([], pd.CategoricalDtype(["u"])),
    "int64[pyarrow]": one([1, None], "int64[pyarrow]"),
    "string, arrow": one(["x", None], pd.ArrowDtype(pa.string())),
    "list, arrow": one([[1], None], pd.ArrowDtype(pa.list_(pa.int8()))),
    "decimal, arrow": one([1, None], pd.ArrowDtype(pa.decimal128(5, 2))),
    "double, arrow, nan": pd.DataFrame({"c": pd.arrays.ArrowExtensionArray(pa.array([1.5, float("nan"), None]))}),
    "objects, str": one(["x", None], object),
    "objects, str, nan": one(["x", np.nan], object),
    "objects, str, NA": one(["x", pd.NA], object),
    "objects, bytes": one([b"x", None], object),
    "objects, bool": one([True, False], object),
    "objects, bool, nan": one([True, np.nan], object),
    "objects, date": one([dt.date(2013, 1, 1), None], object),
    "objects, None": one([None, None], object),
    "objects, nan": one([np.nan, np.nan], object),
    "objects, none": one([], object),
}
LABELS = {
    "range columns": pd.DataFrame(np.eye(2)),
    "names twice": labelled(["a", "a"]),
    "int columns": labelled(pd.Index([5, 6], name="n")),
    "object columns": labelled(pd.Index(["a", "b"], dtype=object, name="n")),
    "str columns, int name": labelled(pd.Index(["a", "b"], name=5)),
    "day columns": labelled(pd.date_range("2013", periods=2, freq="MS")),
    "category columns": labelled(pd.CategoricalIndex(["a", "b"], ["b", "a"], ordered=True, name="q")),
    "columns of levels": labelled(pd.MultiIndex.from_tuples([("a", 1), ("a", 2)], names=["x", 5])),
    "no name": pd.DataFrame({"": [1], None: [2]}),
    "no columns": pd.DataFrame(index=pd.RangeIndex(3)),
    "no columns but an index": pd.DataFrame(index=["x", "y"]),
    "no rows": pd.DataFrame({"a": [1], "b": ["x"], "c": [None]}).iloc[:0],
    "nothing": pd.DataFrame(),
    "range": indexed(pd.RangeIndex(6, 0, -3, name=5)),
    "strings": indexed(pd.Index(["x", "y"], name="a")),
    "objects": indexed(pd.Index(["x", None], dtype=object)),
    "ints": indexed(pd.Index([3, 1], name=("k", 1))),
    "bools": indexed(pd.Index([True, False])),
    "Int64": indexed(pd.Index([1, None], dtype="Int64")),
    "days": indexed(DAYS),
    "days without freq": indexed(DAYS[[0, 2]]),
    "zoned": indexed(ZONED),
    "hours": indexed(pd.timedelta_range("1h", periods=2)),
    "categories": indexed(pd.CategoricalIndex(["x", "y"])),
    "levels": indexed(pd.MultiIndex.from_product([["x", "y"], DAYS, [1, 2]], names=["k", None, ("t", 1)])),
    "levels, odd": indexed(
        pd.MultiIndex.from_arrays([pd.Categorical(["x", "y"], ["y", "x"]), pd.Index(["u", None], dtype=object)])
    ),
    "levels, a range": indexed(pd.MultiIndex.from_product([pd.RangeIndex(3), ["x"]])),
    "levels, empty": indexed(pd.MultiIndex.from_product([DAYS, [1.5]])[:0]),
    "a column like an index": pd.DataFrame({"__index_level_0__": [1]}, index=pd.Index([2])),
}
FRAMES = COLUMNS | LABELS


@pytest.mark.parametrize("name", FRAMES)
def test_a_frame_comes_back(name: str, serializer: ArrowIPC, same: Same) -> None:
    frame = FRAMES[name]

    data = serializer.dumps(frame)

    same(frame, serializer.loads(data))
    same(frame, serializer.load(io.BufferedReader(io.BytesIO(data))))


@pytest.mark.parametrize("name", COLUMNS)
def test_a_frame_that_came_back_can_be_changed_and_the_first_one_does_not_change(
    name: str, serializer: ArrowIPC, same: Same
) -> None:
    frame = pd.concat([COLUMNS[name]] * 2, ignore_index=True)
    before = frame.copy()

    found = serializer.loads(serializer.dumps(frame))

    assert isinstance(found, pd.DataFrame)
    for row in range(len(found)):
        found.iloc[[row], 0] = found.iloc[[0], 0].array
    same(before, frame)


@pytest.mark.parametrize("name", COLUMNS)
def test_a_series_comes_back(name: str, serializer: ArrowIPC, same: Same) -> None:
    for label in ("c", None, 3, ("a", 1), "index"):
        series = COLUMNS[name]["c"].rename(label)

        same(series, serializer.loads(serializer.dumps(series)))


@pytest.mark.parametrize("name", FRAMES)
def test_what_is_kept_is_claimed(name: str) -> None:
    assert strongroom_choose_serializer(FRAMES[name]) == "arrow"


def test_attrs_come_back(serializer: ArrowIPC, same: Same) -> None:
    frame, series = FRAMES["int64"].copy(), pd.Series([1], name="s")
    frame.attrs = series.attrs = {"unit": "m", "notes": [1, 2.5, None, {"a": True}]}

    same(frame, serializer.loads(serializer.dumps(frame)))
    same(series, serializer.loads(serializer.dumps(series)))


@given(
    frame=hpd.data_frames(
        [
            hpd.column("int", dtype="int64"),
            hpd.column("float", dtype="float32"),
            hpd.column("flag", dtype="bool"),
            hpd.column("text", elements=st.text() | st.none(), dtype=object),
            hpd.column("at", dtype="datetime64[us]"),
        ],
        index=hpd.range_indexes() | hpd.indexes(elements=st.text(), dtype=object),
    )
)
def test_a_frame_of_any_values_comes_back(frame: pd.DataFrame, serializer: ArrowIPC, same: Same) -> None:
    same(frame, serializer.loads(serializer.dumps(frame)))


@given(
    values=st.lists(
        st.one_of(st.none(), st.text(), st.binary(), st.booleans(), st.integers(), st.floats(), st.dates()), max_size=4
    )
)
def test_objects_come_back_as_they_are_or_are_refused(values: list[Any], serializer: ArrowIPC, same: Same) -> None:
    frame = one(values, object)

    if strongroom_choose_serializer(frame):
        same(frame, serializer.loads(serializer.dumps(frame)))
    else:
        with pytest.raises(SerializationError, match=r"\$\['c'\]"):
            serializer.dumps(frame)


def test_real_flights_come_back(flights: Path, serializer: ArrowIPC, same: Same) -> None:
    frame = pd.read_csv(flights / "flights.csv.zip", nrows=20_000, parse_dates=["time_hour"])
    frame["carrier"] = frame["carrier"].astype("category")
    frame = frame.set_index(["origin", "flight"])

    same(frame, serializer.loads(serializer.dumps(frame)))


def test_a_pivot_of_real_weather_comes_back(flights: Path, serializer: ArrowIPC, same: Same) -> None:
    weather = pd.read_csv(flights / "weather.csv")
    frame = weather.pivot_table(index="month", columns=["origin", "hour"], values=["temp", "humid"], aggfunc="mean")

    same(frame, serializer.loads(serializer.dumps(frame)))


def test_any_arrow_reader_makes_a_frame_of_the_payload(serializer: ArrowIPC) -> None:
    frame = pd.DataFrame({"a": [1, 2], "b": ["x", "y"]}, index=pd.Index(["i", "j"], name="k"))

    found = pa.ipc.open_stream(serializer.dumps(frame)).read_pandas()

    pd.testing.assert_frame_equal(found, frame)


class OwnFrame(pd.DataFrame):
    """A subclass, as geopandas has."""


def with_attrs(attrs: dict[Any, Any]) -> pd.DataFrame:
    frame = pd.DataFrame({"a": [1]})
    frame.attrs = attrs
    return frame


REFUSED = {
    "complex": (one([1j]), r"\$\['c'\]: Arrow has no columns"),
    "long double": (one(np.zeros(1, "g")), r"\$\['c'\]: Arrow has no columns"),
    "swapped bytes": (one(np.zeros(1, ">i4")), r"\$\['c'\]: Arrow has no columns"),
    "period": (one(pd.period_range("2013", periods=2, freq="D")), r"\$\['c'\].*period"),
    "interval": (one(pd.interval_range(0, 2)), r"\$\['c'\].*interval"),
    "category of intervals": (one(pd.cut([1, 2], 2)), r"\$\['c'\]\.categories.*IntervalIndex"),
    "sparse": (one(pd.arrays.SparseArray([0, 1])), r"\$\['c'\].*Sparse"),
    "int and str": (one([1, "x"], object), r"\$\['c'\].*int, str"),
    "float and str": (one([1.5, "x"], object), r"\$\['c'\].*floats"),
    "None and nan": (one(["x", None, np.nan], object), r"\$\['c'\].*NoneType, float"),
    "lists": (one([[1]], object), r"\$\['c'\].*list"),
    "str subclass": (one([np.str_("x")], object), r"\$\['c'\].*str_"),
    "half a pair": (one(["\ud800"], object), r"\$\['c'\].*surrogate"),
    "NaN beside NA": (one(pd.arrays.FloatingArray(np.array([np.nan]), np.array([False]))), r"\$\['c'\].*NaN beside"),
    "a zone of dateutil": (one(ZONED.tz_convert("dateutil/Europe/Paris")), r"\$\['c'\].*zone"),
    "a zone with a name of its own": (one(ZONED.tz_convert(dt.timezone(dt.timedelta(hours=1), "X"))), "zone"),
    "mixed labels": (labelled(pd.Index([1, "1"], dtype=object)), r"\$\.columns.*int, str"),
    "periods as index": (indexed(pd.period_range("2013", periods=2)), r"\$\.index.*PeriodIndex"),
    "missing label": (indexed(pd.MultiIndex.from_arrays([[1, None], [1, 2]])), r"\$\.index\.levels\[0\].*missing"),
    "half a pair in a name": (pd.Series([1], name=("a", "\ud800")), r"\$\.name.*surrogate"),
    "half a pair as a name": (pd.Series([1], name="\ud800"), r"\$\.name.*surrogate"),
    "half a pair in the name of an index": (indexed(pd.Index([1], name="\ud800")), r"\$\.index.*surrogate"),
    "odd name": (indexed(pd.Index([1], name=1.5)), r"\$\.index.*name"),
    "odd freq": (indexed(pd.date_range("2013", periods=2, freq=pd.offsets.CDay(holidays=["2013-01-02"]))), "freq"),
    "tuple in attrs": (with_attrs({"a": (1,)}), r"\$\.attrs"),
    "object in attrs": (with_attrs({"a": object()}), r"\$\.attrs"),
    "int key in attrs": (with_attrs({1: 1}), r"\$\.attrs"),
    "flag": (pd.DataFrame({"a": [1]}).set_flags(allows_duplicate_labels=False), "allows_duplicate_labels"),
    "subclass": (OwnFrame({"a": [1]}), "OwnFrame"),
    "index": (pd.Index([1]), "Index"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_would_change_is_refused_with_its_place(name: str, serializer: ArrowIPC) -> None:
    value, reason = REFUSED[name]

    with pytest.raises(SerializationError, match=reason):
        serializer.dumps(value)

    assert strongroom_choose_serializer(value) is None
