# SPDX-License-Identifier: Apache-2.0
"""How does this plugin say that it cannot keep a value, or cannot read a payload?"""

from __future__ import annotations

from strongroom.errors import SerializationError

__all__ = ["ID", "PayloadError", "refusal"]

ID = "arrow"
"""The id of the serializer; it stands in stored records."""


class PayloadError(SerializationError):
    """These bytes are not one whole payload of this plugin; no value was made of them."""

    def __init__(self, reason: str) -> None:
        super().__init__(ID, reason)
        self.args = (f"{ID} cannot read this payload: {reason}",)

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.reason,)


def refusal(reason: str, where: str = "$") -> SerializationError:
    """The error for a value that would not come back unchanged, because of what is at *where*."""
    return SerializationError(ID, reason, where=where)
