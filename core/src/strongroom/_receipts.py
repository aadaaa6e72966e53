# SPDX-License-Identifier: Apache-2.0
"""How does a transaction write down which results it has made visible?"""

from __future__ import annotations

from typing import BinaryIO

import msgspec

from strongroom.abc import Serializer
from strongroom.errors import SerializationError
from strongroom.results import Receipt

__all__ = ["Receipts"]


class Receipts(Serializer):
    """Paths and where the results for them lie, as JSON."""

    id = "strongroom.receipts"

    def dump(self, value: object, sink: BinaryIO) -> None:
        sink.write(msgspec.json.encode(value))

    def load(self, source: BinaryIO) -> object:
        try:
            return msgspec.json.decode(source.read(), type=dict[str, Receipt])
        except msgspec.DecodeError:
            raise SerializationError(self.id, "what is stored is no list of results") from None
