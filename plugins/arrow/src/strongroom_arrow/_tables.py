# SPDX-License-Identifier: Apache-2.0
"""How are pyarrow's own tables, batches and arrays kept? As they are: an array is a table of one column."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO, Final

import pyarrow as pa

from strongroom_arrow import _streams
from strongroom_arrow._errors import PayloadError, refusal
from strongroom_arrow._layout import VERSION, Description, Kind

if TYPE_CHECKING:
    from strongroom_arrow._streams import Parts

__all__ = ["check", "dump", "load"]

_COLUMN: Final = "value"


def check(value: object) -> None:
    """Raise SerializationError if *value* would not come back unchanged."""
    _streams.check_schema(_as_table(value).schema)


def dump(value: object, sink: BinaryIO) -> None:
    """Write *value* without a copy of it."""
    _streams.write(sink, *parts(value))


def parts(value: object) -> Parts:
    """What `dump` writes of *value*."""
    table = _as_table(value)
    # What has to come back in one piece is written in one.
    whole = table.to_batches() if isinstance(value, pa.RecordBatch | pa.Array) else []
    description = Description(VERSION, _kind(value), table.num_rows)
    return table.schema, whole or _streams.batches(table), description


def load(table: pa.Table, description: Description) -> object:
    """The value that *table* was made of."""
    if description.kind == "pyarrow.Table":
        return table
    if description.kind == "pyarrow.RecordBatch":
        parts = list(_streams.batches(table))
    else:
        parts = table.columns
        if description.kind == "pyarrow.Array" and len(parts) == 1:
            parts = parts[0].chunks
    if len(parts) != 1:
        raise PayloadError("it has more or fewer parts than a value of its kind")
    return parts[0]


def _kind(value: object) -> Kind:
    if type(value) is pa.Table:
        return "pyarrow.Table"
    if type(value) is pa.RecordBatch:
        return "pyarrow.RecordBatch"
    if type(value) is pa.ChunkedArray:
        return "pyarrow.ChunkedArray"
    if isinstance(value, pa.Array):
        return "pyarrow.Array"
    raise refusal(f"{type(value).__qualname__} is no table, batch or array")


def _as_table(value: object) -> pa.Table:
    kind = _kind(value)
    if kind == "pyarrow.Table":
        return value
    if kind == "pyarrow.RecordBatch":
        return pa.Table.from_batches([value])
    return pa.Table.from_arrays([value], names=[_COLUMN])
