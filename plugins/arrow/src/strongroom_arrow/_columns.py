# SPDX-License-Identifier: Apache-2.0
"""What is the content of Arrow columns, apart from how it lies in memory?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from blake3 import blake3

from strongroom_arrow._errors import refusal

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

__all__ = ["Columns"]

_ROWS: Final = 1 << 16


class Columns:
    """The content of the columns of a table, as a digest for each stream of values that they consist of."""

    def __init__(self, *, decode: bool) -> None:
        self._decode = decode
        self._streams: dict[str, blake3] = {}
        self._rows: dict[str, int] = {}
        self._dictionaries: dict[str, bytes] = {}

    def add(self, column: pa.Array, path: str) -> None:
        # What has missing values is copied without them: a slice at a time.
        rows = _ROWS if column.null_count else max(1, len(column))
        for start in range(0, len(column), rows):
            self._add(column.slice(start, rows), path)

    def digest(self, *more: object) -> bytes:
        streams = sorted((path, stream.digest()) for path, stream in self._streams.items())
        return blake3(msgspec.msgpack.encode((more, streams, sorted(self._rows.items())))).digest()

    def _add(self, array: pa.Array, path: str) -> None:
        if isinstance(array, pa.ExtensionArray):
            array = array.storage
        array = self._without_missing(array, path)
        kind = array.type
        if pa.types.is_dictionary(kind):
            self._add_dictionary(array, path)
        elif pa.types.is_struct(kind):
            for number, child in enumerate(array.flatten()):
                self._add(child, f"{path}.{number}")
        elif pa.types.is_fixed_size_list(kind):
            self._add(array.flatten(), f"{path}[]")
        elif pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_map(kind):
            self._add_lists(array, path)
        elif pa.types.is_string_view(kind) or pa.types.is_binary_view(kind):
            self._add_texts(array.cast(pa.large_binary()), path)
        elif pa.types.is_binary(kind) or pa.types.is_string(kind) or _is_large(kind):
            self._add_texts(array, path)
        else:
            self._add_numbers(array, path)

    def _without_missing(self, array: pa.Array, path: str) -> pa.Array:
        """*array* without its missing values, whose rows are noted."""
        before = self._rows.get(path, 0)
        self._rows[path] = before + len(array)
        if not array.null_count:
            return array
        there = pc.is_valid(array)
        missing = np.flatnonzero(~there.to_numpy(zero_copy_only=False)) + before
        self._update(f"{path} missing", missing.astype("<i8").data)
        # Not by drop_null, which drops the categories, too, where all of them are missing.
        return array.filter(there)

    def _add_dictionary(self, array: pa.DictionaryArray, path: str) -> None:
        if self._decode:
            # The numbers of polars' categories depend on what else the process has seen.
            self._add(array.dictionary_decode(), f"{path} decoded")
            return
        inner = Columns(decode=False)
        inner.add(array.dictionary, "")
        known = inner.digest()
        # Mostly all batches have one dictionary: it is noted with the row from which on it holds.
        if self._dictionaries.get(path) != known:
            self._dictionaries[path] = known
            row = self._rows.get(f"{path} indices", 0)
            self._update(f"{path} dictionary", np.array([row], "<i8").data)
            self._update(f"{path} dictionary", known)
        self._add(array.indices, f"{path} indices")

    def _add_lists(self, array: pa.Array, path: str) -> None:
        offsets = array.offsets.to_numpy()
        self._update(f"{path} lengths", np.diff(offsets).astype("<i8").data)
        parts = [array.keys, array.items] if pa.types.is_map(array.type) else [array.values]
        for number, part in enumerate(parts):
            self._add(part.slice(offsets[0], offsets[-1] - offsets[0]), f"{path}[{number}]")

    def _add_texts(self, array: pa.Array, path: str) -> None:
        wide = "<i8" if _is_large(array.type) else "<i4"
        _, places, data = array.buffers()
        if places is None:
            return
        offsets = np.frombuffer(places, wide)[array.offset : array.offset + len(array) + 1]
        self._update(f"{path} lengths", np.diff(offsets).astype("<i8").data)
        if data is not None and len(offsets):
            self._update(path, memoryview(data)[offsets[0] : offsets[-1]])

    def _add_numbers(self, array: pa.Array, path: str) -> None:
        if pa.types.is_null(array.type):
            return
        if pa.types.is_boolean(array.type):
            array = array.cast(pa.uint8())
        try:
            width = array.type.bit_width // 8
        except ValueError:
            raise refusal(f"values of the Arrow type {array.type} cannot be told apart; cast them") from None
        data = array.buffers()[1]
        if data is not None:
            self._update(path, memoryview(data)[array.offset * width : (array.offset + len(array)) * width])

    def _update(self, path: str, data: ReadableBuffer) -> None:
        view = memoryview(data)
        # A view of nothing cannot be cast.
        if view.nbytes:
            self._streams.setdefault(path, blake3()).update(view.cast("B"))


def _is_large(kind: pa.DataType) -> bool:
    return bool(pa.types.is_large_string(kind) or pa.types.is_large_binary(kind))
