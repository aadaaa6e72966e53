# SPDX-License-Identifier: Apache-2.0
"""Do lists, tuples and dicts of tables, frames and arrays come back as they were, and is all else refused?"""

from __future__ import annotations

import collections
import io
import json
from collections.abc import Callable
from typing import Any, BinaryIO, cast

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.errors import SerializationError
from strongroom_arrow import ArrowIPC, strongroom_choose_serializer
from strongroom_arrow._errors import PayloadError

Same = Callable[[object, object], None]

PARTS: list[object] = [
    np.arange(5),
    np.array(1.5),
    np.empty((0, 3), "<M8[s]"),
    pa.table({"a": [1, None], "s": ["x", None]}),
    pa.array([b"x", None]),
    pd.DataFrame({"a": [1.5], "s": ["x"]}, index=pd.Index([7], name="day")),
    pl.DataFrame({"a": [[1], None]}),
]
NESTED = st.recursive(
    st.sampled_from(PARTS),
    lambda inner: (
        st.lists(inner, min_size=1, max_size=3)
        | st.lists(inner, min_size=1, max_size=3).map(tuple)
        | st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=5), inner, min_size=1, max_size=3)
    ),
    max_leaves=8,
)


def forward_only(data: bytes) -> BinaryIO:
    """A source that does not lend its memory."""
    return cast("BinaryIO", io.BufferedReader(io.BytesIO(data)))


@given(value=NESTED)
def test_whatever_is_nested_comes_back_type_for_type(value: object, serializer: ArrowIPC, same: Same) -> None:
    data = serializer.dumps(value)

    same(value, serializer.loads(data))
    same(value, serializer.load(forward_only(data)))
    assert strongroom_choose_serializer(value) == "arrow"


def test_containers_without_anything_in_them_come_back_where_they_were(serializer: ArrowIPC, same: Same) -> None:
    value = [[], (), {}, {"a": [np.ones(1), ()]}]

    same(value, serializer.loads(serializer.dumps(value)))
    assert strongroom_choose_serializer(value) == "arrow"


def test_parts_are_views_of_the_memory_that_they_were_read_from(serializer: ArrowIPC) -> None:
    memory = bytearray(serializer.dumps([np.zeros(3), {"t": pa.table({"a": np.zeros(3)})}]))

    array, tables = cast("Any", serializer.load(io.BytesIO(memory)))
    lent = np.frombuffer(array.base if isinstance(array.base, memoryview) else array, "u1")

    assert not array.flags.owndata
    # One block of memory, of which each begins at a multiple of 64 bytes.
    column = tables["t"]["a"].chunk(0).buffers()[1]
    assert 0 < column.address - array.ctypes.data < len(memory)
    assert lent.size


Point = collections.namedtuple("Point", "x")  # noqa: PYI024  # what somebody may return
LOOP: list[object] = [np.ones(1)]
LOOP.append(LOOP)
TWICE: list[object] = [np.ones(1)]
for _ in range(30):
    TWICE = [TWICE, TWICE]


@pytest.mark.parametrize(
    ("value", "where", "reason"),
    [
        ([1], "$[0]", "int is not one of"),
        ([], "$", "nothing in it"),
        ([[], {}], "$", "nothing in it"),
        ({"a": [np.ones(1), {1}]}, "$['a'][1]", "set is not one of"),
        ([{1: np.ones(1)}], "$[0]", "not all texts"),
        ([{"\ud800": np.ones(1)}], "$[0]", "surrogate"),
        ((np.ones(1), np.array([object()])), "$[1]", "pickle"),
        ([pd.DataFrame({"c": [1j]})], "$[0]['c']", "complex|'<c16'"),
        ({"l": pl.LazyFrame({"a": [1]})}, "$['l']", "collect"),
        ([Point(np.ones(1))], "$[0]", "Point is not one of"),
        ([collections.OrderedDict(a=np.ones(1))], "$[0]", "OrderedDict is not one of"),
        (LOOP, "$" + "[1]" * 32 + "[0]", "nested more than 32 deep"),
        (TWICE, None, "65,536"),
        ({"x" * (1 << 20): {"y": np.ones(1)}}, None, "MiB"),
    ],
)
def test_what_would_not_come_back_is_refused_with_its_place(
    value: object, where: str | None, reason: str, serializer: ArrowIPC
) -> None:
    with pytest.raises(SerializationError, match=reason) as caught:
        serializer.dumps(value)

    assert where is None or caught.value.where == where
    assert strongroom_choose_serializer(value) is None


def changed(data: bytes, **fields: object) -> bytes:
    """A payload whose contents say something else."""
    size = int.from_bytes(data[-16:-8], "little")
    contents = json.loads(data[-16 - size : -16]) | fields
    return with_contents(data, json.dumps(contents, separators=(",", ":")).encode())


def with_contents(data: bytes, contents: bytes) -> bytes:
    size = int.from_bytes(data[-16:-8], "little")
    return data[: -16 - size] + contents + len(contents).to_bytes(8, "little") + data[-8:]


LIST = {"is": "list", "items": [0, 1]}


def deep(times: int) -> object:
    tree: object = LIST
    for _ in range(times):
        tree = {"is": "list", "items": [tree]}
    return tree


@pytest.mark.parametrize(
    "fields",
    [
        {"tree": {"is": "list", "items": [0]}},
        {"tree": {"is": "list", "items": [1, 0]}},
        {"tree": {"is": "list", "items": [0, 0]}},
        {"tree": {"is": "list", "items": [0, 1, 2]}},
        {"tree": {"is": "list", "items": [0, -1]}},
        {"tree": {"is": "list", "items": [0, 1.0]}},
        {"tree": {"is": "list", "items": [0, True]}},
        {"tree": {"is": "list", "items": [0, None]}},
        {"tree": {"is": "set", "items": [0, 1]}},
        {"tree": {"is": "os.system", "items": [0, 1]}},
        {"tree": {"is": "list", "items": [0, 1], "more": 1}},
        {"tree": {"is": "dict", "keys": ["a"], "items": [0, 1]}},
        {"tree": {"is": "dict", "keys": ["a", "a"], "items": [0, 1]}},
        {"tree": {"is": "dict", "keys": ["a", 1], "items": [0, 1]}},
        {"tree": deep(40)},
        {"tree": {"is": "list", "items": [0, 1, *[{"is": "list", "items": []}] * (1 << 16)]}},
        {"sizes": []},
        {"sizes": [0, 152]},
        {"sizes": [-1, 152]},
        {"sizes": [152]},
        {"sizes": [152, 152, 152]},
        {"sizes": [1 << 62, 152]},
        {"sizes": [1 << 70, 152]},
        {"sizes": [153, 152]},
        {"sizes": [152, 151]},
        {"sizes": [152 + 192, 152]},
        {"sizes": [1] * ((1 << 16) + 1)},
        {"more": 1},
        {"is": "pickle"},
    ],
)
def test_contents_that_do_not_fit_are_refused(fields: dict[str, object], serializer: ArrowIPC) -> None:
    data = serializer.dumps([np.arange(3), np.arange(3)])
    assert serializer.loads(changed(data, tree=LIST)), "the same contents, written by somebody else, are read"

    for source in (io.BytesIO(changed(data, **fields)), forward_only(changed(data, **fields))):
        with pytest.raises(PayloadError, match="cannot read this payload"):
            serializer.load(source)


@pytest.mark.parametrize("contents", [b"", b"[", b"[" * 100_000, b'"\xff"', b"null", b"{}"])
def test_contents_that_are_none_are_refused(contents: bytes, serializer: ArrowIPC) -> None:
    data = with_contents(serializer.dumps([np.arange(3)]), contents)

    with pytest.raises(PayloadError, match="contents"):
        serializer.loads(data)


def test_a_tree_deeper_than_the_stack_is_refused(serializer: ArrowIPC) -> None:
    tree = b'{"is":"list","items":[' * 100_000
    data = with_contents(serializer.dumps([np.arange(3)]), b'{"is":"contents","sizes":[152],"tree":' + tree)

    with pytest.raises(PayloadError, match="contents"):
        serializer.loads(data)


@pytest.mark.parametrize("size", [0, 1 << 25, 1 << 62, (1 << 64) - 1])
def test_contents_that_would_begin_before_the_parts_are_refused(size: int, serializer: ArrowIPC) -> None:
    data = serializer.dumps([np.arange(3)])

    with pytest.raises(PayloadError):
        serializer.loads(data[:-16] + size.to_bytes(8, "little") + data[-8:])


def test_a_payload_of_another_version_is_refused_with_the_way_out(serializer: ArrowIPC) -> None:
    data = bytearray(serializer.dumps([np.arange(3)]))
    data[6] = 2

    with pytest.raises(PayloadError, match=r"version.*pip install -U"):
        serializer.loads(bytes(data))


def test_what_lies_between_the_parts_has_to_be_zeros(serializer: ArrowIPC) -> None:
    data = serializer.dumps([np.arange(3), np.arange(3)])
    gap = 64 + 152

    with pytest.raises(PayloadError, match="not where"):
        serializer.loads(data[:gap] + b"x" + data[gap + 1 :])


def test_a_nested_payload_is_no_part_of_another(serializer: ArrowIPC) -> None:
    inner = serializer.dumps([np.arange(3)])
    outer = serializer.dumps([np.frombuffer(inner, "u1")])
    start = outer.index(inner)
    at = start - start % 64
    moved = outer[:at] + inner + outer[start + len(inner) :]

    with pytest.raises(PayloadError):
        serializer.loads(changed(moved, sizes=[len(inner)]))


def test_a_part_that_is_damaged_is_refused(serializer: ArrowIPC) -> None:
    data = serializer.dumps([pa.table({"a": ["secret"]})]).replace(b"secret", b"\xff\xffcret")

    with pytest.raises(PayloadError) as caught:
        serializer.loads(data)

    assert "cret" not in str(caught.value)
