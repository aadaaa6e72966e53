# SPDX-License-Identifier: Apache-2.0
"""How does a pandas frame become batches? What pyarrow copies on the way is converted slice by slice."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd
import pyarrow as pa

from strongroom_arrow import _streams
from strongroom_arrow._errors import refusal
from strongroom_arrow._layout import Category, Masked, NumPy, Objects, Range, Text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from strongroom_arrow._layout import Dtype, Frame

__all__ = ["converted"]

_FIRST: Final = 1 << 10
_SLICE: Final = 1 << 18
_SHARE: Final = 32
_MISFITS: Final = (pa.ArrowException, OverflowError, TypeError, ValueError)


def converted(frame: pd.DataFrame, layout: Frame) -> tuple[pa.Schema, Iterable[pa.RecordBatch]]:
    """*frame*, whose labels pyarrow takes as they are, as pyarrow converts it."""
    # A range as a whole index is metadata, but as one level of several it has to be a column like the others.
    preserve = None if isinstance(layout.index, Range) else True
    columns, dtypes = _columns(frame, layout)
    try:
        if not _takes_memory(frame, dtypes):
            table = pa.Table.from_pandas(frame, preserve_index=preserve)
            return table.schema, _streams.batches(table)
        schema = _schema(frame, layout, columns, dtypes)
        return schema, _Slices(schema, columns, dtypes)
    except _MISFITS as exc:
        raise _not_converted(exc) from exc


def _columns(frame: pd.DataFrame, layout: Frame) -> tuple[Sequence[pd.Series | pd.Index], Sequence[Dtype]]:
    """All that becomes a column of Arrow: first the columns, then the levels of the index."""
    columns = [frame.iloc[:, position] for position in range(frame.shape[1])]
    if isinstance(layout.index, Range):
        return columns, layout.dtypes
    levels = [frame.index.get_level_values(position) for position in range(frame.index.nlevels)]
    return [*columns, *levels], [*layout.dtypes, *(level.dtype for level in layout.index.levels)]


def _takes_memory(frame: pd.DataFrame, dtypes: Sequence[Dtype]) -> bool:
    """True if all that would be copied of *frame* at once is a considerable part of it."""
    copied = len(frame) * sum(map(_copied, dtypes))
    return copied > _SLICE and copied > int(frame.memory_usage().sum()) // _SHARE


def _copied(dtype: Dtype) -> float:
    """How many bytes of each row are copied, about: a text has its place beside its characters."""
    match dtype:
        case Objects(of="str" | "bytes" | "date") | Text(storage="python"):
            return 16
        case Category():
            return 1
        case Objects() | NumPy(dtype="|b1") | Masked(dtype="boolean"):
            return 1 / 8
    return 0


def _schema(
    frame: pd.DataFrame, layout: Frame, columns: Sequence[pd.Series | pd.Index], dtypes: Sequence[Dtype]
) -> pa.Schema:
    """The schema of all of *frame*, as pyarrow makes it, from a few of its rows."""
    # Of objects it looks at the values: those of one column are of one type, but the first ones may be missing.
    first = [_first(column) for column, dtype in zip(columns, dtypes, strict=True) if isinstance(dtype, Objects)]
    sample = frame.iloc[[0, *first]]
    whole = layout.index
    if not isinstance(whole, Range):
        return pa.Table.from_pandas(sample, preserve_index=True).schema
    sample.index = pd.RangeIndex(len(sample), name=frame.index.name)
    schema = pa.Table.from_pandas(sample).schema
    told = json.loads(schema.metadata[b"pandas"])
    (index,) = told["index_columns"]
    index.update(start=whole.start, stop=whole.stop, step=whole.step)
    return schema.with_metadata({**schema.metadata, b"pandas": json.dumps(told)})


def _first(column: pd.Series | pd.Index) -> int:
    """The row of the first value that is not missing, or any if all are."""
    values = column.to_numpy()
    for start in range(0, len(values), _FIRST):
        if (there := pd.notna(values[start : start + _FIRST])).any():
            return start + int(there.argmax())
    return 0


class _Slices:
    """The batches of a frame, each of which takes about as much memory beside it."""

    def __init__(self, schema: pa.Schema, columns: Sequence[pd.Series | pd.Index], dtypes: Sequence[Dtype]) -> None:
        self._schema = schema
        self._columns = [_column(*each) for each in zip(columns, dtypes, schema.types, strict=True)]
        self._rows = len(columns[0])

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        start, rows = 0, _FIRST
        while start < self._rows:
            try:
                arrays = [column.slice(start, rows) for column in self._columns]
            except _MISFITS as exc:
                raise _not_converted(exc) from exc
            # In as many batches as a column that pandas keeps in Arrow has chunks there.
            table = pa.Table.from_arrays(arrays, schema=self._schema)
            taken = sum(column.taken(array) for column, array in zip(self._columns, arrays, strict=True))
            yield from table.to_batches()
            # Before the next ones are made.
            del table, arrays
            start += rows
            # By what this slice came to, with care: what comes next may be longer.
            rows = max(1, min(2 * rows, rows * _SLICE // max(1, taken)))


class _Whole:
    """A column that is converted once, since that takes next to no memory, and of a slice as long as of all."""

    def __init__(self, column: pd.Series | pd.Index) -> None:
        self._array = pa.array(column, from_pandas=True)
        # Of a slice Arrow copies what is missing, and where texts and lists begin, to write it.
        self._bits = 1 if pa.types.is_primitive(self._array.type) else 1 + 8 * 8

    def slice(self, start: int, rows: int) -> pa.Array | pa.ChunkedArray:
        return self._array.slice(start, rows)

    def taken(self, array: pa.Array | pa.ChunkedArray) -> int:
        """How much memory *array*, a slice of it, takes until it is written, about."""
        return len(array) * self._bits // 8


class _Copied:
    """A column that pyarrow copies."""

    def __init__(self, column: pd.Series | pd.Index, type_: pa.DataType) -> None:
        self._values = column.to_numpy() if isinstance(column.dtype, np.dtype) else column.array
        self._type = type_

    def slice(self, start: int, rows: int) -> pa.Array:
        return pa.array(self._values[start : start + rows], self._type, from_pandas=True)

    def taken(self, array: pa.Array) -> int:
        return int(array.nbytes)


class _Categories:
    """A column of categories, which are converted once."""

    def __init__(self, column: pd.Series | pd.Index) -> None:
        self._values = column.array
        self._dictionary = pa.array(self._values[:1], from_pandas=True).dictionary

    def slice(self, start: int, rows: int) -> pa.DictionaryArray:
        codes = self._values.codes[start : start + rows]
        return pa.DictionaryArray.from_arrays(codes, self._dictionary, mask=codes < 0, ordered=self._values.ordered)

    def taken(self, array: pa.DictionaryArray) -> int:
        return len(array)


def _column(column: pd.Series | pd.Index, dtype: Dtype, type_: pa.DataType) -> _Whole | _Copied | _Categories:
    if isinstance(dtype, Category):
        return _Categories(column)
    return _Copied(column, type_) if _copied(dtype) else _Whole(column)


def _not_converted(exc: Exception) -> Exception:
    return refusal(f"Arrow cannot convert it ({type(exc).__name__})")
