# SPDX-License-Identifier: Apache-2.0
"""When are two values, or two functions, the same? Never a guess: what we cannot tell is an error."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import inspect
import pathlib
import struct
import textwrap
import types
import uuid
from typing import TYPE_CHECKING, cast

import msgspec

from strongroom.errors import SerializationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = ["canonical", "canonical_source"]

_WHO = "the fingerprint"
_MAX_DEPTH = 100

# Each kind of value has a tag of its own, so that (1, 2) and [1, 2], 1 and True and 1.0 differ.
_SCALARS: Mapping[type, tuple[str, Callable[[object], object]]] = types.MappingProxyType(
    {
        type(None): ("none", lambda _: 0),
        bool: ("bool", lambda value: value),
        int: ("int", str),
        # By bits: 0.0 and -0.0 differ, and a nan is itself.
        float: ("float", lambda value: struct.pack("<d", value)),
        complex: ("complex", lambda value: struct.pack("<dd", cast("complex", value).real, cast("complex", value).imag)),
        str: ("str", lambda value: cast("str", value).encode("utf-8", "surrogatepass")),
        bytes: ("bytes", lambda value: value),
        bytearray: ("bytearray", lambda value: bytes(cast("bytearray", value))),
        datetime.date: ("date", str),
        datetime.time: ("time", repr),
        datetime.datetime: ("datetime", repr),
        datetime.timedelta: ("timedelta", repr),
        decimal.Decimal: ("decimal", lambda value: repr(cast("decimal.Decimal", value).as_tuple())),
        uuid.UUID: ("uuid", str),
        range: ("range", repr),
        pathlib.PosixPath: ("path", str),
        pathlib.PurePosixPath: ("purepath", str),
    }
)


def canonical(value: object, where: str = "$") -> bytes:
    """*value* as bytes: equal bytes for values of equal type and content, in every process, and for no others.

    Raises:
        SerializationError: it has, or holds, a value of a type that this does not know; names the type and the place.
    """
    return _encode(value, where, 0)


def _encode(value: object, where: str, depth: int) -> bytes:
    kind = type(value)
    if kind in _SCALARS:
        tag, content = _SCALARS[kind]
        return _pack(tag, content(value))
    if depth == _MAX_DEPTH:
        raise SerializationError(_WHO, f"it is nested more than {_MAX_DEPTH} deep", where=where)
    if kind in {list, tuple}:
        items = cast("list[object]", value)
        return _pack(kind.__name__, [_encode(item, f"{where}[{i}]", depth + 1) for i, item in enumerate(items)])
    if kind in {set, frozenset}:
        members = sorted(_encode(item, f"{where}{{}}", depth + 1) for item in cast("set[object]", value))
        return _pack(kind.__name__, members)
    if kind is dict:
        return _pack("dict", _pairs(cast("dict[object, object]", value).items(), where, depth))
    return _encode_object(value, where, depth)


def _encode_object(value: object, where: str, depth: int) -> bytes:
    name = f"{type(value).__module__}.{type(value).__qualname__}"
    if isinstance(value, enum.Enum):
        return _pack("enum", [name.encode(), value.name.encode()])
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = [(field.name, getattr(value, field.name)) for field in dataclasses.fields(value)]
        return _pack("dataclass", [name.encode(), *_pairs(fields, where, depth)])
    if isinstance(value, types.ModuleType):
        return _pack("module", value.__name__.encode())
    if isinstance(value, (type, types.BuiltinFunctionType)):
        return _pack("named", f"{value.__module__}.{value.__qualname__}".encode())
    if isinstance(value, types.FunctionType):
        return canonical_source(value, depth)
    raise SerializationError(_WHO, f"values of the type {name} cannot be told apart; give a cache key", where=where)


def _pairs(pairs: Iterable[tuple[object, object]], where: str, depth: int) -> list[bytes]:
    encoded = (
        _pack("pair", [_encode(key, f"{where}{{}}", depth + 1), _encode(value, f"{where}[...]", depth + 1)])
        for key, value in pairs
    )
    return sorted(encoded)


def canonical_source(function: Callable[..., object], depth: int = 0) -> bytes:
    """The source of *function*, with the values of its closure and of the globals that it names.

    Raises:
        SerializationError: there is no source, or a value that it uses cannot be told apart.
    """
    plain = inspect.unwrap(function)
    name = getattr(plain, "__qualname__", type(plain).__qualname__)
    if not isinstance(plain, types.FunctionType) or depth == _MAX_DEPTH:
        raise SerializationError(_WHO, f"the source of {name} cannot be read; give the task a cache_key")
    try:
        source = textwrap.dedent(inspect.getsource(plain))
    except (OSError, TypeError):
        raise SerializationError(_WHO, f"the source of {name} cannot be read; give the task a cache_key") from None
    used = inspect.getclosurevars(plain)
    # What the function is itself, or calls itself by, is in the source already.
    values = {key: value for key, value in {**used.globals, **used.nonlocals}.items() if _is_other(value, plain)}
    encoded = [
        _pack("uses", [key.encode(), _encode(inspect.unwrap(value) if callable(value) else value, key, depth + 1)])
        for key, value in sorted(values.items())
    ]
    return _pack("source", [source.encode(), *encoded])


def _is_other(value: object, function: types.FunctionType) -> bool:
    return not (callable(value) and inspect.unwrap(value) is function)


def _pack(tag: str, content: object) -> bytes:
    return msgspec.msgpack.encode((tag, content))
