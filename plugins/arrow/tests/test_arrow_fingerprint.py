# SPDX-License-Identifier: Apache-2.0
"""Fingerprints of arrays, tables and frames: of the content, wherever it lies, and of nothing else."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.errors import SerializationError
from strongroom_arrow import strongroom_fingerprint as fingerprint

NUMBERS = [1, None, 3, 4, None, 6]
MAP = pa.map_(pa.string(), pa.int64())
CATEGORIES = pa.array(["x", None, "y"]).dictionary_encode()
CATEGORY_STRUCTS = pa.StructArray.from_arrays([CATEGORIES], ["a"], mask=pa.array([False, True, False]))
STRUCT = pa.struct([("a", pa.int64()), ("b", pa.string())])
# Said, since older versions of pyarrow put the fields that they find in the order of their names.
TURNED = pa.struct([("b", pa.string()), ("a", pa.int64())])
STRUCTS = [{"a": 1, "b": "x"}, None, {"a": None, "b": "y"}, {"a": 4, "b": ""}]

DIFFERENT: list[object] = [
    np.zeros(3), np.zeros(4), np.zeros((3, 1)), np.zeros((1, 3)), np.zeros(3, "f4"), np.zeros(3, ">f8"),
    np.zeros(3, "i8"), np.zeros(3, "u8"), np.zeros(3, "M8[ns]"), np.zeros(3, "M8[s]"),
    np.zeros(3, "m8[ns]"), np.array([0.0, -0.0, 0.0]),
    np.array([True, False]), np.array([1, 0], "u1"), np.array(["a", "b"]), np.array(["ab", ""]),
    np.array([b"a"]),
    np.array([(1, 2)], [("x", "i4"), ("y", "i4")]), np.array([(1, 2)], [("y", "i4"), ("x", "i4")]),
    np.array([(2, 1)], [("x", "i4"), ("y", "i4")]), np.float64(0), np.float32(0), np.int64(0), np.zeros(()),
    np.zeros((0, 2)), np.zeros((0, 3)), np.arange(6).reshape(2, 3), np.arange(6).reshape(2, 3).T,
    np.arange(6).reshape(3, 2),
    pa.array([1, 2]), pa.array([2, 1]), pa.array([1, None]), pa.array([None, 1]), pa.array([1, 0]),
    pa.array([1, 2], pa.int32()),
    pa.chunked_array([[1, 2]]), pa.table({"a": [1, 2]}), pa.table({"b": [1, 2]}),
    pa.table({"a": [1, 2], "b": [1, 2]}),
    pa.table({"a": [1, 2]}).replace_schema_metadata({"k": "v"}), pa.record_batch({"a": [1, 2]}), pa.table({}),
    pa.array(["ab", "c"]), pa.array(["a", "bc"]), pa.array(["ab", "c"], pa.large_string()),
    pa.array([b"ab", b"c"]),
    pa.array(["ab", "c"], pa.string_view()), pa.array(["abc", ""]), pa.array(["abc", None]), pa.nulls(2),
    pa.nulls(3),
    pa.array([[1], [2, 3]]), pa.array([[1, 2], [3]]), pa.array([[1], [], [2, 3]]),
    pa.array([[1], None, [2, 3]]),
    pa.array([[1, 2], [3, 4]], pa.list_(pa.int64(), 2)), pa.array([[("a", 1)]], MAP),
    pa.array([[("a", 2)]], MAP),
    pa.array(STRUCTS), pa.array(STRUCTS[:3]), pa.array([{"a": 1, "b": "x"}]), pa.array([{"b": "x", "a": 1}], TURNED),
    pa.array(["x", "y", "x"]).dictionary_encode(), pa.array(["x", "y", "y"]).dictionary_encode(),
    pa.array([True, None]), pa.array([True, False]), pa.array([1], pa.decimal128(5, 2)),
    pa.array([dt.date(2026, 1, 1)]),
    pd.DataFrame({"a": [1, 2]}), pd.DataFrame({"a": [1, 2]}, index=[1, 0]), pd.DataFrame({"b": [1, 2]}),
    pd.Series([1, 2]),
    pd.Series([1, 2], name="a"), pd.DataFrame({"a": [1, 2]}, dtype="Int64"),
    pd.DataFrame({"a": pd.Categorical(["x", "y"])}),
    pd.DataFrame({"a": pd.Categorical(["x", "y"], categories=["y", "x"])}), pd.DataFrame({"a": ["x", "y"]}),
    pd.DataFrame({"a": pd.Categorical(["x", "y"], ordered=True)}), pd.DataFrame({"a": [1, 2], "b": [1, 2]}),
    pd.DataFrame(),
    pl.DataFrame({"a": [1, 2]}), pl.DataFrame({"b": [1, 2]}), pl.Series([1, 2]), pl.Series("a", [1, 2]),
    pl.DataFrame(),
    pl.DataFrame({"a": ["x", "y"]}), pl.DataFrame({"a": ["x", "y"]}, schema={"a": pl.Categorical}),
    pl.DataFrame({"a": ["x", "y"]}, schema={"a": pl.Enum(["x", "y"])}),
    pl.DataFrame({"a": ["x", "y"]}, schema={"a": pl.Enum(["y", "x"])}),
]  # fmt: skip


def test_values_that_differ_have_different_fingerprints() -> None:
    found = [(type(value).__qualname__, fingerprint(value)) for value in DIFFERENT]

    for index, one in enumerate(found):
        for other in range(index):
            assert one != found[other], (DIFFERENT[index], DIFFERENT[other])


SAME: dict[str, tuple[object, object]] = {
    "another order in memory": (np.arange(6).reshape(2, 3), np.asfortranarray(np.arange(6).reshape(2, 3))),
    "a view": (np.arange(0, 10, 2), np.arange(10)[::2]),
    "a view backwards": (np.arange(3)[::-1], np.array([2, 1, 0])),
    "what lies between fields": (
        np.array([(1, 2)], np.dtype([("x", "i1"), ("y", "i8")], align=False)),
        np.array([(1, 2)], np.dtype([("x", "i1"), ("y", "i8")])),
    ),
    "other chunks": (pa.chunked_array([NUMBERS]), pa.chunked_array([NUMBERS[:1], NUMBERS[1:4], NUMBERS[4:]])),
    "a chunk in which all is missing": (
        pa.chunked_array([CATEGORIES]),
        pa.chunked_array([CATEGORIES[:1], CATEGORIES[1:2], CATEGORIES[2:]]),
    ),
    "a chunk of structs in which all is missing": (
        pa.chunked_array([CATEGORY_STRUCTS]),
        pa.chunked_array([CATEGORY_STRUCTS[:1], CATEGORY_STRUCTS[1:2], CATEGORY_STRUCTS[2:]]),
    ),
    "a slice": (pa.array(NUMBERS[1:4]), pa.array(NUMBERS).slice(1, 3)),
    "a slice of texts": (pa.array(["bc", None, "d"]), pa.array(["a", "bc", None, "d"]).slice(1)),
    "a slice of bits": (pa.array([True, None, False]), pa.array([None, True, None, False]).slice(1)),
    "a slice of lists": (pa.array([[2], None, [3, 4]]), pa.array([[1], [2], None, [3, 4]]).slice(1)),
    "a slice of maps": (pa.array([None, [("b", 2)]], MAP), pa.array([[("a", 1)], None, [("b", 2)]], MAP).slice(1)),
    "a slice of structs": (pa.array(STRUCTS[1:], STRUCT), pa.array(STRUCTS, STRUCT).slice(1)),
    "what lies under a missing value": (
        pa.array([1, None]),
        pa.Array.from_buffers(pa.int64(), 2, [pa.py_buffer(b"\x01"), pa.py_buffer(np.array([1, 99]).data)]),
    ),
    "no missing values, said or not": (
        pa.array([1, 2]),
        pa.Array.from_buffers(pa.int64(), 2, [pa.py_buffer(b"\x03"), pa.py_buffer(np.array([1, 2]).data)]),
    ),
    "a copy of a frame": (
        pd.DataFrame({"a": [1, 2], "b": ["x", None]}),
        pd.DataFrame({"b": ["x", None], "a": [1, 2]})[["a", "b"]],
    ),
    "a frame in parts": (
        pl.DataFrame({"a": [1, 2, 3]}),
        pl.concat([pl.DataFrame({"a": [1]}), pl.DataFrame({"a": [2, 3]})], rechunk=False),
    ),
}


@pytest.mark.parametrize("case", SAME)
def test_how_a_value_lies_in_memory_does_not_count(case: str) -> None:
    one, other = SAME[case]

    assert fingerprint(one) == fingerprint(other) is not None


@given(st.lists(st.none() | st.lists(st.none() | st.text(max_size=3), max_size=3), max_size=20), st.data())
def test_a_table_has_one_fingerprint_however_it_is_cut(values: list[object], data: st.DataObject) -> None:
    whole = pa.chunked_array([pa.array(values, pa.list_(pa.string()))])
    cut = data.draw(st.integers(0, len(values)))

    parts = pa.chunked_array([*whole.slice(0, cut).chunks, *whole.slice(cut).chunks], whole.type)

    assert fingerprint(parts) == fingerprint(whole)


REFUSED: dict[str, Callable[[], object]] = {
    "objects": lambda: np.array([object()]),
    "a long double": lambda: np.zeros(1, "g"),
    "a frame of objects": lambda: pd.DataFrame({"a": [object()]}),
    "a plan": lambda: pl.DataFrame({"a": [1]}).lazy(),
    "a union": lambda: pa.UnionArray.from_dense(pa.array([0], pa.int8()), pa.array([0], pa.int32()), [pa.array([1])]),
    "runs": lambda: pa.RunEndEncodedArray.from_arrays(pa.array([2]), pa.array([1])),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_told_apart_is_refused(case: str) -> None:
    with pytest.raises(SerializationError):
        fingerprint(REFUSED[case]())


@pytest.mark.parametrize(
    "value", [1, "text", [np.zeros(1)], dt.date(2026, 1, 1), np.ma.array([1]), np.rec.array([(1,)])]
)
def test_what_this_plugin_does_not_know_is_left_to_others(value: object) -> None:
    assert fingerprint(value) is None


def test_the_categories_of_polars_count_by_their_names_whatever_the_process_has_seen() -> None:
    code = (
        "import polars as pl; from strongroom_arrow import strongroom_fingerprint as f;{}"
        "print(f(pl.DataFrame({{'a': ['x', 'y']}}, schema={{'a': pl.Categorical}})).hex())"
    )

    said = {
        subprocess.run([sys.executable, "-c", code.format(before)], check=True, capture_output=True).stdout
        for before in ("", "pl.Series(['z', 'y'], dtype=pl.Categorical);")
    }

    assert len(said) == 1


def test_a_large_value_is_not_copied() -> None:
    import tracemalloc

    values = [np.zeros(4_000_000), pa.array(np.zeros(4_000_000))]
    fingerprint(values[0])

    for value in values:
        tracemalloc.start()
        before = pa.total_allocated_bytes()
        fingerprint(value)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak + pa.total_allocated_bytes() - before < 1 << 20
