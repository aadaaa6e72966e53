# SPDX-License-Identifier: Apache-2.0
"""How are large bytes kept? As they are: what lies in storage is the image, the archive or the model itself."""

from __future__ import annotations

import io
import shutil
from typing import BinaryIO, Final

from strongroom.abc import Serializer
from strongroom.errors import SerializationError

__all__ = ["Bytes"]

_PIECE: Final = 1 << 20
_PASSED_ON: Final = 4 << 20
"""A sink that hands what it is given to a second thread does so less often than with less."""


class Bytes(Serializer):
    """Bytes, and nothing else, without a byte more. As JSON they would take a third more room, and more time."""

    id = "json.bytes"

    def dump(self, value: object, sink: BinaryIO) -> None:
        """Write *value* in pieces.

        Raises:
            SerializationError: it is not of the type ``bytes``.
        """
        if type(value) is not bytes:
            raise SerializationError(self.id, f"{type(value).__qualname__} is not bytes; use the serializer json")
        view = memoryview(value)
        sink.writelines(view[start : start + _PASSED_ON] for start in range(0, len(view), _PASSED_ON))

    def load(self, source: BinaryIO) -> bytes:
        """All of *source*, in memory once: what it collects is handed out without a copy."""
        memory = io.BytesIO()
        shutil.copyfileobj(source, memory, _PIECE)
        return memory.getvalue()
