# SPDX-License-Identifier: Apache-2.0
"""How are the labels of a pandas frame kept, its index and its columns? As columns of Arrow, one for each level."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pandas as pd
import pyarrow as pa

from strongroom_arrow import _streams, _tables
from strongroom_arrow._errors import PayloadError, refusal
from strongroom_arrow._layout import Level, Levels, Objects, Range, Text
from strongroom_arrow._pandas_columns import describe_index, describe_level, restore_index

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["are_field_names", "describe_labels", "pack", "restore_labels", "unpack"]


def describe_labels(index: pd.Index, where: str) -> Range | Levels:
    """What `restore_labels` has to know to make *index* of Arrow columns, one for each level, none for a range.

    Raises:
        SerializationError: it would not come back unchanged.
    """
    if type(index) is not pd.MultiIndex:
        single = describe_index(index, where)
        return single if isinstance(single, Range) else Levels((single,), multi=False)
    return Levels(
        tuple(_describe_level(index, position, f"{where}.levels[{position}]") for position in range(index.nlevels)),
        multi=True,
    )


def restore_labels(labels: Range | Levels, columns: Sequence[pa.ChunkedArray]) -> pd.Index:
    """The index that `describe_labels` was given."""
    if isinstance(labels, Range):
        if columns:
            raise PayloadError("it has more columns than its frame")
        return restore_index(labels, None)
    levels = [restore_index(level, column) for level, column in zip(labels.levels, columns, strict=True)]
    if labels.multi:
        return pd.MultiIndex.from_arrays(levels, names=[level.name for level in levels])
    (index,) = levels
    return index


def are_field_names(columns: pd.Index, described: Range | Levels) -> bool:
    """True if the names of Arrow's fields say all about the labels of the columns."""
    if not isinstance(described, Levels) or described.multi:
        return False
    are_strings = isinstance(described.levels[0].dtype, Text | Objects) and all(type(label) is str for label in columns)
    return are_strings and columns.is_unique and type(columns.name) in (str, type(None))


def pack(columns: pd.Index) -> bytes:
    """Labels of columns that are more than names, as a stream of their own."""
    levels = [columns.get_level_values(position) for position in range(columns.nlevels)]
    arrays = [pa.array(pd.Series(level, dtype=level.dtype), from_pandas=True) for level in levels]
    sink = io.BytesIO()
    _tables.dump(pa.Table.from_arrays(arrays, names=[str(position) for position in range(len(arrays))]), sink)
    return sink.getvalue()


def unpack(packed: bytes) -> Sequence[pa.ChunkedArray]:
    """The columns for `restore_labels` that `pack` made."""
    columns: Sequence[pa.ChunkedArray] = _streams.read(memoryview(packed))[0].columns
    return columns


def _describe_level(index: pd.MultiIndex, position: int, where: str) -> Level:
    values = index.get_level_values(position)
    if values.dtype != index.levels[position].dtype:
        raise refusal("a missing label turns its dtype into another one", where)
    if type(values) is pd.RangeIndex:
        # Whether pandas sees a range here depends on the values, and nobody sees it from outside.
        values = pd.Index(values.to_numpy(), name=values.name)
    return describe_level(values, where)
