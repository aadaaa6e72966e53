# SPDX-License-Identifier: Apache-2.0
"""Which pandas column is which Arrow column? Dtypes from a closed list, so that each comes back as it was."""

from __future__ import annotations

import datetime as dt
import sys
import zoneinfo
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, get_args

import numpy as np
import pandas as pd
import pyarrow as pa

from strongroom_arrow._errors import PayloadError, refusal
from strongroom_arrow._layout import (
    ArrowColumn,
    Category,
    Dtype,
    Level,
    Masked,
    MaskedName,
    Missing,
    Name,
    NumPy,
    Objects,
    ObjectsOf,
    Text,
    Unit,
    Zoned,
)

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["describe", "describe_level", "describe_name", "restore", "restore_level"]

_MASKED: Final = frozenset(get_args(MaskedName))
_OBJECTS: Final = MappingProxyType[type, ObjectsOf]({str: "str", bytes: "bytes", bool: "bool", dt.date: "date"})
_MISSING: Final = MappingProxyType[Missing, object]({"None": None, "nan": np.nan, "NA": pd.NA})
_NUMPY_KINDS: Final = frozenset("biufmM")


def describe(values: pd.Series | pd.Index, where: str) -> Dtype:
    """What `restore` has to know to make *values* again.

    Raises:
        SerializationError: they would not come back unchanged.
    """
    dtype = values.dtype
    if type(dtype) is np.dtype[object] or dtype == np.dtype(object):
        return _describe_objects(values, where)
    return next((found for how in _DESCRIBERS if (found := how(dtype, where)) is not None), None) or _unknown(dtype)


def restore(column: pa.ChunkedArray, dtype: Dtype) -> object:
    """The array that pandas makes a column of, writable and with memory of its own.

    Raises:
        PayloadError: *column* does not have the type that belongs to *dtype*.
    """
