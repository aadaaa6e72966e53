# SPDX-License-Identifier: Apache-2.0
"""Which Arrow column is which pandas column? Dtypes are from a closed list, and each comes back as it was."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, get_args

import numpy as np
import pandas as pd
import pyarrow as pa
from pandas.tseries.frequencies import to_offset

from strongroom_arrow._errors import PayloadError, refusal
from strongroom_arrow._layout import (
    ArrowColumn,
    Category,
    Level,
    Masked,
    MaskedName,
    NumPy,
    Objects,
    Range,
    Text,
    Zoned,
)
from strongroom_arrow._objects import describe_objects, restore_objects
from strongroom_arrow._types import foreign_field, is_plain
from strongroom_arrow._zones import describe_zone, restore_zone

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from strongroom_arrow._layout import Dtype, Name, PlainDtype

__all__ = ["describe", "describe_index", "describe_level", "describe_name", "restore", "restore_index"]

_MASKED: Final[AbstractSet[str]] = frozenset(get_args(MaskedName))
_NUMPY_KINDS: Final = frozenset("biufmM")
_INDEXES: Final = (pd.Index, pd.CategoricalIndex, pd.DatetimeIndex, pd.TimedeltaIndex)
_NAMES: Final = (type(None), bool, int, str)
_INT64: Final = range(-(1 << 63), 1 << 63)


def describe(values: pd.Series | pd.Index, where: str) -> Dtype:
    """What `restore` has to know to make *values* of their Arrow column.

    Raises:
        SerializationError: they would not come back unchanged.
    """
    dtype = values.dtype
    if isinstance(dtype, np.dtype):
        return describe_objects(values, where) if dtype.kind == "O" else _describe_numpy(dtype, where)
    if type(dtype) is pd.CategoricalDtype:
        return Category(bool(dtype.ordered), describe_index(dtype.categories, f"{where}.categories"))
    # By identity with pandas' own dtype, so that nobody else's dtype of this name is taken for it.
    if dtype.name in _MASKED and type(dtype) is type(pd.api.types.pandas_dtype(dtype.name)):
        return _describe_masked(values, where)
    return _describe_extension(dtype, where)


def restore(  # noqa: PLR0911  # one for each dtype of the closed list
    column: pa.ChunkedArray, dtype: Dtype
) -> pd.api.extensions.ExtensionArray | np.ndarray:
    """The array that *column* was made of: writable, unless pandas itself keeps it in Arrow.

    What does not fit together raises PayloadError, or one of several errors of pandas and Arrow.
    """
    # Of other types a few bytes are many rows, which pandas would write out one by one; `_pandas` sees to columns of
    # nothing.
    is_nothing = isinstance(dtype, Objects) and dtype.of == "nothing"
    if not isinstance(dtype, ArrowColumn | Category) and not is_nothing and not is_plain(column.type):
        raise PayloadError("a column does not have the type that belongs to its dtype")
    match dtype:
        case NumPy():
            return _numpy(column, dtype.dtype)
        case Objects():
            return restore_objects(column, dtype)
        case Category():
            return _categorical(column, dtype)
        case Zoned():
            values = _numpy(column, f"<M8[{dtype.unit}]")
            return pd.DatetimeIndex(values).tz_localize("UTC").tz_convert(restore_zone(dtype)).array
        case ArrowColumn():
            return pd.arrays.ArrowExtensionArray(column)
        case Text():
            # Older versions of pandas know only strings that are missing as NA, and not this argument.
            missing = {} if dtype.missing == "NA" else {"na_value": np.nan}
            return pd.StringDtype(dtype.storage, **missing).__from_arrow__(column)
        case Masked():
            return pd.api.types.pandas_dtype(dtype.dtype).__from_arrow__(column)


def describe_index(index: pd.Index, where: str) -> Level | Range:
    """What `restore_index` has to know to make *index*, which has one level, of its Arrow column.

    Raises:
        SerializationError: it would not come back unchanged.
    """
    if type(index) is pd.RangeIndex:
        return Range(describe_name(index.name, where), index.start, index.stop, index.step)
    return describe_level(index, where)


def describe_level(index: pd.Index, where: str) -> Level:
    """The same for an index that is no range."""
    if type(index) not in _INDEXES:
        raise refusal(f"{type(index).__name__} is not kept; convert it", where)
    return Level(describe_name(index.name, where), describe(index, where), _describe_freq(index, where))


def restore_index(described: Level | Range, column: pa.ChunkedArray | None) -> pd.Index:
    """The index that `describe_index` was given; a range needs no *column*."""
    if isinstance(described, Range):
        return pd.RangeIndex(described.start, described.stop, described.step, name=described.name)
    array = restore(column, described.dtype)
    # With its dtype, because pandas would guess one for objects.
    index = pd.Index(array, dtype=array.dtype, name=described.name, copy=False)
    if described.freq is not None:
        index.freq = described.freq
    return index


def describe_name(name: object, where: str) -> Name:
    """*name*, if JSON can keep it."""
    parts = name if type(name) is tuple else (name,)
    if not all(type(part) in _NAMES and (type(part) is not int or part in _INT64) for part in parts):
        raise refusal(f"its name is of the type {type(name).__name__}; kept are strings, integers and tuples", where)
    try:
        for part in parts:
            str(part).encode()
    except UnicodeEncodeError:
        # Without the cause, which quotes the name.
        raise refusal("its name has half of a surrogate pair, which is no text", where) from None
    return name  # type: ignore[return-value]  # the types are those of Name


def _describe_numpy(dtype: np.dtype[np.generic], where: str) -> NumPy:
    if dtype.kind not in _NUMPY_KINDS or dtype.char == "g" or not dtype.isnative:
        raise refusal(f"Arrow has no columns of the dtype {dtype.str!r}; convert it with astype", where)
    return NumPy(dtype.str)


def _describe_masked(values: pd.Series | pd.Index, where: str) -> Masked:
    # On the way to Arrow pandas takes a NaN for a missing value, and here these are two things.
    if values.dtype.kind == "f" and np.isnan(values.array.to_numpy(dtype=np.float64, na_value=0.0)).any():
        raise refusal("it has NaN beside missing values; convert it to a dtype of NumPy", where)
    return Masked(values.dtype.name)


def _describe_extension(dtype: pd.api.extensions.ExtensionDtype, where: str) -> PlainDtype:
    if type(dtype) is pd.DatetimeTZDtype:
        return describe_zone(dtype.tz, dtype.unit, where)
    if type(dtype) is pd.StringDtype and dtype.storage in ("python", "pyarrow"):
        return Text(dtype.storage, "NA" if dtype.na_value is pd.NA else "nan")
    if type(dtype) is pd.ArrowDtype and foreign_field(pa.schema([pa.field("", dtype.pyarrow_dtype)])) is None:
        return ArrowColumn()
    raise refusal(f"columns of the dtype {dtype.name} are not kept; convert it with astype", where)


def _describe_freq(index: pd.Index, where: str) -> str | None:
    freq = getattr(index, "freq", None)
    if freq is None:
        return None
    name = freq.freqstr
    try:
        same = to_offset(name) == freq
    except ValueError:
        same = False
    if not same:
        raise refusal("its freq has no name that leads back to it; set it to None", where)
    return str(name)


def _numpy(column: pa.ChunkedArray, dtype: str) -> np.ndarray:
    values: np.ndarray = column.to_numpy()
    if values.dtype != np.dtype(dtype) or values.dtype.kind not in _NUMPY_KINDS:
        raise PayloadError("a column does not have the type that belongs to its dtype")
    # A view of Arrow's memory is read-only, and pandas would raise when somebody changes the frame.
    return values if values.flags.writeable else values.copy()


def _categorical(column: pa.ChunkedArray, dtype: Category) -> pd.Categorical:
    chunks = column.chunks
    dictionary = chunks[0].dictionary
    if not all(chunk.dictionary.equals(dictionary) for chunk in chunks):
        raise PayloadError("the categories of a column change on the way")
    codes = [chunk.indices.fill_null(-1).to_numpy(zero_copy_only=False) for chunk in chunks]
    categories = restore_index(dtype.categories, pa.chunked_array([dictionary]))
    return pd.Categorical.from_codes(
        np.concatenate(codes), dtype=pd.CategoricalDtype(categories, ordered=dtype.ordered)
    )
