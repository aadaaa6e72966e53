# SPDX-License-Identifier: Apache-2.0
"""What do Python's operators mean for a task of a flow that is being built?"""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, NoReturn

from strongroom.errors import DefinitionError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from strongroom._task import Task

__all__ = ["Operators"]


class Operators:
    """Each operator adds a task that applies it to the results; the other operand may be a value.

    ``==`` and ``!=`` tell tasks apart, since tasks are keys of mappings: for their results there are `is_equal` and
    `is_not_equal`. Python lets nobody redefine ``and``, ``or`` and ``not``: for these there are `and_`, `or_` and
    `not_`. Whatever would need the result at once, such as ``if``, is refused.
    """

    # An array on the left would otherwise take a task on the right for one of its elements.
    __array_ufunc__ = None

    name: str

    def is_equal(self, other: object) -> Task:
        """Add a task for ``self == other``."""
        return _apply(operator.eq, self, other)

    def is_not_equal(self, other: object) -> Task:
        """Add a task for ``self != other``."""
        return _apply(operator.ne, self, other)

    def and_(self, other: object) -> Task:
        """Add a task for ``self and other``; both are computed."""
        return _apply(_and, self, other)

    def or_(self, other: object) -> Task:
        """Add a task for ``self or other``; both are computed."""
        return _apply(_or, self, other)

    def not_(self) -> Task:
        """Add a task for ``not self``."""
        return _apply(operator.not_, self)

    def __lt__(self, other: object) -> Task:
        return _apply(operator.lt, self, other)

    def __le__(self, other: object) -> Task:
        return _apply(operator.le, self, other)

    def __gt__(self, other: object) -> Task:
        return _apply(operator.gt, self, other)

    def __ge__(self, other: object) -> Task:
        return _apply(operator.ge, self, other)

    def __add__(self, other: object) -> Task:
        return _apply(operator.add, self, other)

    def __radd__(self, other: object) -> Task:
        return _apply(operator.add, other, self)

    def __sub__(self, other: object) -> Task:
        return _apply(operator.sub, self, other)

    def __rsub__(self, other: object) -> Task:
        return _apply(operator.sub, other, self)

    def __mul__(self, other: object) -> Task:
        return _apply(operator.mul, self, other)

    def __rmul__(self, other: object) -> Task:
        return _apply(operator.mul, other, self)

    def __matmul__(self, other: object) -> Task:
        return _apply(operator.matmul, self, other)

    def __rmatmul__(self, other: object) -> Task:
        return _apply(operator.matmul, other, self)

    def __truediv__(self, other: object) -> Task:
        return _apply(operator.truediv, self, other)

    def __rtruediv__(self, other: object) -> Task:
        return _apply(operator.truediv, other, self)

    def __floordiv__(self, other: object) -> Task:
        return _apply(operator.floordiv, self, other)

    def __rfloordiv__(self, other: object) -> Task:
        return _apply(operator.floordiv, other, self)

    def __mod__(self, other: object) -> Task:
        return _apply(operator.mod, self, other)

    def __rmod__(self, other: object) -> Task:
        return _apply(operator.mod, other, self)

    def __pow__(self, other: object) -> Task:
        return _apply(operator.pow, self, other)

    def __rpow__(self, other: object) -> Task:
        return _apply(operator.pow, other, self)

    def __and__(self, other: object) -> Task:
        return _apply(operator.and_, self, other)

    def __rand__(self, other: object) -> Task:
        return _apply(operator.and_, other, self)

    def __or__(self, other: object) -> Task:
        return _apply(operator.or_, self, other)

    def __ror__(self, other: object) -> Task:
        return _apply(operator.or_, other, self)

    def __xor__(self, other: object) -> Task:
        return _apply(operator.xor, self, other)

    def __rxor__(self, other: object) -> Task:
        return _apply(operator.xor, other, self)

    def __neg__(self) -> Task:
        return _apply(operator.neg, self)

    def __pos__(self) -> Task:
        return _apply(operator.pos, self)

    def __abs__(self) -> Task:
        return _apply(operator.abs, self)

    def __invert__(self) -> Task:
        return _apply(operator.invert, self)

    def __getitem__(self, key: object) -> Task:
        return _apply(operator.getitem, self, key)

    def __iter__(self) -> Iterator[Task]:
        from strongroom._inputs import unpack

        return unpack(self)  # type: ignore[arg-type]  # only tasks have operators

    def __contains__(self, item: object) -> NoReturn:
        raise DefinitionError(f"what is in the result of {self.name!r} is known when the flow is run; ask in a task")

    def __bool__(self) -> NoReturn:
        raise DefinitionError(
            f"whether the result of {self.name!r} is true is known when the flow is run; instead of `if` use "
            f"`with case(..., True):`, instead of `and`, `or`, `not` and `a < b < c` use and_, or_ and not_"
        )


def _apply(function: Callable[..., object], *operands: object) -> Task:
    # An operation is a task itself, so that its module knows this one.
    from strongroom._inputs import operate

    return operate(function, *operands)


def _and(x: object, y: object) -> object:
    return x and y


def _or(x: object, y: object) -> object:
    return x or y
