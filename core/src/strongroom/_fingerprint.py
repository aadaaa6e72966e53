# SPDX-License-Identifier: Apache-2.0
"""When are two values, or two functions, the same? Never a guess: what we cannot tell is an error."""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import inspect
import logging
import pathlib
import re
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


def _bits(value: float) -> bytes:
    return struct.pack("<d", value)


# Each kind of value has a tag of its own, so that (1, 2) and [1, 2], 1 and True and 1.0 differ.
_SCALARS: Mapping[type, tuple[str, Callable[[object], object]]] = types.MappingProxyType(
    {
        type(None): ("none", lambda _: 0),
        bool: ("bool", lambda value: value),
        int: ("int", str),
        # By bits: 0.0 and -0.0 differ, and a nan is itself.
        float: ("float", lambda value: _bits(cast("float", value))),
        complex: ("complex", lambda value: [_bits(cast("complex", value).real), _bits(cast("complex", value).imag)]),
        str: ("str", lambda value: cast("str", value).encode("utf-8", "surrogatepass")),
        bytes: ("bytes", lambda value: value),
        bytearray: ("bytearray", lambda value: bytes(cast("bytearray", value))),
        dt.date: ("date", str),
        dt.time: ("time", repr),
        dt.datetime: ("datetime", repr),
        dt.timedelta: ("timedelta", repr),
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
    return _Encoder().value(value, where)


def canonical_source(function: Callable[..., object]) -> bytes:
    """The source of *function*, with the values of its closure and of the globals that it names.

    Raises:
        SerializationError: there is no source, or a value that it uses cannot be told apart.
    """
    return _Encoder().source(function)


class _Encoder:
    """Encodes one value; knows how deep it is in it, and in which functions."""

    def __init__(self) -> None:
        self._depth = 0
        self._functions: list[object] = []

    def value(self, value: object, where: str) -> bytes:
        kind = type(value)
        if kind in _SCALARS:
            tag, content = _SCALARS[kind]
            return _pack(tag, content(value))
        if self._depth == _MAX_DEPTH:
            raise SerializationError(_WHO, f"it is nested more than {_MAX_DEPTH} deep", where=where)
        self._depth += 1
        try:
            return self._container(value, where) or self._object(value, where)
        finally:
            self._depth -= 1

    def source(self, function: Callable[..., object]) -> bytes:
        plain = inspect.unwrap(function)
        name = getattr(plain, "__qualname__", type(plain).__qualname__)
        # A function that calls itself, or is called by what it calls, is in the encoding already.
        if plain in self._functions:
            return _pack("same", name.encode())
        problem = f"the source of {name} cannot be read; give the task a cache_key"
        if not isinstance(plain, types.FunctionType):
            raise SerializationError(_WHO, problem)
        try:
            text = textwrap.dedent(inspect.getsource(plain))
        except (OSError, TypeError):
            raise SerializationError(_WHO, problem) from None
        # The source of a lambda is the line that it stands in, which is the same for all that stand there.
        if plain.__name__ == "<lambda>" and len(re.findall(r"\blambda\b", text)) > 1:
            raise SerializationError(_WHO, f"{name} is not alone in its line; use def, or give the task a cache_key")
        self._functions.append(plain)
        uses = self._pairs(_used_by(plain).items(), name)
        self._functions.pop()
        return _pack("source", [text.encode(), *uses])

    def _container(self, value: object, where: str) -> bytes | None:
        kind = type(value)
        if kind in {list, tuple}:
            items = cast("list[object]", value)
            return _pack(kind.__name__, [self.value(item, f"{where}[{index}]") for index, item in enumerate(items)])
        if kind in {set, frozenset}:
            return _pack(kind.__name__, sorted(self.value(item, where) for item in cast("set[object]", value)))
        if kind is dict:
            return _pack("dict", self._pairs(cast("dict[object, object]", value).items(), where))
        return None

    def _object(self, value: object, where: str) -> bytes:
        name = f"{type(value).__module__}.{type(value).__qualname__}"
        if isinstance(value, enum.Enum):
            return _pack("enum", [name.encode(), value.name.encode()])
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            fields = ((field.name, getattr(value, field.name)) for field in dataclasses.fields(value))
            return _pack("dataclass", [name.encode(), *self._pairs(fields, where)])
        if (known_by := _known_by_name(value)) is not None:
            return _pack("named", known_by.encode())
        if callable(value) and isinstance(inspect.unwrap(value), types.FunctionType):
            return self.source(value)
        raise SerializationError(_WHO, f"values of the type {name} cannot be told apart; give a cache key", where=where)

    def _pairs(self, pairs: Iterable[tuple[object, object]], where: str) -> list[bytes]:
        return sorted(_pack("pair", [self.value(key, where), self.value(item, where)]) for key, item in pairs)


def _used_by(function: types.FunctionType) -> dict[object, object]:
    """What *function* finds outside of its source: defaults, the variables of its closure, and the globals it names."""
    found: dict[object, object] = {("default", at): value for at, value in enumerate(function.__defaults__ or ())}
    found |= {("default", key): value for key, value in (function.__kwdefaults__ or {}).items()}
    found |= {name: function.__globals__[name] for name in _names(function.__code__) if name in function.__globals__}
    return found | dict(inspect.getclosurevars(function).nonlocals)


def _names(code: types.CodeType) -> set[str]:
    """The names in *code* and in the functions within it; some Pythons make a function of a list comprehension."""
    inner = (_names(constant) for constant in code.co_consts if isinstance(constant, types.CodeType))
    return set(code.co_names).union(*inner)


def _known_by_name(value: object) -> str | None:
    """The name of what is the same thing wherever it has the same name; None if *value* is no such thing."""
    if isinstance(value, types.ModuleType):
        return f"module {value.__name__}"
    if isinstance(value, (type, types.BuiltinFunctionType)):
        return f"{value.__module__}.{value.__qualname__}"
    if isinstance(value, logging.Logger):
        return f"logger {value.name}"
    return getattr(type(value), "__strongroom_fingerprint__", None)


def _pack(tag: str, content: object) -> bytes:
    return msgspec.msgpack.encode((tag, content))
