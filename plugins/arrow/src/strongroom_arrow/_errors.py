# SPDX-License-Identifier: Apache-2.0
"""How does this plugin say that it cannot keep a value, or cannot read a payload?"""

from __future__ import annotations

from strongroom.errors import SerializationError

__all__ = ["ID", "PARQUET", "PayloadError", "refusal"]

ID = "arrow"
"""The id of the serializer; it stands in stored records."""

PARQUET = "arrow.parquet"
"""The id of the other one."""


class PayloadError(SerializationError):
    """These bytes are not one whole payload of this plugin; no value was made of them."""

    def __init__(self, reason: str, id_: str = ID) -> None:
        super().__init__(id_, reason)
        self.args = (f"{id_} cannot read this payload: {reason}",)

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.reason, self.serializer)


def refusal(reason: str, where: str = "$", *, id_: str = ID) -> SerializationError:
    """The error for a value that would not come back unchanged, because of what is at *where*."""
    return SerializationError(id_, reason, where=where)
