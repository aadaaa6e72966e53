# SPDX-License-Identifier: Apache-2.0
"""Which values does the plugin take, and what does it bring?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from strongroom.hookspecs import hookimpl
from strongroom_json._json import JSON
from strongroom_json._shape import Shape, shape_of

if TYPE_CHECKING:
    from strongroom.hookspecs import Register

__all__ = ["JSON", "strongroom_choose_serializer", "strongroom_register"]

_MOST_BYTES = 1 << 20


@hookimpl
def strongroom_register(register: Register) -> None:
    """Bring the serializer ``json``."""
    register.serializer(JSON())


@hookimpl
def strongroom_choose_serializer(value: object) -> str | None:
    """Claim *value* if it would come back from JSON unchanged, and is not a megabyte of bytes or more."""
    # As text they take a third more room, and several times that in memory. Whoever comes after us streams them.
    if type(value) is bytes and len(value) >= _MOST_BYTES:
        return None
    return None if shape_of(value) is Shape.OTHER else JSON.id
