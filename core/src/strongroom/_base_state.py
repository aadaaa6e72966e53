# SPDX-License-Identifier: Apache-2.0
"""How does a state hold what it knows, so that it cannot change, can be compared and can travel?"""

from __future__ import annotations

from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar, TypedDict

from strongroom.errors import DefinitionError
from strongroom.results import NoResult, Result

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Never, NoReturn, Self

__all__ = ["BaseState", "Rest", "put", "put_count", "put_mapping", "put_time"]

# Most states have neither context nor cached inputs, and three states are made for every task: they share this one.
_EMPTY: Mapping[str, Never] = MappingProxyType({})

# A state refuses assignment, by its own constructor too.
put = object.__setattr__


class Rest(TypedDict, total=False):
    """What every state takes besides its message, its result and its own fields."""

    context: Mapping[str, object] | None
    cached_inputs: Mapping[str, Result] | None


class BaseState:
    """What `State` is apart from its types: see there for what a caller may rely on."""

    __slots__ = ("_result", "cached_inputs", "context", "message")

    _fields: ClassVar[tuple[str, ...]] = ()
    """The attributes that this type has and `State` has not; also the names of the constructor's arguments for them."""

    message: str | None
    context: Mapping[str, object]
    cached_inputs: Mapping[str, Result]
    _result: Result

    def __init__(
        self,
        message: str | None = None,
        result: object = NoResult,
        *,
        context: Mapping[str, object] | None = None,
        cached_inputs: Mapping[str, Result] | None = None,
    ) -> None:
        put(self, "message", message if message is None else str(message))
        put(self, "_result", result if isinstance(result, Result) else Result(result))
        put(self, "context", MappingProxyType(dict(context)) if context else _EMPTY)
        put(self, "cached_inputs", MappingProxyType(dict(cached_inputs)) if cached_inputs else _EMPTY)

    @property
    def result(self) -> object:
        """The value, read through its handler if only a reference is at hand; `NoResult` if there is none yet."""
        return self._result.value

    def extras(self) -> dict[str, object]:
        """The attributes that only this type has.

        ``type(state)(message=..., result=..., cached_inputs=..., **state.extras())`` is a state equal to this one.
        """
        return {name: getattr(self, name) for name in self._fields}

    def replace(self, **changes: object) -> Self:
        """A copy that differs in the named arguments of the constructor; the result is not read for that."""
        make: Callable[..., Self] = type(self)
        return make(**{**self._arguments(), **changes})

    def _arguments(self) -> dict[str, object]:
        return {
            "message": self.message,
            "result": self._result,
            "context": self.context,
            "cached_inputs": self.cached_inputs,
            **self.extras(),
        }

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, BaseState) or type(other) is not type(self):
            return NotImplemented
        # Results come last: they are the only part that may have to be read from somewhere.
        return (
            all(_same(getattr(self, name), getattr(other, name)) for name in self._fields)
            and self.cached_inputs.keys() == other.cached_inputs.keys()
            and all(_same_result(mine, other.cached_inputs[name]) for name, mine in self.cached_inputs.items())
            and _same_result(self._result, other._result)
        )

    # Results, which decide about equality, need not be hashable.
    __hash__ = None  # type: ignore[assignment]  # how Python spells it

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"states are immutable; make a new one: state.replace({name.lstrip('_')}=...)")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError("states are immutable; nothing can be deleted from one")

    def __reduce__(self) -> tuple[object, ...]:
        # Read-only views cannot be pickled; the constructor makes new ones.
        plain = {
            name: dict(value) if isinstance(value, MappingProxyType) else value
            for name, value in self._arguments().items()
        }
        return _rebuild, (type(self), plain)

    def __repr__(self) -> str:
        # The result's value is left out: a repr ends up in logs.
        name = type(self).__name__
        return f'<{name}: "{self.message}">' if self.message else f"<{name}>"


def _rebuild(kind: Callable[..., BaseState], arguments: Mapping[str, object]) -> BaseState:
    return kind(**arguments)


def put_mapping(state: BaseState, name: str, mapping: Mapping[str, object] | None) -> None:
    """Set *name* to a read-only copy: the caller's own mapping may change later."""
    put(state, name, MappingProxyType(dict(mapping)) if mapping else _EMPTY)


def put_time(state: BaseState, name: str, time: object) -> None:
    """Set *name* to None or to *time* in UTC, so that times compare by instant whatever zones they were given in."""
    if time is not None and (not isinstance(time, datetime) or time.utcoffset() is None):
        kind = type(state).__name__
        raise DefinitionError(f"{kind} needs a {name} that knows its time zone, such as datetime.now(timezone.utc)")
    put(state, name, None if time is None else time.astimezone(UTC))


def put_count(state: BaseState, name: str, number: object) -> None:
    """Set *name* to *number*, if that can answer "how many?"."""
    if not isinstance(number, int) or isinstance(number, bool) or number < 0:
        raise DefinitionError(f"{type(state).__name__} needs a {name} that is a whole number from 0 on")
    put(state, name, number)


def _same_result(left: Result, right: Result) -> bool:
    """True if both have the same value; two references to one place are not read to find that out."""
    if left is right:
        return True
    if left.slot is not None and (left.slot, left.reference) == (right.slot, right.reference):
        return _same(left.handler, right.handler) or _same(left.value, right.value)
    return _same(left.value, right.value)


def _same(left: object, right: object) -> bool:
    """True if the two are surely equal, whatever they understand by ``==``."""
    if left is right:
        return True
    try:
        answer: object = left == right
        if isinstance(answer, bool):
            return answer
        # A numeric library's single boolean is an answer; an element-wise one does not speak for the whole.
        return getattr(answer, "shape", None) == () and bool(answer)
    except Exception:  # the user's own code; containers of arrays raise, too
        return False
