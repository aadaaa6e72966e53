# SPDX-License-Identifier: Apache-2.0
"""How does a result handler wrap another one, so that only the owner of the keys can follow its references?"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from strongroom._padding import pad, unpad
from strongroom.abc import JSONValue, ResultHandler, Slot, SupportsDelete, SupportsExists, Wrapped
from strongroom.errors import DamagedError, NotSupportedError, SealError
from strongroom.keyring import bind, sealed_with
from strongroom.project import Project

if TYPE_CHECKING:
    from strongroom.keyring import Keyring

__all__ = ["WrappingHandler"]


class _Inner(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What is sealed: the handler that was wrapped, and what it answered."""

    handler: str
    reference: object


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Inner, strict=True).decode


class WrappingHandler(ResultHandler):
    """Keeps values with another handler, and seals the reference that it gives.

    The seal is bound to the slot: a reference that was moved to another run, task or field does not open. A subclass
    has an `id`, and may `show` something of the reference beside the sealed one.
    """

    def __init__(self, handler: ResultHandler | str = "stored", *, keyring: Keyring | None = None) -> None:
        """Wrap *handler*, or the one of that id; without a *keyring* that of the project is used."""
        self._handler = handler
        self._keyring = keyring

    def show(self, reference: JSONValue) -> JSONValue:  # noqa: ARG002  # a subclass looks at it
        """What of *reference* stands in clear beside the sealed one; None for nothing. Nobody reads it back."""
        return None

    def write(self, value: object, slot: Slot) -> JSONValue:
        project = Project.open()
        handler = project.handler(self._handler) if isinstance(self._handler, str) else self._handler
        reference = handler.write(value, slot)
        # Padded, since how long an address is tells which one it is.
        message = pad(_encode(_Inner(handler.id, reference)))
        sealed = self._keys(project).seal(message, _context(self.id, slot))
        shown = self.show(reference)
        kept: dict[str, JSONValue] = {"sealed": base64.b64encode(sealed).decode()}
        return kept if shown is None else {**kept, "shown": shown}

    def read(self, reference: JSONValue, slot: Slot) -> object:
        handler, inner = self._opened(reference, slot)
        return handler.read(inner, slot)

    def can_read(self, reference: object) -> bool:
        return isinstance(reference, Mapping) and isinstance(reference.get("sealed"), str)

    def exists(self, reference: JSONValue, slot: Slot) -> bool:
        """True if the wrapped handler finds what *reference* leads to.

        Raises:
            NotSupportedError: it cannot tell.
        """
        handler, inner = self._opened(reference, slot)
        if not isinstance(handler, SupportsExists):
            raise NotSupportedError(f"asking the handler {handler.id!r} whether a result is there", instead="read it")
        return handler.exists(inner, slot)

    def delete(self, reference: JSONValue, slot: Slot) -> None:
        """Have the wrapped handler delete what *reference* leads to.

        Raises:
            NotSupportedError: it cannot delete.
        """
        handler, inner = self._opened(reference, slot)
        if not isinstance(handler, SupportsDelete):
            raise NotSupportedError(f"deleting with the handler {handler.id!r}", instead="delete it where it lies")
        handler.delete(inner, slot)

    def unwrap(self, reference: JSONValue, slot: Slot) -> Wrapped:
        """What the wrapped handler answered, and the key that its reference is sealed with."""
        project = Project.open()
        sealed, found = self._inner(reference, slot, project)
        return Wrapped(found.handler, found.reference, sealed_with(sealed))

    def _opened(self, reference: JSONValue, slot: Slot) -> tuple[ResultHandler, JSONValue]:
        project = Project.open()
        _, found = self._inner(reference, slot, project)
        own = self._handler
        if isinstance(own, ResultHandler) and own.id == found.handler and own.can_read(found.reference):
            return own, found.reference  # type: ignore[return-value]  # JSON, as it was decoded
        return project.reader(found.handler, found.reference), found.reference  # type: ignore[return-value]  # as above

    def _inner(self, reference: JSONValue, slot: Slot, project: Project) -> tuple[bytes, _Inner]:
        """What is sealed in *reference*, before and after it was opened."""
        if not isinstance(reference, Mapping) or not self.can_read(reference):
            raise DamagedError(f"a reference of the result handler {self.id!r}")
        try:
            sealed = base64.b64decode(str(reference["sealed"]), validate=True)
            return sealed, _decode(unpad(self._keys(project).open(sealed, _context(self.id, slot))))
        except (binascii.Error, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise SealError from None

    def _keys(self, project: Project) -> Keyring:
        return self._keyring or project.keyring


def _context(id_: str, slot: Slot) -> bytes:
    return bind("wrapped reference", id_, slot.run_id, slot.task, slot.map_index, slot.field)
