# SPDX-License-Identifier: Apache-2.0
"""How are polars frames and series kept? As polars hands them to Arrow, if that leads back to the same schema."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO, Final

import polars as pl
import pyarrow as pa

from strongroom_arrow import _streams
from strongroom_arrow._errors import PayloadError, refusal
from strongroom_arrow._layout import VERSION, Description
from strongroom_arrow._types import has_only_texts_to_choose_from

if TYPE_CHECKING:
    from collections.abc import Iterator

    from polars._typing import PolarsDataType

    from strongroom_arrow._streams import Parts

__all__ = ["check", "dump", "load"]

_SLICE: Final = 1 << 20
# The newest layouts of strings are not yet read by every Arrow library.
_COMPATIBLE: Final = pl.CompatLevel.oldest()
_ARRAYS_ARE_WHOLE: Final = int(pl.__version__.partition(".")[0]) > 1
_POLARS_ERRORS: Final = (pl.exceptions.PolarsError, pl.exceptions.PanicException)


def check(value: object) -> None:
    """Raise SerializationError if *value* would not come back unchanged."""
    _streams.check_schema(_schema(_frame(value)))


def dump(value: object, sink: BinaryIO) -> None:
    """Write *value* in slices: polars copies strings on their way to Arrow."""
    _streams.write(sink, *parts(value))


def parts(value: object) -> Parts:
    """What `dump` writes of *value*."""
    frame = _frame(value)
    kind: Final = "polars.Series" if isinstance(value, pl.Series) else "polars.DataFrame"
    description = Description(VERSION, kind, frame.height, dtypes=_dtypes(frame))
    return _schema(frame), _batches(frame), description


def load(table: pa.Table, description: Description) -> pl.DataFrame | pl.Series:
    """The value that *table* was made of."""
    # Of anything but texts polars writes out the dictionary, row by row.
    if not all(has_only_texts_to_choose_from(field) for field in table.schema):
        raise PayloadError("its columns are not those of a polars frame")
    try:
        frame = _from_arrow(table)
    except (pa.ArrowException, *_POLARS_ERRORS, ValueError) as exc:
        raise PayloadError("its columns are not those of a polars frame") from exc
    # An older version does not understand what a newer one says about categories, and silently makes less of it.
    if _dtypes(frame) != description.dtypes:
        raise PayloadError("this version of polars reads a column as another type; pip install -U polars")
    if description.kind == "polars.DataFrame":
        return frame
    if frame.width != 1:
        raise PayloadError("it has more or fewer columns than a series")
    return frame.to_series()


def _frame(value: object) -> pl.DataFrame:
    if type(value) is pl.DataFrame:
        return value
    if type(value) is pl.Series:
        return value.to_frame()
    if isinstance(value, pl.LazyFrame):
        raise refusal("it is a LazyFrame, which is a plan and not yet data; return frame.collect()")
    raise refusal(f"{type(value).__qualname__} is no frame and no series")


def _from_arrow(table: pa.Table) -> pl.DataFrame:
    frame = pl.DataFrame(table)
    # polars makes up a name for a column whose name is empty.
    frame.columns = table.column_names
    return frame


def _schema(frame: pl.DataFrame) -> pa.Schema:
    """The Arrow schema of *frame*, which polars reads as the very schema that *frame* has."""
    fields: list[pa.Field] = []
    for column in frame.head(0).iter_columns():
        place = f"$[{column.name!r}]"
        if _has_empty_arrays(column.dtype):
            raise refusal("polars cannot read arrays of no items back; drop them", place)
        if "Array(" in _signature(column.dtype) and not _ARRAYS_ARE_WHOLE:
            raise refusal("before version 2, polars exports slices of arrays wrongly; pip install -U polars", place)
        try:
            table = column.to_frame().to_arrow(compat_level=_COMPATIBLE)
            same = _from_arrow(table).schema == {column.name: column.dtype}
        except (pa.ArrowException, *_POLARS_ERRORS) as exc:
            raise refusal(f"Arrow has no type for {column.dtype}", place) from exc
        if not same:
            # Such as Python objects, whose addresses polars would write.
            raise refusal(f"a column of {column.dtype} would come back as another type", place)
        fields.append(table.schema.field(0))
    return pa.schema(fields)


def _dtypes(frame: pl.DataFrame) -> tuple[str, ...]:
    return tuple(_signature(dtype) for dtype in frame.dtypes)


def _signature(dtype: pl.DataType) -> str:
    """The classes that *dtype* is made of, such as ``List(Enum)``; Arrow keeps the rest."""
    name = dtype.base_type().__name__
    if isinstance(dtype, pl.Struct):
        return f"{name}({', '.join(_signature(_instance(field.dtype)) for field in dtype.fields)})"
    if isinstance(dtype, pl.List | pl.Array):
        return f"{name}({_signature(_instance(dtype.inner))})"
    return name


def _has_empty_arrays(dtype: pl.DataType) -> bool:
    if isinstance(dtype, pl.Struct):
        return any(_has_empty_arrays(_instance(field.dtype)) for field in dtype.fields)
    if isinstance(dtype, pl.Array) and 0 in dtype.shape:
        return True
    return isinstance(dtype, pl.List | pl.Array) and _has_empty_arrays(_instance(dtype.inner))


def _instance(dtype: PolarsDataType) -> pl.DataType:
    return dtype if isinstance(dtype, pl.DataType) else dtype()


def _batches(frame: pl.DataFrame) -> Iterator[pa.RecordBatch]:
    rows = max(1, frame.height * _SLICE // max(1, int(frame.estimated_size())))
    for part in frame.iter_slices(rows):
        yield from _streams.batches(part.to_arrow(compat_level=_COMPATIBLE))
