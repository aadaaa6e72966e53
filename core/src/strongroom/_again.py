# SPDX-License-Identifier: Apache-2.0
"""What does a task take with it that will be run again?"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from strongroom._handlers import JSONHandler
from strongroom._result import NoResult, Result
from strongroom.states import MetaState, Paused, Resume, State

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta

    from strongroom._graph import Edge
    from strongroom._run import Run
    from strongroom._task import Task

__all__ = ["Round", "is_resumption", "keep_inputs", "later", "unwrapped"]

# No input has such a name.
_COUNT: Final = "loop count"
_RESULT: Final = "loop result"


class Round:
    """Which round of a looping task is run, and what the round before gave."""

    __slots__ = ("_task", "count", "result")

    def __init__(self, task: Task) -> None:
        self._task = task
        self.count = 1
        self.result: Result | None = None

    def restore(self, inputs: Mapping[str, Result]) -> None:
        """Go on with the round that *inputs* were kept for.

        Raises:
            HandlerError: what the round before gave cannot be read.
        """
        count = inputs[_COUNT].value if _COUNT in inputs else 1
        assert isinstance(count, int)  # noqa: S101  # what `keep` has written
        self.count = count
        self.result = inputs[_RESULT].deserialize() if _RESULT in inputs else None

    def next(self, result: Result) -> None:
        """Begin another one, after one that gave *result*."""
        self.count += 1
        self.result = result

    def context(self) -> dict[str, object]:
        """The context's keys for this round."""
        # As a task gets None for an input that is NoResult.
        value = None if self.result is None else self.result.value
        return {"loop_count": self.count, "loop_result": None if value is NoResult else value}

    def keep(self, run: Run, map_index: int) -> dict[str, Result]:
        """References to what `restore` needs; nothing in the first round.

        Raises:
            HandlerError: the result of the round before cannot be kept.
        """
        if self.result is None:
            return {}
        task = self._task
        count = Result(self.count, JSONHandler()).serialize(run.slot(task, map_index, f"input {_COUNT}"))
        result = self.result
        if result is not NoResult and not result.serialized:
            result = Result(result.value, run.handler(task)).serialize(run.slot(task, map_index, f"input {_RESULT}"))
        return {_COUNT: count, _RESULT: result}


def keep_inputs(
    task: Task, run: Run, map_index: int, upstream: Mapping[Edge, State], known: Mapping[str, Result]
) -> dict[str, Result]:
    """References to the inputs of *task* by name; those in *known* are kept already.

    Raises:
        HandlerError: one cannot be kept.
    """
    kept = {}
    for edge, state in upstream.items():
        if edge.key is not None and state.is_successful():
            # An element of a list is kept as what it is: an input of this child.
            owner, field = (task, f"input {edge.key}") if edge.mapped else (edge.upstream, "result")
            slot = run.slot(owner, map_index if edge.mapped else -1, field)
            kept[edge.key] = known.get(edge.key) or state._result.serialize(slot)  # noqa: SLF001
    return kept


def is_resumption(state: State) -> bool:
    """True if a task that goes on from *state* had been paused: its time has come, or somebody resumed it."""
    return isinstance(state, (Resume, Paused))


def later(now: datetime, delay: timedelta) -> datetime:
    """*now* and *delay*, but no later than there are times."""
    try:
        return now + delay
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC)


def unwrapped(state: State) -> State:
    """What *state* stands in front of, with the inputs that were kept meanwhile; most stand in front of nothing."""
    while isinstance(state, MetaState):
        state = state.state.replace(cached_inputs={**state.state.cached_inputs, **state.cached_inputs})
    return state
