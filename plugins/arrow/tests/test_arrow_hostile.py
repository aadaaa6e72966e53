# SPDX-License-Identifier: Apache-2.0
"""Are bytes that are no whole payload refused, whatever is wrong with them?"""

from __future__ import annotations

import io
import json
import pickle
import random
import struct
import tracemalloc
from collections.abc import Callable
from typing import BinaryIO, cast

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from strongroom.errors import DamagedError, SerializationError
from strongroom_arrow import ArrowIPC, Parquet, _pandas
from strongroom_arrow._errors import PayloadError

Same = Callable[[object, object], None]
KEY = b"strongroom.arrow"

VALUES = {
    "array": np.arange(6, dtype="f4").reshape(2, 3),
    "table": pa.table(
        {"a": [1, None], "s": ["x", "yy"], "d": pa.array(["u", "v"]).dictionary_encode(), "l": [[1], []]}
    ),
    "frame": pd.DataFrame(
        {"f": [1.5, None], "s": ["x", None], "c": pd.Categorical(["u", "v"])},
        index=pd.date_range("2013", periods=2, tz="America/New_York"),
    ),
    "nested": [np.arange(6, dtype="f4"), ({"t": pa.table({"a": [1, None]})}, [])],
}


def stream(value: pa.Table, metadata: bytes) -> bytes:
    """A whole Arrow stream, which says of itself what *metadata* says."""
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, value.schema.with_metadata({KEY: metadata})) as writer:
        writer.write_table(value)
    return sink.getvalue()


def described(rows: int) -> bytes:
    """What a table of so many *rows* says of itself."""
    return f'{{"is":"description","version":1,"kind":"pyarrow.Table","rows":{rows}}}'.encode()


def sources(data: bytes) -> list[BinaryIO]:
    """A source that lends its memory, and one that does not."""
    return [io.BytesIO(data), cast("BinaryIO", io.BufferedReader(io.BytesIO(data)))]


@pytest.mark.parametrize("name", VALUES)
def test_a_payload_that_is_cut_off_anywhere_is_refused(name: str, serializer: ArrowIPC) -> None:
    data = serializer.dumps(VALUES[name])

    for size in range(len(data)):
        for source in sources(data[:size]):
            with pytest.raises(PayloadError):
                serializer.load(source)


@pytest.mark.parametrize("name", VALUES)
def test_a_payload_with_more_behind_it_is_refused(name: str, serializer: ArrowIPC) -> None:
    for source in sources(serializer.dumps(VALUES[name]) + b"\0"):
        with pytest.raises(PayloadError):
            serializer.load(source)


@pytest.mark.parametrize("name", VALUES)
def test_changed_bytes_give_a_value_or_an_error_of_ours(name: str, serializer: ArrowIPC) -> None:
    data = serializer.dumps(VALUES[name])
    # A changed number is a number, so only a record's tag can tell; what must not happen is anything else.
    chance = random.Random(7)
    for _ in range(500):
        changed = bytearray(data)
        for _ in range(chance.choice([1, 2, 4])):
            changed[chance.randrange(len(data))] = chance.choice([0, 1, 127, 128, 255])
        for source in sources(bytes(changed)):
            try:
                found = serializer.load(source)
            except PayloadError:
                continue
            assert isinstance(found, np.ndarray | pa.Table | pd.DataFrame | list)


@pytest.mark.parametrize("data", [b"", b"\x93NUMPY", b"PK\x03\x04", b"ARROW1\0\0", pickle.dumps(1)])
def test_bytes_of_another_format_are_refused(data: bytes, serializer: ArrowIPC) -> None:
    for source in sources(data):
        with pytest.raises(PayloadError, match="cannot read this payload"):
            serializer.load(source)


def test_a_pickled_array_is_not_unpickled(serializer: ArrowIPC) -> None:
    file = io.BytesIO()
    np.save(file, np.array([{}]), allow_pickle=True)

    with pytest.raises(PayloadError, match="header"):
        serializer.loads(file.getvalue())


def npy(text: str, version: tuple[int, int] = (1, 0), values: bytes = b"") -> bytes:
    """A ``.npy`` file with this text as its header."""
    width = 2 if version == (1, 0) else 4
    return np.lib.format.magic(*version) + len(text).to_bytes(width, "little") + text.encode() + values


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '<i8', 'fortran_order': False, 'shape': (True,)}",
        "{'descr': '<i8', 'fortran_order': False, 'shape': [0]}",
        "{'descr': '<i8', 'fortran_order': 0, 'shape': (0,)}",
        "{'descr': '<i8', 'fortran_order': False, 'shape': (0,), 'more': 1}",
        "{'descr': '|O', 'fortran_order': False, 'shape': (0,)}",
        "{'descr': '<f16', 'fortran_order': False, 'shape': (0,)}",
        "{'descr': 'nonsense', 'fortran_order': False, 'shape': (0,)}",
        "__import__('os')",
        "(" * 1000,
        "-" * 60_000 + "1",
        "{",
        "1",
        "",
    ],
)
def test_a_header_that_describes_no_plain_array_is_refused(header: str, serializer: ArrowIPC) -> None:
    for source in sources(npy(header)):
        with pytest.raises(PayloadError, match="header"):
            serializer.load(source)


@pytest.mark.parametrize("shape", [(2**62,), (2**70,), (0, 2**70), (1,) * 200, (2**40,), (-1,), (-1, -1)])
def test_a_header_that_asks_for_too_much_is_refused(shape: tuple[int, ...], serializer: ArrowIPC) -> None:
    text = repr({"descr": "<i8", "fortran_order": False, "shape": shape})

    for source in sources(npy(text, values=bytes(8))):
        with pytest.raises(PayloadError):
            serializer.load(source)


def test_a_header_that_is_longer_than_it_may_be_is_refused(serializer: ArrowIPC) -> None:
    text = "{'descr': '<i8', 'fortran_order': False, 'shape': (0,)}" + " " * 70_000

    for source in sources(npy(text, version=(3, 0))):
        with pytest.raises(PayloadError):
            serializer.load(source)


def test_a_file_of_another_version_is_refused(serializer: ArrowIPC) -> None:
    with pytest.raises(PayloadError, match="version"):
        serializer.loads(npy("{'descr': '<i8', 'fortran_order': False, 'shape': (0,)}", version=(9, 0)))


TABLE = pa.table({"a": [1, 2]})


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        (b'{"is":"description","version":2,"kind":"pyarrow.Table","rows":2}', "version 2"),
        (b'{"is":"description","version":2,"anything":[]}', "version 2"),
        (b'{"is":"description","version":1,"kind":"os.system","rows":2}', "does not know"),
        (b'{"is":"description","version":1,"kind":"pyarrow.Table","rows":2,"more":1}', "does not know"),
        (b'{"is":"description","version":1,"kind":"pyarrow.Table"}', "does not know"),
        (b"not json", "does not know"),
        (b"[" * 100_000, "does not know"),
        (b'{"is":"description","version":1,"kind":"pyarrow.Table","rows":3}', "rows"),
        (b'{"is":"description","version":1,"kind":"pandas.DataFrame","rows":2}', "make a frame"),
    ],
)
def test_a_stream_that_does_not_say_what_it_holds_is_refused(
    metadata: bytes, reason: str, serializer: ArrowIPC
) -> None:
    with pytest.raises(PayloadError, match=reason):
        serializer.loads(stream(TABLE, metadata))


def test_a_plain_arrow_stream_is_refused(serializer: ArrowIPC) -> None:
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, TABLE.schema) as writer:
        writer.write_table(TABLE)

    with pytest.raises(PayloadError, match="does not say"):
        serializer.loads(sink.getvalue())


@pytest.mark.parametrize("kind", ["pyarrow.RecordBatch", "pyarrow.Array", "pyarrow.ChunkedArray", "polars.Series"])
def test_a_kind_that_does_not_fit_the_columns_is_refused(kind: str, serializer: ArrowIPC) -> None:
    wide = pa.table({"a": pa.chunked_array([[1], [2]]), "b": [1, 2]})

    with pytest.raises(PayloadError):
        serializer.loads(stream(wide, f'{{"is":"description","version":1,"kind":"{kind}","rows":2}}'.encode()))


def test_a_stream_without_its_end_mark_is_refused(serializer: ArrowIPC) -> None:
    data = serializer.dumps(TABLE)

    for source in sources(data[:-8]):
        with pytest.raises(PayloadError, match="end mark"):
            serializer.load(source)


@pytest.mark.parametrize("compression", ["zstd", "lz4"])
def test_a_stream_whose_columns_are_compressed_is_refused_before_they_are_unpacked(
    compression: str, serializer: ArrowIPC
) -> None:
    values = pa.table({"a": np.zeros(1 << 22)})
    categories = pa.table({"a": pa.DictionaryArray.from_arrays(pa.array([0]), pa.array(["x" * (1 << 25)]))})
    for value in (values, categories):
        sink = io.BytesIO()
        schema = value.schema.with_metadata({KEY: described(len(value))})
        with pa.ipc.new_stream(sink, schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as writer:
            writer.write_table(value)
        assert len(sink.getvalue()) < 1 << 20
        before = pa.total_allocated_bytes()

        for source in sources(sink.getvalue()):
            with pytest.raises(PayloadError, match="it has compressed columns"):
                serializer.load(source)
        assert pa.total_allocated_bytes() - before < 1 << 20


def test_a_batch_that_says_in_the_old_way_that_it_is_compressed_is_refused(serializer: ArrowIPC) -> None:
    value, sink = pa.table({"a": [1]}), io.BytesIO()
    with pa.ipc.new_stream(sink, value.schema.with_metadata({KEY: described(1)})) as writer:
        for batch in value.to_batches():
            writer.write_batch(batch, custom_metadata={"ARROW:experimental_compression": "zstd"})

    for source in sources(sink.getvalue()):
        with pytest.raises(PayloadError, match="it has compressed columns"):
            serializer.load(source)


def test_columns_that_lie_over_each_other_are_refused(serializer: ArrowIPC) -> None:
    size, count = 1 << 20, 100
    data = stream(pa.table({str(at): np.zeros(size, "i1") for at in range(count)}), described(size))
    head, end = data[: -8 - count * size], data[-8:]
    # Where each begins and how long it is; all but the first two now lie where the first one does.
    for at in range(2, count):
        head = head.replace(struct.pack("<qq", at * size, size), struct.pack("<qq", 0, size))
    data = head.replace(struct.pack("<q", count * size), struct.pack("<q", 2 * size)) + bytes(2 * size) + end

    for source in sources(data):
        with pytest.raises(PayloadError, match="its columns lie over each other"):
            serializer.load(source)


ROWS = 1 << 25
LONG = pa.array(["x" * (1 << 20)])
BOMBS = {
    "nothing for nothing": (pd.Series([None, None], dtype=object), pa.nulls(ROWS)),
    "nothing for labels": (pd.DataFrame(index=pd.Index([None, None], dtype=object)), pa.nulls(ROWS)),
    "nothing for numbers": (pd.Series([1.5]), pa.nulls(ROWS)),
    "nothing for times": (pd.Series(pd.to_datetime(["2026-01-31"]).tz_localize("UTC")), pa.nulls(ROWS)),
    "one number many times": (pd.Series([1.5]), pa.RunEndEncodedArray.from_arrays([ROWS], pa.array([1.5]))),
    "nothing for integers": (pd.Series([1], dtype="Int64"), pa.nulls(ROWS)),
    "a dictionary for texts": (
        pd.Series(["x"], dtype="string"),
        pa.DictionaryArray.from_arrays(pa.array(np.zeros(200, "i1")), LONG),
    ),
    "a dictionary for objects": (
        pd.Series([b"x"], dtype=object),
        pa.DictionaryArray.from_arrays(pa.array(np.zeros(200, "i1")), LONG.cast(pa.binary())),
    ),
    "views of one text": (
        pd.Series(["x"], dtype="string"),
        pa.Array.from_buffers(
            pa.string_view(),
            200,
            [None, pa.py_buffer(LONG.cast(pa.string_view()).buffers()[1].to_pybytes() * 200), LONG.buffers()[2]],
        ),
    ),
    "a dictionary of lists for lists": (
        pl.Series("a", [[1]]),
        pa.DictionaryArray.from_arrays(pa.array(np.zeros(50, "i1")), pa.array([[1] * (1 << 17)])),
    ),
}


@pytest.mark.parametrize("name", BOMBS)
def test_what_a_frame_would_write_out_row_by_row_is_refused(name: str, serializer: ArrowIPC) -> None:
    honest, column = BOMBS[name]
    schema = pa.ipc.open_stream(serializer.dumps(honest)).schema
    metadata = json.loads(schema.metadata[KEY]) | {"rows": len(column)}
    data = stream(pa.table([column], names=schema.names), json.dumps(metadata).encode())
    assert len(data) < 2 << 20

    # pandas and numpy tell Python of what they take; Arrow and polars take theirs elsewhere.
    tracemalloc.start()
    before = pa.total_allocated_bytes()
    try:
        with pytest.raises(PayloadError):
            serializer.loads(data)
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
        assert pa.total_allocated_bytes() - before < 16 << 20
    finally:
        tracemalloc.stop()


def test_columns_of_nothing_are_kept_as_long_as_they_stand_beside_others(
    serializer: ArrowIPC, same: Same, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_pandas, "_ALWAYS_FINE", 1 << 20)
    rows = 12_000
    nothing = {str(at): np.full(rows, None, dtype=object) for at in range(12)}

    with pytest.raises(SerializationError, match="nothing but missing values; drop them"):
        serializer.dumps(pd.DataFrame(nothing))
    for value in (pd.DataFrame({**nothing, "one": np.zeros(rows, bool)}), pd.DataFrame(nothing).head(10_000)):
        same(serializer.loads(serializer.dumps(value)), value)


def test_text_that_is_not_utf8_is_refused(serializer: ArrowIPC) -> None:
    data = serializer.dumps(pa.table({"a": ["secret"]})).replace(b"secret", b"\xff\xffcret")

    for source in sources(data):
        with pytest.raises(PayloadError) as caught:
            serializer.load(source)
        assert "cret" not in str(caught.value)


class Remembering(io.BytesIO):
    """Bytes that were loaded before, by serializers of these classes."""

    def __init__(self, data: bytes, *kinds: type) -> None:
        super().__init__(data)
        self.kinds = kinds

    def loaded_before(self, serializer: object) -> bool:
        return type(serializer) in self.kinds


@pytest.mark.parametrize("value", [pa.table({"a": ["secret"]}), [pa.table({"a": ["secret"]})]])
def test_only_what_was_loaded_before_is_not_checked_in_full_again(value: object, serializer: ArrowIPC) -> None:
    data = serializer.dumps(value).replace(b"secret", b"\xff\xffcret")

    serializer.load(Remembering(data, ArrowIPC))

    for kinds in ((), (Parquet,)):
        with pytest.raises(PayloadError, match="valid"):
            serializer.load(Remembering(data, *kinds))


@pytest.mark.parametrize("name", VALUES)
def test_what_was_loaded_before_still_has_to_be_whole(name: str, serializer: ArrowIPC) -> None:
    data = serializer.dumps(VALUES[name])

    for size in (0, 8, len(data) // 2, len(data) - 1):
        with pytest.raises(PayloadError):
            serializer.load(Remembering(data[:size], ArrowIPC))


def test_an_extension_type_in_a_payload_is_refused(serializer: ArrowIPC) -> None:
    field = pa.field("a", pa.int64(), metadata={"ARROW:extension:name": "arrow.py_extension_type"})
    table = pa.Table.from_arrays([TABLE["a"]], schema=pa.schema([field]))

    with pytest.raises(PayloadError, match="extension"):
        serializer.loads(stream(table, b'{"is":"description","version":1,"kind":"pyarrow.Table","rows":2}'))


FRAME = pd.DataFrame({"a": [1, 2]}, index=pd.Index(["x", "y"]))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"<i8"', b'"<f8"'),
        (b'"<i8"', b'"|O8"'),
        (b'"<i8"', b'"i,i"'),
        (b'{"is":"numpy","dtype":"<i8"}', b'{"is":"pickle","by":"<i8"}  '),
        (b'"dtypes":[', b'"other_":['),
    ],
)
def test_a_layout_that_does_not_fit_is_refused(old: bytes, new: bytes, serializer: ArrowIPC) -> None:
    data = serializer.dumps(FRAME)
    assert old in data

    with pytest.raises(PayloadError):
        serializer.loads(data.replace(old, new))


def test_a_time_zone_that_is_not_known_is_named_as_the_reason(serializer: ArrowIPC) -> None:
    data = serializer.dumps(VALUES["frame"]).replace(b'"zone":"America/New_York"', b'"zone":"America/New_Yurk"')

    with pytest.raises(PayloadError, match="time zone"):
        serializer.loads(data)


def test_an_error_of_the_source_is_passed_on(serializer: ArrowIPC) -> None:
    class Damaged(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell() > 100:
                raise DamagedError("there")
            return super().read(size)

        def getbuffer(self) -> memoryview:
            raise AssertionError

    class Source:
        """Without getbuffer, unlike its file."""

        def __init__(self, data: bytes) -> None:
            self.read = Damaged(data).read

    with pytest.raises(DamagedError):
        serializer.load(cast("BinaryIO", Source(serializer.dumps(TABLE))))


def test_an_error_survives_the_way_to_another_process() -> None:
    error = pickle.loads(pickle.dumps(PayloadError("it ends too early")))

    assert str(error) == "arrow cannot read this payload: it ends too early"
    assert isinstance(error, SerializationError)
