# SPDX-License-Identifier: Apache-2.0
"""How are pandas frames and series kept? As the table that pyarrow makes of them, and what that leaves out."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO, Final

import msgspec
import pandas as pd
import pyarrow as pa

from strongroom_arrow import _streams
from strongroom_arrow._errors import PayloadError, refusal
from strongroom_arrow._layout import VERSION, ArrowColumn, Description, Frame, Levels, Objects, Range
from strongroom_arrow._pandas_batches import converted
from strongroom_arrow._pandas_columns import describe, describe_name, restore
from strongroom_arrow._pandas_labels import are_field_names, describe_labels, pack, restore_labels, unpack

if TYPE_CHECKING:
    from collections.abc import Sequence

    from strongroom_arrow._streams import Parts

__all__ = ["check", "dump", "load"]

_NAMELESS: Final = "value"
_ALWAYS_FINE: Final = 64 << 20
_POINTER: Final = 8
_MOST_BESIDE: Final = 16
_MISFITS: Final = (AttributeError, LookupError, NotImplementedError, OverflowError, TypeError, ValueError)


def check(value: object) -> None:
    """Raise SerializationError if *value* would not come back unchanged."""
    _describe(value, _frame(value))


def dump(value: object, sink: BinaryIO) -> None:
    """Write *value*; pyarrow copies those columns that it has to convert."""
    _streams.write(sink, *parts(value))


def parts(value: object) -> Parts:
    """What `dump` writes of *value*."""
    frame = _frame(value)
    layout = _describe(value, frame)
    schema, batches = converted(_flat(frame, layout), layout)
    kind: Final = "pandas.Series" if type(value) is pd.Series else "pandas.DataFrame"
    description = Description(VERSION, kind, len(frame), layout)
    return schema, batches, description


def load(table: pa.Table, description: Description) -> pd.DataFrame | pd.Series:
    """The value that *table* was made of."""
    layout = description.frame
    if layout is None:
        raise PayloadError("it does not say how its columns make a frame")
    if _is_nearly_nothing(layout, table.num_rows):
        raise PayloadError("it would unpack to much more than it is")
    try:
        frame = _restore(table, layout)
    except PayloadError:
        raise
    # pandas and Arrow have many errors for parts that do not fit together.
    except (pa.ArrowException, *_MISFITS) as exc:
        raise PayloadError("its columns do not make the frame that it describes") from exc
    if description.kind == "pandas.DataFrame":
        return frame
    if frame.shape[1] != 1:
        raise PayloadError("it has more or fewer columns than a series")
    series = frame.iloc[:, 0].rename(layout.series)
    series.attrs = layout.attrs
    return series


def _frame(value: object) -> pd.DataFrame:
    if type(value) is pd.DataFrame:
        return value
    if type(value) is pd.Series:
        series: pd.Series = value
        describe_name(series.name, "$.name")
        return series.to_frame(series.name if type(series.name) is str else _NAMELESS)
    raise refusal(f"{type(value).__qualname__} is no frame and no series")


def _describe(value: object, frame: pd.DataFrame) -> Frame:
    if not frame.flags.allows_duplicate_labels:
        raise refusal("its flag allows_duplicate_labels would be lost; reset it with set_flags")
    columns = describe_labels(frame.columns, "$.columns")
    layout = Frame(
        dtypes=tuple(
            describe(frame.iloc[:, position], f"$[{label!r}]") for position, label in enumerate(frame.columns)
        ),
        index=describe_labels(frame.index, "$.index"),
        columns=columns,
        labels=None if isinstance(columns, Range) or are_field_names(frame.columns, columns) else pack(frame.columns),
        attrs=_describe_attrs(frame.attrs),
        series=describe_name(value.name, "$.name") if isinstance(value, pd.Series) else None,
    )
    if _is_nearly_nothing(layout, len(frame)):
        raise refusal("nearly all of it are columns of nothing but missing values; drop them")
    return layout


def _is_nearly_nothing(layout: Frame, rows: int) -> bool:
    """True if no reader would make a frame of it: a column with nothing in it is large in pandas and no bytes here."""
    levels = layout.index.levels if isinstance(layout.index, Levels) else ()
    dtypes = [*layout.dtypes, *(level.dtype for level in levels)]
    nothing = sum(isinstance(dtype, Objects) and dtype.of == "nothing" for dtype in dtypes)
    beside = len(dtypes) - nothing - sum(isinstance(dtype, ArrowColumn) for dtype in dtypes)
    return nothing * rows * _POINTER > _ALWAYS_FINE and nothing > _MOST_BESIDE * beside


def _describe_attrs(attrs: dict[object, object]) -> dict[str, object]:
    try:
        kept = msgspec.json.decode(msgspec.json.encode(attrs), type=dict[str, object])
    except (msgspec.MsgspecError, TypeError, ValueError, OverflowError, RecursionError) as exc:
        raise refusal("they are not plain JSON", "$.attrs") from exc
    if not _is_same(kept, attrs):
        raise refusal("they would not come back from JSON unchanged", "$.attrs")
    return kept


def _is_same(one: object, other: object) -> bool:
    """True if two JSON values are equal, type for type."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict) and isinstance(other, dict):
        return list(one) == list(other) and all(_is_same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_is_same, one, other))
    return one == other


def _flat(frame: pd.DataFrame, layout: Frame) -> pd.DataFrame:
    """*frame* with labels that pyarrow takes as they are; its values are not copied."""
    flat = frame.copy(deep=False)
    if layout.labels is not None or isinstance(layout.columns, Range):
        names = [str(label) for label in frame.columns]
        if len(set(names)) < len(names):
            names = [f"{name}.{position}" for position, name in enumerate(names)]
        flat.columns = pd.Index(names, dtype=object)
    if not all(type(name) in (str, type(None)) for name in frame.index.names):
        flat.index = frame.index.set_names([None] * frame.index.nlevels)
    return flat


def _restore(table: pa.Table, layout: Frame) -> pd.DataFrame:
    count = len(layout.dtypes)
    arrays = [restore(column, dtype) for column, dtype in zip(table.columns[:count], layout.dtypes, strict=True)]
    series = {position: pd.Series(array, dtype=array.dtype, copy=False) for position, array in enumerate(arrays)}
    frame = pd.DataFrame(series, index=pd.RangeIndex(table.num_rows), copy=False)
    frame.columns = restore_labels(layout.columns, _label_columns(table.column_names[:count], layout))
    frame.index = restore_labels(layout.index, table.columns[count:])
    frame.attrs = layout.attrs
    return frame


def _label_columns(names: Sequence[str], layout: Frame) -> Sequence[pa.ChunkedArray]:
    if layout.labels is not None:
        return unpack(layout.labels)
    if isinstance(layout.columns, Range):
        return []
    return [pa.chunked_array([pa.array(names, pa.string())])]
