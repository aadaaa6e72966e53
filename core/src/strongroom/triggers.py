# SPDX-License-Identifier: Apache-2.0
"""Does the way its upstream tasks ended allow a task to run?

A trigger is a callable. It gets the upstream states by edge, once all of them are finished, and returns True or raises
a signal, which decides the task's state instead. A task without upstream tasks passes every trigger but `manual_only`.
Skipped counts as successful.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeVar

from strongroom.context import context
from strongroom.errors import DefinitionError
from strongroom.signals import PAUSE, SKIP, TRIGGERFAIL

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from strongroom.states import State

__all__ = [
    "all_failed",
    "all_finished",
    "all_successful",
    "always_run",
    "any_failed",
    "any_successful",
    "manual_only",
    "not_all_skipped",
    "some_failed",
    "some_successful",
]

# A Mapping is invariant in its keys: with `object` for them, nobody could pass a dict[Edge, State].
K = TypeVar("K")


def all_successful(upstream: Mapping[K, State]) -> bool:
    """Pass if every upstream task succeeded."""
    wrong = sum(not state.is_successful() for state in upstream.values())
    if wrong:
        raise TRIGGERFAIL(f'trigger "all_successful": {wrong} of {len(upstream)} upstream tasks did not succeed')
    return True


def all_failed(upstream: Mapping[K, State]) -> bool:
    """Pass if every upstream task failed; one whose own trigger failed did."""
    wrong = sum(not state.is_failed() for state in upstream.values())
    if wrong:
        raise TRIGGERFAIL(f'trigger "all_failed": {wrong} of {len(upstream)} upstream tasks did not fail')
    return True


def any_successful(upstream: Mapping[K, State]) -> bool:
    """Pass if at least one upstream task succeeded."""
    if upstream and not any(state.is_successful() for state in upstream.values()):
        raise TRIGGERFAIL(f'trigger "any_successful": 0 of {len(upstream)} upstream tasks succeeded')
    return True


def any_failed(upstream: Mapping[K, State]) -> bool:
    """Pass if at least one upstream task failed."""
    if upstream and not any(state.is_failed() for state in upstream.values()):
        raise TRIGGERFAIL(f'trigger "any_failed": 0 of {len(upstream)} upstream tasks failed')
    return True


def all_finished(upstream: Mapping[K, State]) -> bool:
    """Pass however the upstream tasks ended."""
    wrong = sum(not state.is_finished() for state in upstream.values())
    if wrong:
        raise TRIGGERFAIL(f'trigger "all_finished": {wrong} of {len(upstream)} upstream tasks are not finished')
    return True


always_run = all_finished


def manual_only(upstream: Mapping[K, State]) -> bool:  # noqa: ARG001  # every trigger is called with it
    """Pause, until somebody resumes the task: ``resume`` is then True in the context."""
    if context.get("resume") is not True:
        raise PAUSE('trigger "manual_only": the task waits until somebody resumes it')
    return True


def not_all_skipped(upstream: Mapping[K, State]) -> bool:
    """Pass if every upstream task succeeded and not all of them were skipped; if all were, skip this one, too."""
    if upstream and all(state.is_skipped() for state in upstream.values()):
        raise SKIP(f'trigger "not_all_skipped": all {len(upstream)} upstream tasks were skipped')
    wrong = sum(not state.is_successful() for state in upstream.values())
    if wrong:
        raise TRIGGERFAIL(f'trigger "not_all_skipped": {wrong} of {len(upstream)} upstream tasks did not succeed')
    return True


def some_successful(at_least: float | None = None, at_most: float | None = None) -> Callable[[Mapping[K, State]], bool]:
    """Make a trigger that passes if neither too few nor too many upstream tasks succeeded.

    Args:
        at_least: below 1 the smallest fraction of the upstream tasks, from 1 on the smallest number; None: no bound.
        at_most: the same for the largest. Note that 1.0 is the number one, not all of them.

    Raises:
        DefinitionError: a bound is neither a fraction nor a whole number, or no number is within both.
    """
    return _Some("successful", at_least, at_most)


def some_failed(at_least: float | None = None, at_most: float | None = None) -> Callable[[Mapping[K, State]], bool]:
    """Make a trigger that passes if neither too few nor too many upstream tasks failed; see `some_successful`."""
    return _Some("failed", at_least, at_most)


@dataclass(frozen=True, slots=True)
class _Some:
    """Passes if the number of upstream states of one kind is within bounds."""

    kind: Literal["successful", "failed"]
    at_least: float | None
    at_most: float | None

    def __post_init__(self) -> None:
        for bound in (self.at_least, self.at_most):
            if bound is not None and not _is_bound(bound):
                raise DefinitionError(
                    f"some_{self.kind}: a bound is a fraction below 1 or a whole number, not {bound!r}"
                )
        low, high = self.at_least, self.at_most
        # How a fraction and a number compare is known only when there are upstream tasks; nothing but 0 is both.
        if low is not None and high is not None and low > high and (high == 0 or (low < 1) == (high < 1)):
            raise DefinitionError(f"some_{self.kind}: at_least={low} is more than at_most={high}; nothing could pass")

    def __call__(self, upstream: Mapping[K, State]) -> bool:
        total = len(upstream)
        right = sum(map(self._counts, upstream.values()))
        if total and not self._allows(right, total):
            bounds = f"at_least={self.at_least}, at_most={self.at_most}"
            raise TRIGGERFAIL(
                f'trigger "some_{self.kind}": {right} of {total} upstream tasks {self.kind}, but {bounds}'
            )
        return True

    def _counts(self, state: State) -> bool:
        return state.is_successful() if self.kind == "successful" else state.is_failed()

    def _allows(self, right: int, total: int) -> bool:
        low, high = self.at_least, self.at_most
        return (low is None or low <= _in_unit_of(low, right, total)) and (
            high is None or _in_unit_of(high, right, total) <= high
        )


def _is_bound(bound: object) -> bool:
    if isinstance(bound, float):
        return 0 <= bound < 1 or (bound >= 1 and bound.is_integer())
    return isinstance(bound, int) and not isinstance(bound, bool) and bound >= 0


def _in_unit_of(bound: float, number: int, total: int) -> float:
    # Divided, not multiplied: 7 / 100 rounds to the very float that 0.07 is, while 0.07 * 100 is more than 7.
    return number / total if bound < 1 else number
