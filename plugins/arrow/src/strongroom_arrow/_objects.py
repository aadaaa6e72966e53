# SPDX-License-Identifier: Apache-2.0
"""Which pandas columns of Python objects can be kept? Those of one simple type, with one way of saying "missing"."""

from __future__ import annotations

import datetime as dt
import itertools
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd

from strongroom_arrow._errors import PayloadError, refusal
from strongroom_arrow._layout import Missing, Objects, ObjectsOf

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pyarrow as pa

__all__ = ["describe_objects", "restore_objects"]

_KINDS: Final[Mapping[type, ObjectsOf]] = MappingProxyType({str: "str", bytes: "bytes", bool: "bool", dt.date: "date"})
_MISSING: Final[Mapping[type, Missing]] = MappingProxyType({type(None): "None", float: "nan", type(pd.NA): "NA"})
_MISSING_VALUES: Final[Mapping[Missing, object]] = MappingProxyType({"None": None, "nan": np.nan, "NA": pd.NA})


def describe_objects(values: pd.Series | pd.Index, where: str) -> Objects:
    """Of which type *values* are, and what stands for those that are missing.

    Raises:
        SerializationError: they are of several types, or of one that Arrow would change.
    """
    # An array of NumPy's is gone through in a third of the time.
    objects = values.to_numpy()
    types = set(map(type, objects))
    kinds, missing = types & _KINDS.keys(), types & _MISSING.keys()
    if types - kinds - missing or len(kinds) > 1 or len(missing) > 1:
        names = ", ".join(sorted(type_.__name__ for type_ in types))
        raise refusal(f"it is a column of objects of these types: {names}; convert it to one dtype", where)
    if float in missing and any(type(value) is float and value == value for value in objects):  # noqa: PLR0124  # NaN
        raise refusal("it is a column of objects, some of them floats; convert it to one dtype", where)
    if str in kinds:
        _check_text(objects, where)
    return Objects(_KINDS[kinds.pop()] if kinds else "nothing", _MISSING[missing.pop()] if missing else "None")


def restore_objects(column: pa.ChunkedArray, dtype: Objects) -> np.ndarray:
    """The objects that *column* was made of."""
    if dtype.of == "nothing":
        return np.full(len(column), _MISSING_VALUES[dtype.missing], dtype=object)
    # Only to_pandas makes dates of days, and only to_numpy leaves strings alone.
    plain = column.to_pandas(date_as_object=True) if dtype.of == "date" else column.to_numpy()
    values = np.array(plain, dtype=object)
    if column.null_count:
        values[column.is_null().to_numpy()] = _MISSING_VALUES[dtype.missing]
    if any(type_ not in _MISSING and _KINDS.get(type_) != dtype.of for type_ in set(map(type, values))):
        raise PayloadError("a column does not hold the objects that it says")
    return values


def _check_text(objects: np.ndarray, where: str) -> None:
    texts = (value for value in objects if type(value) is str)
    try:
        for text in itertools.filterfalse(str.isascii, texts):
            text.encode()
    except UnicodeEncodeError:
        # Without the cause, which quotes the string.
        raise refusal("a string in it has half of a surrogate pair, which is no text", where) from None
