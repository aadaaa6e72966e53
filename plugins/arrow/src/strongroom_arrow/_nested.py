# SPDX-License-Identifier: Apache-2.0
r"""How are lists, tuples and dicts of tables, frames and arrays kept? As their payloads, one after the other.

::

    start     \x93PARTS, the version in 2 bytes, little-endian, and zeros up to 64 bytes
    parts     the payload of each table, frame or array, as it would be alone, and zeros up to a multiple of 64 bytes
    contents  JSON: how long each part is, and which list, tuple or dict it belongs to
    end       the size of the contents in 8 bytes, little-endian, then \x93ENDED\x01\x00

Each part begins where Arrow and NumPy like it, so that it can be a view of the record. The contents come last, because
how long a part becomes is known when it has been written.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, BinaryIO, Final, TypeAlias, cast

import msgspec

from strongroom.errors import SerializationError
from strongroom_arrow._bytes import Content, Counted
from strongroom_arrow._errors import PayloadError, refusal
from strongroom_arrow._serializer import KEPT, PARTS, kind_of, load_one

if TYPE_CHECKING:
    from collections.abc import Iterator

    from strongroom_arrow._kinds import Kind

__all__ = ["check", "dump", "load"]

_VERSION: Final = 1
_ALIGNMENT: Final = 64
_START: Final = (PARTS + _VERSION.to_bytes(2, "little")).ljust(_ALIGNMENT, b"\0")
_END: Final = b"\x93ENDED\x01\x00"
_SIZE: Final = 8

_MAX_DEPTH: Final = 32
_MAX_NODES: Final = 1 << 16
_MAX_KEYS: Final = 1 << 20
_MAX_CONTENTS: Final = 16 << 20
"""More than the JSON of so many parts and so long keys can take."""


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="is"):
    """A struct that refuses what it does not know."""


class _List(_Strict, frozen=True, tag="list"):
    items: tuple[_Node, ...]


class _Tuple(_Strict, frozen=True, tag="tuple"):
    items: tuple[_Node, ...]


class _Dict(_Strict, frozen=True, tag="dict"):
    keys: tuple[str, ...]
    items: tuple[_Node, ...]


_Node: TypeAlias = "int | _List | _Tuple | _Dict"
"""A container, or the number of a part."""


class _Contents(_Strict, frozen=True, tag="contents"):
    sizes: Annotated[tuple[Annotated[int, msgspec.Meta(ge=1)], ...], msgspec.Meta(min_length=1, max_length=_MAX_NODES)]
    tree: _Node


class _Walk:
    """Takes a value apart: what it is made of, and which parts it has, in order."""

    def __init__(self) -> None:
        self.parts: list[tuple[str, Kind, object]] = []
        self._nodes = 0
        self._keys = 0

    def node(self, value: object, where: str = "$", depth: int = 0) -> _Node:
        self._nodes += 1
        # A list that holds one list many times, or itself, is small in memory and endless here.
        if self._nodes > _MAX_NODES or depth > _MAX_DEPTH:
            raise refusal(f"it is nested more than {_MAX_DEPTH} deep, or has over {_MAX_NODES:,} parts", where)
        kind = type(value)
        if kind is list or kind is tuple:
            items = cast("list[object] | tuple[object, ...]", value)
            nodes = tuple(self.node(item, f"{where}[{at}]", depth + 1) for at, item in enumerate(items))
            return _List(nodes) if kind is list else _Tuple(nodes)
        if kind is dict:
            return self._dict(cast("dict[object, object]", value), where, depth)
        found = kind_of(value)
        if found is None:
            raise refusal(f"{kind.__qualname__} is not one of {KEPT}; subclasses are not kept", where)
        self.parts.append((where, found, value))
        return len(self.parts) - 1

    def _dict(self, value: dict[object, object], where: str, depth: int) -> _Node:
        if not all(type(key) is str for key in value):
            raise refusal("its keys are not all texts", where)
        keys = cast("tuple[str, ...]", tuple(value))
        try:
            self._keys += len("".join(keys).encode())
        except UnicodeEncodeError:
            raise refusal("one of its keys has half of a surrogate pair", where) from None
        if self._keys > _MAX_KEYS:
            raise refusal(f"the keys take more than {_MAX_KEYS >> 20} MiB", where)
        return _Dict(keys, tuple(self.node(value[key], f"{where}[{key!r}]", depth + 1) for key in keys))


def check(value: object) -> None:
    """Raise SerializationError if *value* would not come back unchanged."""
    _, parts = _taken_apart(value)
    for where, kind, part in parts:
        try:
            kind.check(part)
        except SerializationError as exc:
            raise _further_in(exc, where) from exc


def dump(value: object, sink: BinaryIO) -> None:
    """Write *value*, each of its parts as it would be written alone."""
    tree, parts = _taken_apart(value)
    counted, sizes = Counted(sink), []
    counted.write(_START)
    for where, kind, part in parts:
        start = counted.position
        try:
            kind.dump(part, cast("BinaryIO", counted))
        except SerializationError as exc:
            raise _further_in(exc, where) from exc
        sizes.append(counted.position - start)
        counted.write(bytes(-counted.position % _ALIGNMENT))
    contents = msgspec.json.encode(_Contents(tuple(sizes), tree))
    counted.write(contents + len(contents).to_bytes(_SIZE, "little") + _END)


def load(content: Content, *, known: bool) -> object:
    """The value in *content*; its parts are views of that if it is memory.

    *known* says that the same bytes were loaded before.

    Raises:
        PayloadError: it is not what `dump` writes.
    """
    # From a source that only goes forward it is read into memory first: the contents come last.
    view = content if isinstance(content, memoryview) else memoryview(content.read(sys.maxsize))
    if view[: len(_START)] != _START:
        raise PayloadError("it is of a version that this plugin does not read; pip install -U it")
    contents, end = _contents(view)
    pieces = list(_pieces(view[:end], contents.sizes))
    order = iter(range(len(pieces)))
    _check_tree(contents.tree, order)
    if next(order, None) is not None:
        raise PayloadError("it has parts that belong nowhere")
    parts = [load_one(bytes(piece[: len(PARTS)]), piece, known=known) for piece in pieces]
    return _made(contents.tree, parts)


def _taken_apart(value: object) -> tuple[_Node, list[tuple[str, Kind, object]]]:
    walk = _Walk()
    tree = walk.node(value)
    if not walk.parts:
        raise refusal(f"there is nothing in it that is one of {KEPT}")
    return tree, walk.parts


def _further_in(exc: SerializationError, where: str) -> SerializationError:
    inner = exc.where or "$"
    return refusal(exc.reason, where + inner.removeprefix("$"))


def _contents(view: memoryview) -> tuple[_Contents, int]:
    """What the end of *view* says is in it, and where the parts end."""
    last = len(view) - len(_END)
    size = int.from_bytes(view[max(0, last - _SIZE) : max(0, last)], "little")
    start = last - _SIZE - size
    if bytes(view[max(0, last) :]) != _END or size > _MAX_CONTENTS or start < len(_START):
        raise PayloadError("it has no end mark, or goes on after it")
    data = view[start : last - _SIZE]
    try:
        contents = msgspec.json.decode(data, type=_Contents)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise PayloadError("its contents are not what this plugin writes") from exc
    return contents, start


def _pieces(view: memoryview, sizes: tuple[int, ...]) -> Iterator[memoryview]:
    """The parts: one after the other, with nothing between them, before or after."""
    position = len(_START)
    for size in sizes:
        end = position + size
        padded = end + -end % _ALIGNMENT
        if padded > len(view) or any(view[end:padded]):
            raise PayloadError("its parts are not where its contents say")
        yield view[position:end]
        position = padded
    if position != len(view):
        raise PayloadError("its parts are not all that is in it")


def _check_tree(node: _Node, order: Iterator[int], depth: int = 0, nodes: list[int] | None = None) -> None:
    """Each part is used once and in order, so that a few bytes cannot stand for many values."""
    nodes = [0] if nodes is None else nodes
    nodes[0] += 1
    if depth > _MAX_DEPTH or nodes[0] > _MAX_NODES:
        raise PayloadError("it is nested too deeply, or has too many parts")
    if isinstance(node, int):
        if node != next(order, None):
            raise PayloadError("its parts are not used once each, in their order")
        return
    if isinstance(node, _Dict) and not len(set(node.keys)) == len(node.keys) == len(node.items):
        raise PayloadError("its keys do not belong to its items")
    for item in node.items:
        _check_tree(item, order, depth + 1, nodes)


def _made(node: _Node, parts: list[object]) -> object:
    if isinstance(node, int):
        return parts[node]
    items = [_made(item, parts) for item in node.items]
    if isinstance(node, _List):
        return items
    return tuple(items) if isinstance(node, _Tuple) else dict(zip(node.keys, items, strict=True))
