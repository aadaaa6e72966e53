# SPDX-License-Identifier: Apache-2.0
"""Is a pandas frame that is converted slice by slice written as if it had been converted as a whole?"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from strongroom.errors import SerializationError
from strongroom_arrow import ArrowIPC, Parquet, _pandas_batches
from strongroom_arrow._fingerprint import fingerprint

Same = Callable[[object, object], None]
InSlices = Callable[[int], None]

ROWS = 40
TEXTS = ["x", None, "\u6f22" * 9, "", "y" * 30]
DAYS = pd.to_datetime(["2013-01-01", None]).tz_localize("Europe/Paris")
ZEROS = [0.0, np.nan, -0.0]


def many(values: object, dtype: object = None) -> pd.Series:
    """The same values again and again."""
    few = pd.Series(values, dtype=dtype)
    return few.iloc[np.resize(np.arange(len(few)), ROWS)].reset_index(drop=True)


def late(value: object) -> pd.Series:
    """An object that comes last, after many that are missing."""
    return pd.Series([None] * (ROWS - 1) + [value], dtype=object)


COPIED = {
    "str": many(TEXTS, object),
    "str, late": late("x"),
    "bytes": many([b"x", None], object),
    "bytes, late": late(b"x"),
    "date, late": late(dt.date(2013, 1, 1)),
    "bools": many([True, np.nan, False], object),
    "nothing": late(None),
    "NA": many(["x", pd.NA], object),
    "bool": many([True, False, False]),
    "boolean": many([True, None], "boolean"),
    "string[python]": many(TEXTS, "string[python]"),
    "string, python, nan": many(TEXTS, pd.StringDtype("python", na_value=np.nan)),
    "category": many(["u", "v", None], pd.CategoricalDtype(["v", "u", "unused"], ordered=True)),
    "category of objects": many(["u"], pd.CategoricalDtype(pd.Index(["u", "v"], dtype=object))),
    "category of a range": many([1, 2], pd.CategoricalDtype(pd.RangeIndex(5))),
    "category of days": many(DAYS[:1], pd.CategoricalDtype(DAYS[:1])),
}
OTHERS = {
    "int64": many([1, 2, 3]),
    "float64": many(ZEROS),
    "Int8": many([1, None], "Int8"),
    "zoned": many(DAYS),
    "string[pyarrow]": many(TEXTS, "string[pyarrow]"),
    "list, arrow": many([[1], None], pd.ArrowDtype(pa.list_(pa.int8()))),
    "chunks": pd.concat([many(TEXTS, "str")[:7], many(TEXTS, "str")[7:]]),
}
FRAMES = {
    **{name: pd.DataFrame({"c": values}) for name, values in COPIED.items()},
    "all": pd.DataFrame(COPIED | OTHERS),
    "a range": pd.DataFrame(COPIED).set_index(pd.RangeIndex(3 * ROWS, 0, -3, name=5)),
    "an index": pd.DataFrame(OTHERS).set_index(pd.Index(COPIED["str"], name="c")),
    "an index of categories": pd.DataFrame(COPIED).set_index(pd.CategoricalIndex(COPIED["category"])),
    "levels": pd.DataFrame(OTHERS).set_index([COPIED["str"], pd.RangeIndex(ROWS), COPIED["category of days"]]),
    "names twice": pd.DataFrame(COPIED).set_axis(["a"] * len(COPIED), axis=1),
    "a column like an index": pd.DataFrame({"__index_level_0__": COPIED["str"]}, index=pd.Index(range(ROWS))),
}


@pytest.fixture
def in_slices(monkeypatch: pytest.MonkeyPatch) -> InSlices:
    """Called with how many bytes make a slice, so that small frames are converted in slices."""

    def begin(size: int) -> None:
        for name, number in {"_FIRST": 3, "_SLICE": size, "_SHARE": 1 << 40}.items():
            monkeypatch.setattr(_pandas_batches, name, number)

    return begin


def batches(data: bytes) -> int:
    return len(list(pa.ipc.open_stream(data)))


@pytest.mark.parametrize("name", FRAMES)
def test_slices_say_of_themselves_and_hold_what_the_whole_would(
    name: str, serializer: ArrowIPC, same: Same, in_slices: InSlices
) -> None:
    frame = FRAMES[name]
    whole, digest = serializer.dumps(frame), fingerprint(frame)
    in_slices(4)

    sliced = serializer.dumps(frame)

    assert batches(sliced) > batches(whole)
    one, other = pa.ipc.open_stream(sliced), pa.ipc.open_stream(whole)
    assert one.schema.equals(other.schema, check_metadata=True)
    # As text, so that NaN is NaN.
    assert repr(one.read_all().to_pydict()) == repr(other.read_all().to_pydict())
    same(frame, serializer.loads(sliced))
    assert fingerprint(frame) == digest


@pytest.mark.parametrize("name", ["str, late", "bool", "string[python]"])
def test_slices_come_back_from_parquet(name: str, same: Same, in_slices: InSlices) -> None:
    in_slices(4)

    same(FRAMES[name], Parquet().loads(Parquet().dumps(FRAMES[name])))


def test_a_slice_is_shorter_where_texts_are_longer(serializer: ArrowIPC, in_slices: InSlices) -> None:
    frame = pd.DataFrame({"short": pd.Series(["x"] * ROWS, dtype=object)})
    longer = pd.DataFrame({"long": pd.Series(["x" * 200] * ROWS, dtype=object)})
    in_slices(60)

    assert batches(serializer.dumps(frame)) < batches(serializer.dumps(longer)) == ROWS - 2


def test_what_is_mixed_is_refused_before_anything_is_written(serializer: ArrowIPC, in_slices: InSlices) -> None:
    in_slices(4)

    with pytest.raises(SerializationError, match=r"\$\['c'\].*int, str"):
        serializer.dumps(pd.DataFrame({"c": pd.Series(["x"] * ROWS + [1], dtype=object)}))
