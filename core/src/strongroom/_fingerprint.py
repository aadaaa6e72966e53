# SPDX-License-Identifier: Apache-2.0
"""When are two values, or two functions, the same? Never a guess: what we cannot tell is an error."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import decimal
import enum
import functools
import logging
import pathlib
import re
import struct
import sys
import types
import uuid
from typing import TYPE_CHECKING, TypeAlias, TypeGuard, cast

import blake3
import msgspec

from strongroom._source import class_functions, class_text, function_text, global_names, library_of
from strongroom.errors import SerializationError
from strongroom.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    Foreign: TypeAlias = Callable[[object], bytes | None]

__all__ = ["canonical", "uses_nothing"]

_WHO = "the fingerprint"
_MAX_DEPTH = 100
_MAX_FUNCTIONS = 10_000
_LARGE = 1 << 16
_SLICE = 1 << 20
_encode = msgspec.msgpack.Encoder().encode
_IN_ARROW = frozenset({"numpy", "pandas", "polars", "pyarrow"})


def canonical(value: object, where: str = "$", *, foreign: Foreign = lambda _: None) -> bytes:
    """*value* as bytes: equal bytes for values of equal type and content, in every process, and for no others.

    A function or class of the user's own is its source, with whatever that uses; one of a library is its name and the
    library's version. What is large goes in as its digest, so that the bytes stay small.

    Args:
        value: what to tell from others.
        where: what to call it in an error.
        foreign: asked about values of types that this does not know; None if it does not know them either.

    Raises:
        SerializationError: it has, or holds, a value of a type that nobody knows; names the type and the place.
    """
    if (scalar := _SCALARS.get(type(value))) is not None:
        tag, content = scalar
        return _pack(tag, content(value))
    return _Encoder(foreign).value(value, where)


def _bits(value: float) -> bytes:
    return struct.pack("<d", value)


def _text(value: object) -> bytes | list[object]:
    text = cast("str", value)
    if len(text) < _LARGE:
        return text.encode("utf-8", "surrogatepass")
    return _digest(len(text), (_text(text[at : at + _LARGE - 1]) for at in range(0, len(text), _LARGE - 1)))


def _bytes(value: object) -> bytes | list[object]:
    data = cast("bytes | bytearray", value)
    return bytes(data) if len(data) < _LARGE else _digest(len(data), [data])


def _digest(size: int, pieces: Iterable[object]) -> list[object]:
    hasher = blake3.blake3()
    for piece in pieces:
        hasher.update(cast("bytes", piece))
    return [size, hasher.digest()]


# Each kind of value has a tag of its own, so that (1, 2) and [1, 2], 1 and True and 1.0 differ.
_SCALARS: Mapping[type, tuple[str, Callable[[object], object]]] = types.MappingProxyType(
    {
        type(None): ("none", lambda _: 0),
        bool: ("bool", lambda value: value),
        # In hexadecimal digits: Python refuses to write long numbers in decimal ones.
        int: ("int", cast("Callable[[object], str]", hex)),
        # By bits: 0.0 and -0.0 differ, and a nan is itself.
        float: ("float", lambda value: _bits(cast("float", value))),
        complex: ("complex", lambda value: [_bits(cast("complex", value).real), _bits(cast("complex", value).imag)]),
        str: ("str", _text),
        bytes: ("bytes", _bytes),
        bytearray: ("bytearray", _bytes),
        dt.date: ("date", str),
        dt.timedelta: ("timedelta", repr),
        dt.timezone: ("timezone", repr),
        decimal.Decimal: ("decimal", lambda value: repr(cast("decimal.Decimal", value).as_tuple())),
        uuid.UUID: ("uuid", str),
        range: ("range", repr),
        pathlib.PosixPath: ("path", str),
        pathlib.PurePosixPath: ("purepath", str),
        type(...): ("ellipsis", lambda _: 0),
        # Its name and never its value: who changes a password wants no other results, and nobody may test guesses.
        Secret: ("secret", lambda value: cast("Secret", value).name),
    }
)

_CONTAINERS = frozenset({list, tuple, set, frozenset, dict, types.MappingProxyType})
_CACHES = type(functools.cache(lambda: None))


class _Encoder:
    """Encodes one value; knows how deep it is in it, and which functions and classes it has seen."""

    def __init__(self, foreign: Foreign) -> None:
        self._foreign = foreign
        self._depth = 0
        self._seen: list[object] = []
        self._known: dict[int, tuple[object, bytes]] = {}
        self._functions = 0

    def value(self, value: object, where: str) -> bytes:
        kind = type(value)
        if kind in _SCALARS:
            tag, content = _SCALARS[kind]
            return _pack(tag, content(value))
        if (known := self._known.get(id(value))) is not None:
            return known[1]
        if self._depth == _MAX_DEPTH:
            raise SerializationError(_WHO, f"it is nested more than {_MAX_DEPTH} deep", where=where)
        self._depth += 1
        try:
            # In this order, since most that is not plain is a container or a function.
            found = (
                self._container(value, where)
                or self._code(value, where)
                or self._standard(value, where)
                or self._object(value, where)
            )
        finally:
            self._depth -= 1
        if found is None:
            raise _unknown(value, where)
        return self._noted(value, found)

    def _noted(self, value: object, found: bytes) -> bytes:
        if len(found) > _LARGE:
            found = _pack("large", [len(found), blake3.blake3(found).digest()])
        # Lists of one list twice, of one list twice, and so on, would else be gone through once for each way to get
        # there. Not where functions were met: they go by the order in which that was.
        if type(value) in _CONTAINERS and not self._seen:
            # With the value, whose id would else be another's as soon as it is gone.
            self._known[id(value)] = (value, found)
        return found

    def _container(self, value: object, where: str) -> bytes | None:
        kind = type(value)
        if kind in {list, tuple}:
            items = cast("list[object]", value)
            return _pack(kind.__name__, [self.value(item, f"{where}[{index}]") for index, item in enumerate(items)])
        if kind in {set, frozenset}:
            return _pack(kind.__name__, sorted(self._apart(item, where) for item in cast("set[object]", value)))
        if kind in {dict, types.MappingProxyType}:
            return _pack(kind.__name__, self._pairs(cast("dict[object, object]", value).items(), where))
        return None

    def _standard(self, value: object, where: str) -> bytes | None:
        """What the standard library has and programs are full of."""
        if type(value) in {dt.datetime, dt.time}:
            moment = cast("dt.datetime", value)
            zone = self.value(moment.tzinfo, f"{where}.tzinfo")
            return _pack(type(value).__name__, [moment.replace(tzinfo=None).isoformat(), moment.fold, zone])
        if type(value) is re.Pattern:
            return _pack("pattern", [self.value(value.pattern, where), value.flags])
        if type(value) is functools.partial:
            parts = (value.func, value.args, value.keywords)
            return _pack(
                "partial", [self.value(part, f"{where}.{name}") for name, part in zip("fak", parts, strict=True)]
            )
        if isinstance(value, logging.Logger):
            return _pack("logger", value.name)
        # A zone that was read from a file has no key, and is nobody's.
        if _name(type(value)) == "zoneinfo.ZoneInfo" and (key := getattr(value, "key", None)):
            return _pack("zone", key)
        return None

    def _object(self, value: object, where: str) -> bytes | None:
        name = _name(type(value))
        if isinstance(value, enum.Enum):
            return _pack("enum", [name, value.name])
        if dataclasses.is_dataclass(value):
            fields = ((field.name, getattr(value, field.name)) for field in dataclasses.fields(value))
            return _pack("dataclass", [name, *self._pairs(fields, where, named=True)])
        if isinstance(value, tuple) and hasattr(value, "_fields"):
            return _pack("named tuple", [name, *self._pairs(zip(value._fields, value, strict=True), where, named=True)])
        if (known_by := getattr(type(value), "__strongroom_fingerprint__", None)) is not None:
            return _pack("known", known_by)
        found = self._foreign(value)
        return None if found is None else _pack("foreign", [name, found])

    def _code(self, value: object, where: str) -> bytes | None:
        """Functions, classes and modules."""
        if isinstance(value, types.FunctionType):
            return self._once(value, where, self._function)
        if isinstance(value, type):
            return self._once(value, where, self._class)
        if isinstance(value, types.ModuleType):
            return _pack("module", [value.__name__, library_of(value.__name__)])
        return self._callable(value, where) if callable(value) else None

    def _callable(self, value: object, where: str) -> bytes | None:
        if isinstance(value, types.MethodType):
            parts = (value.__func__, value.__self__)
            return _pack("method", [value.__name__, *(self.value(part, where) for part in parts)])
        if isinstance(value, types.BuiltinFunctionType | types.MethodDescriptorType):
            owner = getattr(value, "__self__", None)
            if owner is not None and not isinstance(owner, types.ModuleType):
                return _pack("method", [value.__name__, self.value(owner, where)])
            return _named(value, getattr(value, "__module__", None) or "builtins")
        if _is_of_library(value):
            return _named(value, value.__module__)
        # What else has a function in it may have more: a decorator of the user's has settings. These two have not.
        if isinstance(value, _CACHES) or library_of(type(value).__module__) == "strongroom":
            function = getattr(value, "__wrapped__", None)
            return None if function is None else _pack("wrapper", [_name(type(value)), self.value(function, where)])
        return None

    def _once(self, value: object, where: str, encode: Callable[..., bytes]) -> bytes:
        """What is used again, or uses itself, is encoded where it is first met, and named by its number after that."""
        for number, known in enumerate(self._seen):
            if known is value:
                return _pack("same", number)
        # In a set nothing is first, so that there the same functions may have to be gone through again and again.
        self._functions += 1
        if self._functions > _MAX_FUNCTIONS:
            raise SerializationError(
                _WHO, "its functions use each other in too many ways; give a cache key", where=where
            )
        self._seen.append(value)
        return encode(value, where)

    def _function(self, function: types.FunctionType, where: str) -> bytes:
        module = str(function.__globals__.get("__name__"))
        name = function.__qualname__
        if (library := library_of(module)) is not None:
            if wrapped := getattr(function, "__wrapped__", None):
                return _pack("wrapper", [library, self.value(wrapped, where)])
            # Of functions that are made anew at each call, many have one name.
            if "<locals>" not in name and "<lambda>" not in name:
                return _named(function, module)
        text = function_text(function.__code__, function.__code__.co_filename)
        if text is None:
            raise SerializationError(
                _WHO, f"the source of {name} cannot be read; give the task a cache_key", where=where
            )
        uses = [*_given(function), *_closure(function), *_globals(function)]
        return _pack("source", [_text(text), *self._pairs(uses, name, named=True)])

    def _class(self, kind: type, where: str) -> bytes:
        if library_of(kind.__module__) is not None and "<locals>" not in kind.__qualname__:
            return _named(kind, kind.__module__)
        text = class_text(kind)
        if text is None:
            reason = f"the source of the class {kind.__qualname__} cannot be read; give the task a cache_key"
            raise SerializationError(_WHO, reason, where=where)
        held: dict[str, object] = {name: each for name, each in vars(kind).items() if _is_data(name, each)}
        if issubclass(kind, enum.Enum):
            held = {name: member.value for name, member in kind.__members__.items()}
        parts = [self.value(base, where) for base in kind.__bases__]
        parts += [self.value(function, f"{kind.__qualname__}.{name}") for name, function in class_functions(kind)]
        return _pack("class", [_text(text), self._pairs(held.items(), kind.__qualname__, named=True), *parts])

    def _pairs(self, pairs: Iterable[tuple[object, object]], where: str, *, named: bool = False) -> list[bytes]:
        """*pairs* in the order of their keys, which an error may tell if they are *named* in code."""
        keyed = [(self._apart(key, where), f"{where}.{key}" if named else where, item) for key, item in pairs]
        # What is met first must not depend on the order in a dictionary.
        keyed.sort(key=lambda each: each[0])
        return [_pack("pair", [key, self.value(item, place)]) for key, place, item in keyed]

    def _apart(self, value: object, where: str) -> bytes:
        """*value* as if there were nothing else: in a set nothing is first."""
        seen, self._seen = self._seen, []
        try:
            return self.value(value, where)
        finally:
            self._seen = seen


def uses_nothing(function: object) -> TypeGuard[types.FunctionType]:
    """True if *function* is its text and nothing else: it has no defaults and no closure, and finds no globals."""
    if not isinstance(function, types.FunctionType):
        return False
    if function.__defaults__ or function.__kwdefaults__ or function.__closure__ or hasattr(function, "__wrapped__"):
        return False
    names = global_names(function.__code__)
    return not names or not any(name in function.__globals__ for name, *_ in names)


def _given(function: types.FunctionType) -> Iterator[tuple[str, object]]:
    """The values of the defaults: the text has only what they were made of."""
    for name in ("__defaults__", "__kwdefaults__"):
        if value := getattr(function, name):
            yield name, value


def _closure(function: types.FunctionType) -> Iterator[tuple[str, object]]:
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        # A cell is empty until what it is named after is defined: then nothing uses it yet.
        with contextlib.suppress(ValueError):
            yield f"closure {name}", cell.cell_contents


def _globals(function: types.FunctionType) -> Iterator[tuple[str, object]]:
    found: dict[str, object] = {}
    for name, *attributes in global_names(function.__code__):
        if name not in function.__globals__:
            continue  # a builtin, or nothing
        value, path = function.__globals__[name], name
        for attribute in attributes:
            # Through modules of the user's own, to what is used of them: the module as a whole is only a name.
            if not isinstance(value, types.ModuleType) or library_of(value.__name__) or not hasattr(value, attribute):
                break
            value, path = getattr(value, attribute), f"{path}.{attribute}"
        found[path] = value
    return iter(found.items())


def _is_data(name: str, value: object) -> bool:
    return not (name.startswith("__") and name.endswith("__")) and type(value) in _SCALARS


def _is_of_library(value: object) -> bool:
    """True if *value* is what a library has under the name that *value* gives."""
    module, name = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(name, str) or library_of(module) is None:
        return False
    return getattr(sys.modules.get(module), name, None) is value


def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _named(value: object, module: str | None) -> bytes:
    return _pack("named", [library_of(module or ""), module, getattr(value, "__qualname__", "")])


def _unknown(value: object, where: str) -> SerializationError:
    name = _name(type(value))
    hint = "give a cache key"
    if name.partition(".")[0] in _IN_ARROW:
        hint += ", or for arrays and tables: pip install strongroom-arrow"
    return SerializationError(_WHO, f"values of the type {name} cannot be told apart; {hint}", where=where)


def _pack(tag: str, content: object) -> bytes:
    return _encode((tag, content))
