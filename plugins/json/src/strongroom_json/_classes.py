# SPDX-License-Identifier: Apache-2.0
"""How does an object of a class that the reader names come apart, and together again?

The bytes say a name, and the reader says which class has that name. Nothing is looked up anywhere else.
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from enum import Enum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from strongroom.errors import SettingsError
from strongroom_json._leaves import LEAVES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["Parts", "by_name", "is_whole", "join", "split"]

# A dataclass that derives from one of these.
_WITH_CONTENT = (BaseException, bytearray, dict, frozenset, list, set, tuple, *LEAVES)

Parts: TypeAlias = dict[str, object]
"""The fields of an object, by name."""


def by_name(classes: Iterable[type]) -> Mapping[str, type]:
    """The classes under the names that stand for them in the bytes.

    Raises:
        SettingsError: one is no enum, dataclass or pydantic model, or two have one name.
    """
    found: dict[str, type] = {}
    for cls in classes:
        name = cls.__qualname__
        if not (issubclass(cls, Enum) or is_dataclass(cls) or _is_model(cls)):
            raise SettingsError(f"JSON keeps objects of enums, dataclasses and pydantic models, and {name} is none")
        if not issubclass(cls, Enum) and issubclass(cls, _WITH_CONTENT):
            raise SettingsError(f"{name} has more in it than its fields; JSON would lose that")
        if found.setdefault(name, cls) is not cls:
            raise SettingsError(f"two of the classes for JSON are called {name}; rename one of them")
    return MappingProxyType(found)


def split(value: object) -> tuple[Parts, list[str] | None]:
    """The fields of *value* that it is made of, and which of them were set, if a model knows and it is not all."""
    if not _is_model(type(value)):
        return {field.name: getattr(value, field.name) for field in fields(cast("Any", value)) if field.init}, None
    model = cast("Any", value)
    parts = {name: getattr(model, name) for name in type(model).model_fields}
    were_set = sorted(model.model_fields_set)
    return parts, None if were_set == sorted(parts) else were_set


def join(cls: type, parts: Parts, were_set: list[str] | None) -> object:
    """The object of *cls* that *parts* make, by its own ``__init__`` or validation, which may raise anything."""
    if not _is_model(cls):
        if issubclass(cls, Enum) or were_set is not None:
            raise ValueError
        return cls(**parts)
    kind = cast("Any", cls)
    if parts.keys() != kind.model_fields.keys():
        raise ValueError
    # Strictly, so that nothing is turned into something else; and by the names of the fields, whatever their aliases.
    model = kind.model_validate(parts, strict=True, by_alias=False, by_name=True)
    if were_set is not None:
        if not parts.keys() >= set(were_set):
            raise ValueError
        model.model_fields_set.intersection_update(were_set)
    return cast("object", model)


def is_whole(value: object, again: object) -> bool:
    """True if *again* has all that *value* has beside the fields that it was made of, as `split` has them."""
    if _is_model(type(value)):
        kept = ("model_fields_set", "model_extra", "__pydantic_private__")
        return all(_same(getattr(value, name), getattr(again, name)) for name in kept)
    derived = [field.name for field in fields(cast("Any", value)) if not field.init]
    own = getattr(value, "__dict__", {}).keys() == getattr(again, "__dict__", {}).keys()
    return own and all(_same(getattr(value, name), getattr(again, name)) for name in derived)


def _same(one: object, other: object) -> bool:
    return one is other or (type(one) is type(other) and bool(one == other))


def _is_model(cls: type) -> bool:
    # By what pydantic gives its models, so that it is not imported.
    return isinstance(getattr(cls, "model_fields", None), dict) and hasattr(cls, "__pydantic_validator__")
