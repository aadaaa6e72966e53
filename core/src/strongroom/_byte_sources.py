# SPDX-License-Identifier: Apache-2.0
"""What may a file that a serializer reads from offer on top?"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

__all__ = ["RemembersLoads", "SupportsBuffer"]


@runtime_checkable
class SupportsBuffer(Protocol):
    """A source whose bytes are already in memory, or mapped into it."""

    def getbuffer(self) -> memoryview:
        """Everything from the start of the source, without a copy; valid as long as somebody holds it."""
        ...


@runtime_checkable
class RemembersLoads(Protocol):
    """A source that knows whether its bytes were read before."""

    def loaded_before(self, serializer: object) -> bool:
        """True if a serializer of the same class loaded these very bytes before, in this process, without an error.

        What it checked of them then, such as that texts are UTF-8, it need not check again. The bytes are authentic,
        as ever, and nobody but the owner of this process can have changed them since.
        """
        ...
