# SPDX-License-Identifier: Apache-2.0
"""What is the result of a task: a value, or a reference to where it is?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from strongroom.errors import HandlerError

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

    def _rest(self) -> tuple[ResultHandler | None, JSONValue, Slot | None]:
        return self.handler, self.reference, self.slot

    def _read(self) -> object:
        assert self.handler is not None  # noqa: S101  # from_reference made sure of it
        assert self.slot is not None  # noqa: S101
        try:
            return self.handler.read(self.reference, self.slot)
        except Exception as exc:  # a handler is a plugin: whatever it raises, the result was not read
            raise HandlerError(self.handler.id, "read", exc) from exc

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
