# SPDX-License-Identifier: Apache-2.0
"""What is the result of a task: a value, or a reference to where it is?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from strongroom.abc import SupportsDelete, SupportsExists
from strongroom.errors import HandlerError, NotSupportedError

if TYPE_CHECKING:
    from strongroom.abc import JSONValue, ResultHandler, Slot

__all__ = ["NoResult", "Result"]


class Result:
    """A value, or a reference to where it is, with the handler that turns one into the other. Immutable."""

    __slots__ = ("_value", "handler", "reference", "slot")

    _value: object
    handler: ResultHandler | None
    reference: JSONValue
    slot: Slot | None

    def __init__(self, value: object, handler: ResultHandler | None = None) -> None:
        _fill(self, value, handler, None, None)

    @classmethod
    def from_reference(cls, reference: JSONValue, handler: ResultHandler, slot: Slot, **known: object) -> Result:
        """The result that *reference* leads to, read when its value is asked for; ``value=`` saves that."""
        return _fill(object.__new__(cls), known.get("value", _ABSENT), handler, reference, slot)

    @property
    def serialized(self) -> bool:
        """True if a reference is held, so that the value survives this process."""
        return self.slot is not None

    @property
    def in_memory(self) -> bool:
        """True if the value is held, so that nothing has to be read."""
        return self._value is not _ABSENT

    @property
    def value(self) -> object:
        """The value; read through the handler, each time, if only a reference is held.

        Raises:
            HandlerError: it cannot be read.
        """
        return self._value if self._value is not _ABSENT else self._read()

    def serialize(self, slot: Slot) -> Result:
        """This result with a reference to its value; written by the handler unless it was before.

        Raises:
            HandlerError: there is no handler, or it cannot write the value.
        """
        if self.slot is not None:
            return self
        if self.handler is None:
            raise HandlerError("none", "write", LookupError())
        try:
            reference = self.handler.write(self._value, slot)
        except Exception as exc:  # a handler is a plugin: whatever it raises, the result was not kept
            raise HandlerError(self.handler.id, "write", exc) from exc
        return _fill(object.__new__(Result), self._value, self.handler, reference, slot)

    def deserialize(self) -> Result:
        """This result with its value in memory."""
        return self if self.in_memory else _fill(object.__new__(Result), self._read(), *self._rest())

    def forget_value(self) -> Result:
        """This result with only its reference, so that its memory can be used again."""
        return _fill(object.__new__(Result), _ABSENT, *self._rest()) if self.serialized else self

    def exists(self) -> bool:
        """True if the value can be had: it is in memory, or there is what the reference leads to. Nothing is read.

        Raises:
            NotSupportedError: the handler cannot tell.
            HandlerError: storage does not answer, or something else is there.
        """
        if self.in_memory:
            return True
        handler, reference, slot = self._kept("look for")
        if not isinstance(handler, SupportsExists):
            raise NotSupportedError(f"asking the handler {handler.id!r} whether a result is there", instead="read it")
        try:
            return handler.exists(reference, slot)
        except Exception as exc:  # a handler is a plugin: whatever it raises, it does not know
            raise HandlerError(handler.id, "look for", exc) from exc

    def delete(self) -> None:
        """Delete what the reference leads to, whether or not it is there; a value in memory stays.

        Raises:
            NotSupportedError: the handler cannot delete.
            HandlerError: it could not be deleted, or nothing was kept.
        """
        handler, reference, slot = self._kept("delete")
        if not isinstance(handler, SupportsDelete):
            raise NotSupportedError(f"deleting with the handler {handler.id!r}", instead="delete it where it lies")
        try:
            handler.delete(reference, slot)
        except Exception as exc:  # a handler is a plugin: whatever it raises, the result may still be there
            raise HandlerError(handler.id, "delete", exc) from exc

    def _kept(self, action: str) -> tuple[ResultHandler, JSONValue, Slot]:
        if self.handler is None or self.slot is None:
            raise HandlerError("none", action, LookupError())
        return self.handler, self.reference, self.slot

    def _rest(self) -> tuple[ResultHandler | None, JSONValue, Slot | None]:
        return self.handler, self.reference, self.slot

    def _read(self) -> object:
        handler, reference, slot = self._kept("read")
        try:
            return handler.read(reference, slot)
        except Exception as exc:  # a handler is a plugin: whatever it raises, the result was not read
            raise HandlerError(handler.id, "read", exc) from exc

    def __repr__(self) -> str:
        kept = f", kept by {self.handler.id!r}" if self.serialized and self.handler else ""
        return f"<Result: {'in memory' if self.in_memory else 'not in memory'}{kept}>"

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"results are immutable; {name!r} was not set")

    def __reduce__(self) -> tuple[object, ...]:
        value = self._value if self.in_memory else None
        return _rebuild, (self.in_memory, value, *self._rest())


_ABSENT = object()


def _fill(
    result: Result, value: object, handler: ResultHandler | None, reference: JSONValue, slot: Slot | None
) -> Result:
    fill = object.__setattr__
    fill(result, "_value", value)
    fill(result, "handler", handler)
    fill(result, "reference", reference)
    fill(result, "slot", slot)
    return result


def _rebuild(
    in_memory: object, value: object, handler: ResultHandler | None, reference: JSONValue, slot: Slot | None
) -> Result:
    return _fill(object.__new__(Result), value if in_memory else _ABSENT, handler, reference, slot)


class _NoResult(Result):
    """Nothing was returned yet; not the same as None."""

    __slots__ = ()

    @property
    def value(self) -> object:
        return self

    def serialize(self, slot: Slot) -> Result:  # noqa: ARG002  # nothing to keep
        return self

    def __bool__(self) -> bool:
        return False

    def __repr__(self) -> str:
        return "NoResult"

    def __reduce__(self) -> str:  # type: ignore[override]  # the name of the one there is
        return "NoResult"


NoResult = _NoResult(None)
"""Nothing was returned yet. Its value is itself, and it is false."""
