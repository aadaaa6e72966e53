# SPDX-License-Identifier: Apache-2.0
"""Which module keeps a value, and which one reads a payload? Nothing heavy is imported before that is known."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, BinaryIO, cast

from strongroom.abc import RemembersLoads, Serializer, SupportsBuffer
from strongroom.errors import SerializationError
from strongroom_arrow._bytes import opened
from strongroom_arrow._errors import ID, PARQUET, PayloadError, refusal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from strongroom_arrow._bytes import Content
    from strongroom_arrow._kinds import Kind, Tabular

__all__ = ["KEPT", "PARTS", "ArrowIPC", "Parquet", "keeps", "kind_of", "load_one"]

_NPY = b"\x93NUMPY"
_STREAM = b"\xff\xff\xff\xff"
PARTS = b"\x93PARTS"
"""What several values in one payload begin with."""

KEPT = "pyarrow tables, batches and arrays, pandas and polars frames and series, and NumPy arrays"
"""For messages."""

_FRAMES = ("DataFrame", "Series")
_CONTAINERS = frozenset({dict, list, tuple})
_QUICK_LOOK = 8


class ArrowIPC(Serializer):
    """Tables and frames as Arrow IPC streams, NumPy arrays as ``.npy`` files; and lists, tuples and dicts of these.

    A value comes back equal and of the same type, or is refused. Chunks of tables, the memory layout of arrays that
    are not contiguous, and the read-only flag of arrays are not part of a value.
    """

    id = ID
    zero_copy = True

    def dump(self, value: object, sink: BinaryIO) -> None:
        kind = _kind_or_container(value)
        if kind is None:
            raise refusal(f"{type(value).__qualname__} is not one of {KEPT}; subclasses are not kept")
        kind.dump(value, sink)

    def load(self, source: BinaryIO) -> object:
        head, content = opened(source, len(_NPY))
        # Texts have to be UTF-8, offsets to lie within their buffers: to see that takes as long as to read all of it.
        known = isinstance(source, RemembersLoads) and source.loaded_before(self)
        if head == PARTS:
            from strongroom_arrow import _nested

            return _nested.load(content, known=known)
        return load_one(head, content, known=known)


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


def load_one(head: bytes, content: Content, *, known: bool) -> object:
    """The table, frame or array in *content*, which begins with *head*; *known* if the same bytes were loaded before.

    Raises:
        PayloadError: it is not a whole payload of one.
    """
    if head == _NPY:
        from strongroom_arrow import _arrays

        return _arrays.load(content)
    if head.startswith(_STREAM):
        from strongroom_arrow import _kinds

        return _kinds.load(content, known=known)
    raise PayloadError("it begins neither like an Arrow stream nor like a .npy file")


def keeps(value: object) -> bool:
    """True if `ArrowIPC` keeps *value* unchanged."""
    kind = None if _begins_with_another(value) else _kind_or_container(value)
    if kind is None:
        return False
    try:
        kind.check(value)
    except SerializationError:
        return False
    return True


def _begins_with_another(value: object) -> bool:
    """True if *value* holds something that is not kept, found without looking further than at what comes first.

    It is asked of every list and dict that somebody returns, and of nearly all this tells.
    """
    for _ in range(_QUICK_LOOK):
        if type(value) not in _CONTAINERS:
            return kind_of(value) is None
        items = cast("Mapping[str, object] | Sequence[object]", value)
        if not items:
            return False
        value = next(iter(items.values() if isinstance(items, dict) else items))
    return False


def _kind_or_container(value: object) -> Kind | None:
    if type(value) not in _CONTAINERS:
        return kind_of(value)
    from strongroom_arrow import _nested

    return _nested


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
