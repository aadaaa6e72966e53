# SPDX-License-Identifier: Apache-2.0
"""Do pyarrow's tables, batches and arrays come back, from a payload that any Arrow reader opens?"""

from __future__ import annotations

import datetime as dt
import decimal
import errno
import io
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.errors import SerializationError
from strongroom_arrow import ArrowIPC

Same = Callable[[object, object], None]

COLUMNS: dict[str, Any] = {
    "int": pa.array([1, None, 3], pa.int16()),
    "float": pa.array([1.5, None, float("nan")]),
    "half": pa.array([1.5, None, -0.0], pa.float16()),
    "bool": pa.array([True, None, False]),
    "text": pa.array(["a", None, "\u6f22"]),
    "large": pa.array(["a", None, ""], pa.large_string()),
    "view": pa.array(["a" * 20, None, ""], pa.string_view()),
    "bytes": pa.array([b"a", None, b"\0"]),
    "fixed": pa.array([b"abc", None, b"def"], pa.binary(3)),
    "null": pa.nulls(3),
    "date": pa.array([dt.date(2013, 1, 1), None, dt.date(1, 1, 1)]),
    "time": pa.array([dt.time(1, 2, 3), None, dt.time()]),
    "instant": pa.array([0, None, 1], pa.timestamp("ns", "America/New_York")),
    "duration": pa.array([0, None, 1], pa.duration("s")),
    "decimal": pa.array([decimal.Decimal("1.50"), None, decimal.Decimal("-0.01")]),
    "category": pa.array(["u", None, "v"]).dictionary_encode(),
    "list": pa.array([[1], None, [2, None]]),
    "pair": pa.array([[1, 2], None, [3, 4]], pa.list_(pa.int8(), 2)),
    "struct": pa.array([{"a": 1, "b": ["x"]}, None, {"a": None, "b": []}]),
    "map": pa.array([[("k", 1)], None, []], pa.map_(pa.string(), pa.int8())),
    "union": pa.UnionArray.from_sparse(pa.array([0, 1, 0], pa.int8()), [pa.array([1, 2, 3]), pa.array(["a", "", "c"])]),
    "runs": pa.RunEndEncodedArray.from_arrays([2, 3], ["a", "b"]),
    "uuid": pa.ExtensionArray.from_storage(pa.uuid(), pa.array([uuid.UUID(int=1).bytes, None, uuid.UUID(int=2).bytes])
        .cast(pa.binary(16))),
}  # fmt: skip


@pytest.mark.parametrize("name", COLUMNS)
@pytest.mark.parametrize("start", [0, 1, 3])
def test_a_column_of_any_arrow_type_comes_back(name: str, start: int, serializer: ArrowIPC, same: Same) -> None:
    array = COLUMNS[name][start:]

    for value in (
        array,
        pa.chunked_array([array, COLUMNS[name]]),
        pa.table({name: array}),
        pa.record_batch({name: array}),
    ):
        data = serializer.dumps(value)
        same(value, serializer.loads(data))
        same(value, serializer.load(io.BufferedReader(io.BytesIO(data))))


@given(
    chunks=st.lists(st.lists(st.text() | st.none(), max_size=5), max_size=4),
    bounds=st.tuples(st.integers(0, 20), st.integers(0, 20)),
)
def test_a_slice_of_chunks_comes_back(
    chunks: list[Any], bounds: tuple[int, int], serializer: ArrowIPC, same: Same
) -> None:
    value = pa.table({"s": pa.chunked_array(chunks, pa.string())}).slice(*bounds)

    same(value, serializer.loads(serializer.dumps(value)))


@pytest.mark.parametrize(
    "value",
    [
        pa.table({}),
        pa.table({"a": [1, 2]}).select([]),
        pa.record_batch({}),
        pa.table({"a": pa.chunked_array([], pa.int8())}),
        pa.table([[1], [2]], names=["a", "a"]),
        pa.table({"a": [1]}, metadata={"k": "v", "pandas": "not json"}),
        pa.table([[1]], pa.schema([pa.field("a", pa.int8(), nullable=False, metadata={"unit": "m"})])),
        pa.array(["a", "b"]).dictionary_encode().slice(2),
    ],
    ids=str,
)
def test_an_odd_value_comes_back(value: object, serializer: ArrowIPC, same: Same) -> None:
    same(value, serializer.loads(serializer.dumps(value)))


@pytest.mark.parametrize("make", [pa.array, lambda values: pa.record_batch({"a": values})], ids=["array", "batch"])
def test_what_is_in_one_piece_comes_back_in_one_piece(
    make: Callable[[object], Any], serializer: ArrowIPC, same: Same
) -> None:
    value = make(np.arange(1 << 20))[1:]

    same(value, serializer.loads(serializer.dumps(value)))


def test_categories_may_differ_from_chunk_to_chunk(serializer: ArrowIPC, same: Same) -> None:
    chunks = [pa.array(["a", "b"]).dictionary_encode(), pa.array(["c"]).dictionary_encode()]
    value = pa.table({"c": pa.chunked_array(chunks)})

    same(value, serializer.loads(serializer.dumps(value)))


def test_the_payload_is_a_stream_that_arrow_opens(serializer: ArrowIPC) -> None:
    table = pa.table({"a": [1, 2], "b": ["x", None]})

    with pa.ipc.open_stream(serializer.dumps(table)) as reader:
        assert reader.read_all().equals(table)


def test_a_table_is_a_view_of_the_memory_it_is_read_from(serializer: ArrowIPC) -> None:
    size = pa.total_allocated_bytes()

    table = serializer.loads(serializer.dumps(pa.table({"a": np.arange(1 << 20)})))

    assert isinstance(table, pa.Table)
    assert pa.total_allocated_bytes() - size < 1 << 20


def test_real_flights_come_back(flights: Path, serializer: ArrowIPC, same: Same) -> None:
    table = pa.csv.read_csv(flights / "weather.csv")

    same(table, serializer.loads(serializer.dumps(table)))
    assert table.num_rows > 25_000


def test_a_slice_is_written_without_what_was_cut_off(serializer: ArrowIPC) -> None:
    table = pa.table({"a": np.arange(1 << 16), "s": ["some text"] * (1 << 16)})

    assert len(serializer.dumps(table.slice(5, 10))) < 1 << 12


class Celsius(pa.ExtensionType):
    def __init__(self) -> None:
        super().__init__(pa.float64(), "test.celsius")

    def __arrow_ext_serialize__(self) -> bytes:
        return b""

    @classmethod
    def __arrow_ext_deserialize__(cls, storage: object, serialized: bytes) -> Celsius:
        return cls()


@pytest.mark.parametrize("wrap", ["column", "list", "struct", "dictionary", "opaque"])
def test_an_extension_type_that_is_somebodys_code_is_refused(wrap: str, serializer: ArrowIPC) -> None:
    own = Celsius()
    types = {
        "column": own,
        "list": pa.list_(own),
        "struct": pa.struct([("a", pa.list_(own))]),
        "dictionary": pa.dictionary(pa.int8(), own),
        "opaque": pa.opaque(pa.struct([("a", own)]), "t", "v"),
    }

    with pytest.raises(SerializationError, match=r"\$\['here'\].*extension"):
        serializer.dumps(pa.table({"here": pa.nulls(2, types[wrap])}))


def test_a_column_that_another_process_would_take_for_an_extension_type_is_refused(serializer: ArrowIPC) -> None:
    field = pa.field("here", pa.binary(16), metadata={"ARROW:extension:name": "arrow.uuid"})

    with pytest.raises(SerializationError, match="extension"):
        serializer.dumps(pa.schema([field]).empty_table())


@pytest.mark.parametrize("inside", [False, True])
def test_text_that_is_not_utf8_is_refused_without_quoting_it(serializer: ArrowIPC, *, inside: bool) -> None:
    broken = pa.array([b"secret\xff"]).view(pa.string())
    if inside:
        broken = pa.StructArray.from_arrays([broken], names=["text"])

    with pytest.raises(SerializationError) as caught:
        serializer.dumps(pa.table({"a": broken}))

    assert "secret" not in str(caught.value)


def test_metadata_that_would_be_lost_is_refused(serializer: ArrowIPC) -> None:
    twice = pa.schema([("a", pa.int8())], metadata=pa.KeyValueMetadata([("k", "1"), ("k", "2")]))

    with pytest.raises(SerializationError, match="same key twice"):
        serializer.dumps(twice.empty_table())


def test_a_table_that_carries_the_plugins_own_key_is_refused(serializer: ArrowIPC) -> None:
    table = pa.ipc.open_stream(serializer.dumps(pa.table({"a": [1]}))).read_all()

    with pytest.raises(SerializationError, match="replace_schema_metadata"):
        serializer.dumps(table)


def test_an_error_of_the_sink_is_passed_on(serializer: ArrowIPC) -> None:
    class Full(io.BytesIO):
        def write(self, data: bytes) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space") as caught:
        serializer.dump(pa.table({"a": [1]}), Full())

    assert caught.value.errno == errno.ENOSPC


def test_a_value_that_breaks_off_does_not_get_an_end_mark(serializer: ArrowIPC) -> None:
    class Fills(io.BytesIO):
        def write(self, data: bytes) -> int:
            if len(data) > 1000:
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().write(data)

    sink = Fills()
    with pytest.raises(OSError, match="No space"):
        serializer.dump(pa.table({"a": np.arange(1000)}), sink)

    assert not sink.getvalue().endswith(b"\xff\xff\xff\xff\0\0\0\0")
