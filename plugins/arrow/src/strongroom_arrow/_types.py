# SPDX-License-Identifier: Apache-2.0
"""Which Arrow types may stand in a stream? Arrow's own, and no extension that somebody registered."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["foreign_field", "has_dictionary", "has_only_texts_to_choose_from", "is_plain"]

# Arrow's own, in C++. Any other extension type is Python code that one process registered and another one may not have.
_CANONICAL = (pa.Bool8Type, pa.FixedShapeTensorType, pa.JsonType, pa.OpaqueType, pa.UuidType)
_PLAIN = (
    *(pa.types.is_primitive, pa.types.is_string, pa.types.is_large_string),
    *(pa.types.is_binary, pa.types.is_large_binary),
)
_EXTENSION_NAME = b"ARROW:extension:name"


def foreign_field(schema: pa.Schema) -> str | None:
    """The place of the first field whose type is an extension that is not Arrow's own, or None."""
    for field in schema:
        place = f"$[{field.name!r}]"
        if any(_is_foreign(part) for part in _all_fields(field)):
            return place
    return None


def has_dictionary(field: pa.Field) -> bool:
    """True if *field*, or something in it, has categories."""
    return any(pa.types.is_dictionary(part.type) for part in _all_fields(field))


def has_only_texts_to_choose_from(field: pa.Field) -> bool:
    """True if the categories in *field* are texts, wherever there are any."""
    types = [part.type for part in _all_fields(field)]
    kinds = [type_.value_type for type_ in types if pa.types.is_dictionary(type_)]
    return all(pa.types.is_string(kind) or pa.types.is_large_string(kind) for kind in kinds)


def is_plain(type_: pa.DataType) -> bool:
    """True if each row of a column of *type_* has bytes of its own, and nothing else in it."""
    return any(matches(type_) for matches in _PLAIN)


def _is_foreign(field: pa.Field) -> bool:
    # Arrow reads an extension type that nobody registered as its storage, and leaves this key on the field.
    if _EXTENSION_NAME in (field.metadata or {}):
        return True
    return isinstance(field.type, pa.BaseExtensionType) and type(field.type) not in _CANONICAL


def _all_fields(field: pa.Field) -> Iterator[pa.Field]:
    """*field* and all that its type is made of."""
    yield field
    type_ = field.type
    if isinstance(type_, pa.BaseExtensionType):
        yield from _all_fields(pa.field("storage", type_.storage_type))
    elif pa.types.is_dictionary(type_):
        yield from _all_fields(pa.field("values", type_.value_type))
    else:
        for position in range(type_.num_fields):
            yield from _all_fields(type_.field(position))
