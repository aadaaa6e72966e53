# SPDX-License-Identifier: Apache-2.0
"""Does a type checker see what users and plugin authors write? It is checked by mypy and never run."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, assert_type

from strongroom import Register, Serializer, hookimpl

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO


class Upper(Serializer):
    """A plugin author's serializer."""

    id = "upper"

    def dump(self, value: object, sink: BinaryIO) -> None:
        sink.write(str(value).upper().encode())

    def load(self, source: BinaryIO) -> str:
        return source.read().decode()


class Half(Serializer):
    """A serializer that lacks half of the contract."""

    id = "half"

    def dump(self, value: object, sink: BinaryIO) -> None:
        sink.write(str(value).encode())


@hookimpl
def strongroom_register(register: Register) -> None:
    """A plugin author's hook."""
    register.serializer(Upper())
    register.serializer("upper")  # type: ignore[arg-type]
    register.serialiser(Upper())  # type: ignore[attr-defined]
    register.backend("upper", Upper)  # type: ignore[arg-type]


assert_type(Upper().load(io.BytesIO()), str)
assert_type(Upper().dumps(1), bytes)
assert_type(Upper().loads(b""), object)
assert_type(strongroom_register, "Callable[[Register], None]")
Half()  # type: ignore[abstract]
