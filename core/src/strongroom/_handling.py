# SPDX-License-Identifier: Apache-2.0
"""What may a result handler offer on top of writing and reading?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

import msgspec

if TYPE_CHECKING:
    from strongroom.abc import JSONValue, Slot

__all__ = ["SupportsDelete", "SupportsExists", "SupportsUnwrap", "Wrapped"]


@runtime_checkable
class SupportsExists(Protocol):
    """A result handler that can tell whether a value is there without reading it."""

    def exists(self, reference: JSONValue, slot: Slot) -> bool:
        """True if `ResultHandler.read` would find what *reference* leads to."""
        ...


@runtime_checkable
class SupportsDelete(Protocol):
    """A result handler that can delete what it keeps."""

    def delete(self, reference: JSONValue, slot: Slot) -> None:
        """See to it that nothing is where *reference* leads to, whether or not something was.

        A later value in the same place, which has another reference, is left alone.
        """
        ...


class Wrapped(msgspec.Struct, frozen=True):
    """A reference within a reference."""

    handler: str
    """The id of the handler that gave it."""
    reference: object
    """What it answered: JSON."""
    key: str = ""
    """The id of the key that it takes to see this; empty if it takes none."""


@runtime_checkable
class SupportsUnwrap(Protocol):
    """A result handler that keeps values with another one, and can tell where that one keeps them."""

    def unwrap(self, reference: JSONValue, slot: Slot) -> Wrapped:
        """What the other one answered when *reference* was given.

        Garbage is collected, and keys are retired, by what this says. Whatever it raises means that it cannot tell.
        """
        ...
