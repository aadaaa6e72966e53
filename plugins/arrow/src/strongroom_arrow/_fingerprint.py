# SPDX-License-Identifier: Apache-2.0
"""Which bytes stand for the content of an array, a table or a frame, however it lies in memory?"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import msgspec
from blake3 import blake3

from strongroom_arrow._serializer import kind_of

if TYPE_CHECKING:
    import numpy as np

    from strongroom_arrow._kinds import Tabular

__all__ = ["fingerprint"]


def fingerprint(value: object) -> bytes | None:
    """A digest of *value*; None if it is of a type that this plugin does not keep.

    Chunks, the order in memory and what lies under missing values do not count. Nothing big is copied as a whole.

    Raises:
        SerializationError: the value cannot be told from others, such as an array of objects.
    """
    if type(value).__module__.partition(".")[0] == "numpy":
        return _of_numpy(value)
    kind = kind_of(value)
    if kind is None:
        return None
    from strongroom_arrow._columns import Columns

    schema, batches, description = cast("Tabular", kind).parts(value)
    columns = Columns(decode=description.kind.startswith("polars."))
    for batch in batches:
        for number, column in enumerate(batch.columns):
            columns.add(column, str(number))
    fields = [(each.name, str(each.type), each.nullable, sorted((each.metadata or {}).items())) for each in schema]
    # What pandas says of itself names its version; the description says what counts.
    metadata = sorted((schema.metadata or {}).items()) if description.frame is None else []
    return columns.digest(msgspec.json.encode(description), fields, metadata)


def _of_numpy(value: object) -> bytes | None:
    import numpy as np

    from strongroom_arrow import _npy

    if not isinstance(value, np.generic) and type(value) is not np.ndarray:
        return None
    array = np.asarray(value)
    # The header refuses what does not mean the same everywhere: objects, long doubles.
    hasher = blake3(_npy.encode(_npy.Header(array.shape, fortran=False, dtype=array.dtype)))
    _add_array(hasher, array)
    return hasher.digest()


def _add_array(hasher: blake3, array: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> None:
    from strongroom_arrow import _arrays

    if array.dtype.names:
        # Between the fields of a record there may be bytes that mean nothing.
        for name in array.dtype.names:
            _add_array(hasher, cast("np.ndarray[tuple[int, ...], np.dtype[np.void]]", array)[name])
        return
    for part in _arrays.parts_in_order(array):
        hasher.update(part)
