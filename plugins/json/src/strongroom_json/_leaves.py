# SPDX-License-Identifier: Apache-2.0
"""How is a single value kept that JSON has no form for?

Each type has a tag, ``$`` and the name of its class, and a content that the tag stands before: ``{"$date":
"2026-01-31"}``. What a tag means never changes; a type that needs another content gets another tag.
"""

from __future__ import annotations

import binascii
import re
import struct
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import PosixPath, PurePath, PurePosixPath, PureWindowsPath, WindowsPath
from types import MappingProxyType
from typing import TYPE_CHECKING, Generic, TypeVar, cast
from uuid import UUID, SafeUUID
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["LEAVES", "Leaf", "is_unicode"]

T = TypeVar("T")
C = TypeVar("C", datetime, time)

_ZONE = re.compile(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*")
_DOUBLE = struct.Struct(">d")
_BITS = {name: _DOUBLE.pack(float(name)).hex() for name in ("nan", "inf", "-inf")}
_NAMES = {bits: name for name, bits in _BITS.items()}


@dataclass(frozen=True, slots=True)
class Leaf(Generic[T]):
    """How a value of one type is packed into JSON, and unpacked.

    Both raise a ValueError (or TypeError) for what they do not take; the text of one that `pack` raises says why.
    """

    kind: type[T]
    pack: Callable[[T], object]
    unpack: Callable[[object], T]

    @property
    def tag(self) -> str:
        """The only key of the object that stands for the value."""
        return f"${self.kind.__name__}"


def is_unicode(text: str) -> bool:
    """False if *text* has half of a surrogate pair, as a file name that is no Unicode has."""
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            return False
    return True


def _as_text(kind: type[T], show: Callable[[T], str], parse: Callable[[str], T]) -> Leaf[T]:
    """A leaf whose content is a text, and the very text that *show* gives."""

    def unpack(content: object) -> T:
        if type(content) is not str:
            raise TypeError
        value = parse(content)
        if show(value) != content:
            raise ValueError
        return value

    return Leaf(kind, show, unpack)


def _show_float(value: float) -> str:
    # There are many nans. The others are shown by their bits, so that they come back as they were.
    bits = _DOUBLE.pack(value).hex()
    return _NAMES.get(bits, bits)


def _parse_float(text: str) -> float:
    value: float = _DOUBLE.unpack(int(_BITS.get(text, text), 16).to_bytes(8))[0]
    return value


def _show_decimal(value: Decimal) -> str:
    # The context of the thread may ask for a small e.
    return str(value).replace("e", "E")


def _show_text(value: str) -> str:
    # Only for what is no Unicode: that cannot stand in JSON.
    return _show_bytes(value.encode("utf-8", "surrogatepass"))


def _show_bytes(value: bytes) -> str:
    return binascii.b2a_base64(value, newline=False).decode("ascii")


def _parse_bytes(text: str) -> bytes:
    return binascii.a2b_base64(text, strict_mode=True)


def _pack_timedelta(value: timedelta) -> list[int]:
    return [value.days, value.seconds, value.microseconds]


def _unpack_timedelta(content: object) -> timedelta:
    if type(content) is not list or list(map(type, content)) != [int, int, int]:
        raise TypeError
    value = timedelta(*content)
    if _pack_timedelta(value) != content:
        raise ValueError
    return value


def _pack_uuid(value: UUID) -> object:
    return str(value) if value.is_safe is SafeUUID.unknown else [str(value), value.is_safe.name]


def _unpack_uuid(content: object) -> UUID:
    text, safe = content if type(content) is list else (content, "unknown")
    if type(text) is not str or type(safe) is not str:
        raise TypeError
    value = UUID(text, is_safe=SafeUUID[safe])
    if _pack_uuid(value) != content:
        raise ValueError
    return value


def _pack_clock(value: datetime | time) -> object:
    """The text of `isoformat`, or a list of that and of what does not show in it.

    With a zone the text has no offset: it follows from the zone, and may be another one where that knows better.
    """
    zone = value.tzinfo
    more: dict[str, object] = {"fold": 1} if value.fold else {}
    if type(zone) is ZoneInfo:
        if not _leads_back(zone):
            raise ValueError("its time zone was not made with ZoneInfo(key), so no key leads back to it")
        more["zone"] = zone.key
        value = value.replace(tzinfo=None)
    elif type(zone) is timezone:
        name = zone.tzname(None)
        if name != timezone(zone.utcoffset(None)).tzname(None):
            if not is_unicode(name):
                raise ValueError("its time zone has a name that is no Unicode")
            more["name"] = name
    elif zone is not None:
        raise ValueError(f"its tzinfo is a {type(zone).__qualname__}, and only ZoneInfo and timezone are kept")
    text = value.isoformat()
    return [text, more] if more else text


def _leads_back(zone: ZoneInfo) -> bool:
    try:
        return bool(_ZONE.fullmatch(zone.key or "")) and ZoneInfo(zone.key) is zone
    except LookupError:
        return False


def _clock(kind: type[C]) -> Leaf[C]:
    def unpack(content: object) -> C:
        text, more = content if type(content) is list else (content, {})
        value = kind.fromisoformat(text).replace(fold=more.get("fold", 0))
        if "zone" in more:
            # ZoneInfo looks for a file, or for a module of the package tzdata, of this name.
            if not _ZONE.fullmatch(more["zone"]):
                raise ValueError
            value = value.replace(tzinfo=ZoneInfo(more["zone"]))
        if "name" in more:
            zone = cast("timezone", value.tzinfo)
            value = value.replace(tzinfo=timezone(zone.utcoffset(None), more["name"]))
        if _pack_clock(value) != content:
            raise ValueError
        return value

    return Leaf(kind, _pack_clock, unpack)


def _path(kind: type[PurePath]) -> Leaf[PurePath]:
    def pack(value: PurePath) -> object:
        text = str(value)
        if kind(text) != value:
            raise ValueError("its text does not lead back to it")
        return text if is_unicode(text) else {"$str": _show_text(text)}

    return Leaf(kind, pack, _as_text(kind, str, kind).unpack)


_ALL = cast(
    "tuple[Leaf[object], ...]",
    (
        # In hexadecimal: reading and writing many decimal digits takes time that grows with their square.
        _as_text(int, hex, lambda text: int(text, 16)),
        _as_text(float, _show_float, _parse_float),
        _as_text(str, _show_text, lambda text: _parse_bytes(text).decode("utf-8", "surrogatepass")),
        _as_text(bytes, _show_bytes, _parse_bytes),
        _as_text(date, date.isoformat, date.fromisoformat),
        _as_text(Decimal, _show_decimal, Decimal),
        _clock(datetime),
        _clock(time),
        Leaf(timedelta, _pack_timedelta, _unpack_timedelta),
        Leaf(UUID, _pack_uuid, _unpack_uuid),
        *map(_path, (PosixPath, PurePosixPath, PureWindowsPath, WindowsPath)),
    ),
)

LEAVES = MappingProxyType({leaf.kind: leaf for leaf in _ALL})
"""Type -> how its values are kept where JSON has no form for them. Among them some of int, float and str."""
