# SPDX-License-Identifier: Apache-2.0
"""How do record batches become an Arrow stream, and a stream a table that is whole and valid?"""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO, Final, TypeAlias

import pyarrow as pa

from strongroom_arrow import _layout
from strongroom_arrow._bytes import Content, Pieces
from strongroom_arrow._errors import PayloadError, refusal
from strongroom_arrow._messages import Messages, Shown
from strongroom_arrow._types import foreign_field, is_plain
from strongroom_arrow._validity import checked

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["Parts", "batches", "check_schema", "read", "with_own_metadata", "write"]

Parts: TypeAlias = "tuple[pa.Schema, Iterable[pa.RecordBatch], _layout.Description]"
"""What a stream is made of."""

_END: Final = b"\xff\xff\xff\xff\x00\x00\x00\x00"
_ALWAYS_FINE: Final = 64 << 20
_MOST_TIMES: Final = 2
_SLICE: Final = 4 << 20
_MAX_ROWS: Final = (1 << 31) - 1


def check_schema(schema: pa.Schema) -> None:
    """Raise SerializationError if *schema* would not come back unchanged."""
    place = foreign_field(schema)
    if place is not None:
        raise refusal("its extension type is code that a reader may not have; keep its storage instead", place)
    if _layout.KEY in (schema.metadata or {}):
        raise refusal("its schema has metadata of this plugin already; drop it with replace_schema_metadata")
    # pyarrow shows metadata as a dict, so a key that is there twice would be lost on the way.
    if not schema.with_metadata(schema.metadata).equals(schema, check_metadata=True):
        raise refusal("its schema has metadata with the same key twice; drop it with replace_schema_metadata")


def write(sink: BinaryIO, schema: pa.Schema, parts: Iterable[pa.RecordBatch], description: _layout.Description) -> None:
    """Write *parts* one by one, so that no more than one of them is in memory on top of the value."""
    check_schema(schema)
    try:
        told = schema.with_metadata({**(schema.metadata or {}), _layout.KEY: _layout.encode(description)})
        writer = pa.ipc.new_stream(Pieces(sink), told)
        for part in parts:
            with checked(part):
                writer.write_batch(part)
        # Only here, not in a `with`: a stream that broke off must not get its end mark.
        writer.close()
    # An OSError of Arrow's is the sink's and is passed on: it is not among these.
    except (pa.ArrowException, UnicodeError) as exc:
        raise refusal(f"Arrow refuses to write it ({type(exc).__name__})") from exc


def read(content: Content, *, known: bool = False) -> tuple[pa.Table, _layout.Description]:
    """The table in *content*, and what it stands for; *known* if the same bytes were read before.

    Raises:
        PayloadError: it is not one whole stream that `write` wrote, or what is in it is not valid.
    """
    try:
        table, description = _read(content)
        table.validate(full=not known)
    except PayloadError:
        raise
    except (pa.ArrowException, OSError, LookupError, TypeError, ValueError, MemoryError) as exc:
        failure = None if isinstance(content, memoryview) else content.failure
        if failure is not None:
            raise failure from None
        raise PayloadError("it is not a whole and valid Arrow stream") from exc
    if table.num_rows != description.rows:
        raise PayloadError("it has more or fewer rows than it says")
    size = len(content) if isinstance(content, memoryview) else content.size
    if _size_of_columns(table) > max(_ALWAYS_FINE, _MOST_TIMES * size):
        raise PayloadError("its columns lie over each other, and would unpack to much more than it is")
    return with_own_metadata(table), description


def batches(table: pa.Table) -> Iterator[pa.RecordBatch]:
    """The batches of *table*, at least one of them, as they are where Arrow can write them without a copy."""
    whole = table.to_batches()
    if not whole:
        # An empty batch still carries the categories of dictionary columns.
        yield pa.RecordBatch.from_arrays([column.combine_chunks() for column in table.columns], schema=table.schema)
    for batch in whole:
        # Of a batch that starts in the middle of its buffers, Arrow copies offsets and bitmaps, so it goes in slices.
        if any(column.offset for column in batch.columns) or batch.num_rows > _MAX_ROWS:
            yield from _slices(batch)
        else:
            yield batch


def _slices(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    try:
        size = batch.nbytes
    except pa.ArrowTypeError:
        # Before version 24, Arrow could not tell how much of its buffers a slice of views needs.
        size = batch.get_total_buffer_size()
    rows = min(_MAX_ROWS, max(1, batch.num_rows * _SLICE // max(1, size)))
    for start in range(0, batch.num_rows, rows):
        yield batch.slice(start, rows)


def _size_of_columns(table: pa.Table) -> int:
    """The bytes of those columns that frames copy one by one."""
    # Of others, such as unions, Arrow may end the process when it is asked.
    return sum(column.nbytes for column in table.columns if is_plain(column.type))


def _read(content: Content) -> tuple[pa.Table, _layout.Description]:
    if isinstance(content, memoryview):
        Messages().show(content)
        file = pa.BufferReader(pa.py_buffer(content))
    else:
        file = pa.PythonFile(Shown(content), mode="r")
    reader = pa.ipc.open_stream(file)
    description = _layout.decode((reader.schema.metadata or {}).get(_layout.KEY, b""))
    if foreign_field(reader.schema) is not None:
        raise PayloadError("it has an extension type that is not Arrow's own")
    table = reader.read_all()
    # Arrow takes a stream that breaks off between two messages for a shorter one.
    tail = bytes(content[-len(_END) :]) if isinstance(content, memoryview) else content.tail
    rest = len(content) - file.tell() if isinstance(content, memoryview) else len(content.read(1))
    if tail != _END or rest:
        raise PayloadError("it has no end mark, or goes on after it")
    return table, description


def with_own_metadata(table: pa.Table) -> pa.Table:
    """*table* with the metadata that the value's own schema had."""
    metadata = {key: value for key, value in table.schema.metadata.items() if key != _layout.KEY} or None
    if table.num_columns:
        return table.replace_schema_metadata(metadata)
    # Without a column that holds on to it, Arrow forgets the number of rows here.
    return table.append_column("rows", pa.nulls(table.num_rows)).replace_schema_metadata(metadata).select([])
