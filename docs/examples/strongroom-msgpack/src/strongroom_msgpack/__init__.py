# SPDX-License-Identifier: Apache-2.0
"""How do MessagePack and strongroom meet?"""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

import msgpack

from strongroom import Register, Serializer, hookimpl
from strongroom.errors import SerializationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["MsgPack", "strongroom_register"]

_PLAIN = frozenset({type(None), bool, int, float, str, bytes})


class MsgPack(Serializer):
    """Plain values as MessagePack."""

    id = "msgpack"

    def dump(self, value: object, sink: BinaryIO) -> None:
        try:
            foreign = next(_foreign_types(value), None)
            packed = b"" if foreign else msgpack.packb(value)
        except (OverflowError, RecursionError, ValueError) as exc:
            reason = "a number is too big, a text is not Unicode, or it is nested too deep"
            raise SerializationError(self.id, reason) from exc
        if foreign:
            # MessagePack would take a tuple and give back a list, so refusing it is our part.
            raise SerializationError(self.id, f"{foreign.__name__} is not a type of MessagePack")
        sink.write(packed)

    def load(self, source: BinaryIO) -> object:
        return msgpack.unpack(source, strict_map_key=False)


def _foreign_types(value: object) -> Iterator[type]:
    """The types in *value* that would not come back as they are."""
    children: Iterable[object] = ()
    if type(value) is list:
        children = value
    elif type(value) is dict:
        children = (*value, *value.values())
    elif type(value) not in _PLAIN:
        yield type(value)
    for child in children:
        yield from _foreign_types(child)


@hookimpl
def strongroom_register(register: Register) -> None:
    """Bring the serializer ``msgpack``."""
    register.serializer(MsgPack())
