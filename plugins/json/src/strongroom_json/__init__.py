# SPDX-License-Identifier: Apache-2.0
"""Which values does the plugin take, and what does it bring?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from strongroom.hookspecs import hookimpl
from strongroom_json._bytes import Bytes
from strongroom_json._json import JSON
from strongroom_json._shape import Shape, shape_of

if TYPE_CHECKING:
    from strongroom.hookspecs import Register

__all__ = ["JSON", "Bytes", "strongroom_choose_serializer", "strongroom_register"]

_MOST_BYTES = 1 << 20


@hookimpl
def strongroom_register(register: Register) -> None:
    """Bring the serializers ``json`` and ``json.bytes``."""
    register.serializer(JSON())
    register.serializer(Bytes())


@hookimpl
def strongroom_choose_serializer(value: object) -> str | None:
    """Claim *value* if it would come back from JSON unchanged. A megabyte of bytes or more is kept as it is."""
    # As text they take a third more room, and several times that in memory.
    if type(value) is bytes and len(value) >= _MOST_BYTES:
        return Bytes.id
    return None if shape_of(value) is Shape.OTHER else JSON.id
