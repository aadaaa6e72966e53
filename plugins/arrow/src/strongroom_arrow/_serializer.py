# SPDX-License-Identifier: Apache-2.0
"""Which module keeps a value, and which one reads a payload? Nothing heavy is imported before that is known."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, BinaryIO, cast

from strongroom.abc import Serializer, SupportsBuffer
from strongroom.errors import SerializationError
from strongroom_arrow._bytes import opened
from strongroom_arrow._errors import ID, PARQUET, PayloadError, refusal

if TYPE_CHECKING:
    from strongroom_arrow._kinds import Kind, Tabular

__all__ = ["ArrowIPC", "Parquet", "keeps", "kind_of"]

_NPY = b"\x93NUMPY"
_STREAM = b"\xff\xff\xff\xff"
_KEPT = "pyarrow tables, batches and arrays, pandas and polars frames and series, and NumPy arrays"
_FRAMES = ("DataFrame", "Series")


class ArrowIPC(Serializer):
    """Tables and frames as Arrow IPC streams, NumPy arrays as ``.npy`` files.

    A value comes back equal and of the same type, or is refused. Chunks of tables, the memory layout of arrays that
    are not contiguous, and the read-only flag of arrays are not part of a value.
    """

    id = ID
    zero_copy = True

    def dump(self, value: object, sink: BinaryIO) -> None:
        kind = kind_of(value)
        if kind is None:
            raise refusal(f"{type(value).__qualname__} is not one of {_KEPT}; subclasses are not kept")
        kind.dump(value, sink)

    def load(self, source: BinaryIO) -> object:
        head, content = opened(source, len(_NPY))
        if head == _NPY:
            from strongroom_arrow import _arrays

            return _arrays.load(content)
        if head.startswith(_STREAM):
            from strongroom_arrow import _kinds

            return _kinds.load(content)
        raise PayloadError("it begins neither like an Arrow stream nor like a .npy file")


class Parquet(Serializer):
    """Tables and frames as Parquet files, for those who read them with other tools.

    It keeps less than `ArrowIPC` and takes longer: what Parquet has no type for is refused, categories among it.
    """

    id = PARQUET
    # Columns are unpacked, but only one at a time beside the file, if that is in memory or mapped into it.
    zero_copy = True

    def dump(self, value: object, sink: BinaryIO) -> None:
        kind = kind_of(value)
        if kind is None or not hasattr(kind, "parts"):
            reason = f"{type(value).__qualname__} is no table and no frame, or a subclass; use the serializer arrow"
            raise refusal(reason, id_=PARQUET)
        from strongroom_arrow import _parquet

        _parquet.write(sink, *cast("Tabular", kind).parts(value))

    def load(self, source: BinaryIO) -> object:
        from strongroom_arrow import _kinds, _parquet

        # The footer comes last, so a source that only goes forward has to be read to its end first.
        view = source.getbuffer().cast("B") if isinstance(source, SupportsBuffer) else memoryview(source.read())
        return _kinds.made(*_parquet.read(view))


def keeps(value: object) -> bool:
    """True if `ArrowIPC` keeps *value* unchanged."""
    kind = kind_of(value)
    if kind is None:
        return False
    try:
        kind.check(value)
    except SerializationError:
        return False
    return True


def kind_of(value: object) -> Kind | None:
    """The module for values of this type. It goes by names, so that other values import nothing."""
    package, name = type(value).__module__.partition(".")[0], type(value).__name__
    if package not in sys.modules:
        return None
    if package == "numpy" and name == "ndarray":
        from strongroom_arrow import _arrays

        return _arrays
    if package == "pyarrow" and (name in ("Table", "RecordBatch") or name.endswith("Array")):
        from strongroom_arrow import _tables

        return _tables
    if package == "pandas" and name in _FRAMES:
        from strongroom_arrow import _pandas

        return _pandas
    if package == "polars" and name in (*_FRAMES, "LazyFrame"):
        from strongroom_arrow import _polars

        return _polars
    return None
