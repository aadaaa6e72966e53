# SPDX-License-Identifier: Apache-2.0
"""Which states can a task or a flow be in, and what does each of them know?

State                message, result, context, cached_inputs
├─ Pending
│  ├─ Scheduled      start_time
│  │  ├─ Resume
│  │  └─ Retrying    run_count
│  └─ Paused         start_time, or None
├─ MetaState         state: the one that it stands in front of
│  ├─ Submitted, ClientFailed
│  └─ Queued         start_time
├─ Running
│  └─ Cancelling
└─ Finished
   ├─ Success
   │  ├─ Cached      cached_parameters, cached_result_expiration, fingerprints
   │  ├─ Mapped      map_states, n_map_states
   │  └─ Skipped
   ├─ Failed
   │  └─ TimedOut, TriggerFailed, ValidationFailed
   ├─ Looped         loop_count
   └─ Cancelled
"""

from __future__ import annotations

from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar

from strongroom._base_state import BaseState, put, put_count, put_mapping, put_time
from strongroom.results import NoResult

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Unpack

    from strongroom._base_state import Rest

__all__ = [
    "STATE_TYPES",
    "Cached",
    "Cancelled",
    "Cancelling",
    "ClientFailed",
    "Failed",
    "Finished",
    "Looped",
    "Mapped",
    "MetaState",
    "Paused",
    "Pending",
    "Queued",
    "Resume",
    "Retrying",
    "Running",
    "Scheduled",
    "Skipped",
    "State",
    "Submitted",
    "Success",
    "TimedOut",
    "TriggerFailed",
    "ValidationFailed",
]


class State(BaseState):
    """What is known about a task or a flow at one moment.

    States are immutable: `replace` makes a changed copy. Two are equal if they have the same type, the same result
    value and the same attributes except `message` and `context`; to find out, results may be read through their
    handlers. Values that compare element by element, such as arrays, are equal only to themselves. Results need not be
    hashable, so states are not. A state can be pickled if what it holds can.

    Args:
        message: what happened, for people.
        result: a value, or a `Result`; `NoResult` if nothing was returned yet.
        context: what else the engine noted, such as tags.
        cached_inputs: the inputs that the task will be run with when it is run again.
    """

    __slots__ = ()

    def is_pending(self) -> bool:
        """True if it waits to be run: scheduled, paused and retrying states are pending."""
        return isinstance(self, Pending)

    def is_scheduled(self) -> bool:
        """True if it waits for a time; retrying states are scheduled."""
        return isinstance(self, Scheduled)

    def is_retrying(self) -> bool:
        """True if it failed and will be run again."""
        return isinstance(self, Retrying)

    def is_meta_state(self) -> bool:
        """True if it stands in front of another state."""
        return isinstance(self, MetaState)

    def is_submitted(self) -> bool:
        """True if it was handed to an executor."""
        return isinstance(self, Submitted)

    def is_queued(self) -> bool:
        """True if it waits for its turn under a concurrency limit."""
        return isinstance(self, Queued)

    def is_running(self) -> bool:
        """True if it is being run; one that is being cancelled still is."""
        return isinstance(self, Running)

    def is_finished(self) -> bool:
        """True if it will not be run again."""
        return isinstance(self, Finished)

    def is_successful(self) -> bool:
        """True if it finished well; cached, mapped and skipped states are successful."""
        return isinstance(self, Success)

    def is_cached(self) -> bool:
        """True if it has the result of an earlier run."""
        return isinstance(self, Cached)

    def is_mapped(self) -> bool:
        """True if it was run once for each element of its inputs."""
        return isinstance(self, Mapped)

    def is_skipped(self) -> bool:
        """True if it was not run because it did not have to be."""
        return isinstance(self, Skipped)

    def is_failed(self) -> bool:
        """True if it finished badly: its own failure, a timeout, its trigger's or a validation's."""
        return isinstance(self, Failed)

    def is_looped(self) -> bool:
        """True if it asked to be run once more with its own result."""
        return isinstance(self, Looped)


class Pending(State):
    """It waits to be run."""

    __slots__ = ()


class Scheduled(Pending):
    """It waits for a time; now, unless *start_time* is given."""

    __slots__ = ("start_time",)
    _fields: ClassVar[tuple[str, ...]] = ("start_time",)

    start_time: datetime
    """When it may be run, in UTC; any time with a time zone can be given."""

    def __init__(
        self,
        message: str | None = None,
        result: object = NoResult,
        *,
        start_time: datetime | None = None,
        **rest: Unpack[Rest],
    ) -> None:
        super().__init__(message, result, **rest)
        put_time(self, "start_time", datetime.now(UTC) if start_time is None else start_time)


class Resume(Scheduled):
    """It was paused, and somebody let it go on."""

    __slots__ = ()


class Retrying(Scheduled):
    """It failed and will be run again."""

    __slots__ = ("run_count",)
    _fields = ("start_time", "run_count")

    run_count: int
    """How often it was run until now."""

    def __init__(
        self,
        message: str | None = None,
        result: object = NoResult,
        *,
        start_time: datetime | None = None,
        run_count: int = 1,
        **rest: Unpack[Rest],
    ) -> None:
        super().__init__(message, result, start_time=start_time, **rest)
        put_count(self, "run_count", run_count)


class Paused(Pending):
    """It waits until *start_time*, or until somebody resumes it."""

    __slots__ = _fields = ("start_time",)

    start_time: datetime | None
    """When it goes on by itself, in UTC; None: not before somebody resumes it."""

    def __init__(
        self,
        message: str | None = None,
        result: object = NoResult,
        *,
        start_time: datetime | None = None,
        **rest: Unpack[Rest],
    ) -> None:
        super().__init__(message, result, **rest)
        put_time(self, "start_time", start_time)


class MetaState(State):
    """It stands in front of another state, which is the one that counts; a new `Pending` unless *state* is given."""

    __slots__ = ("state",)
    _fields: ClassVar[tuple[str, ...]] = ("state",)

    state: State
    """The state that the task goes on from."""

    def __init__(
        self, message: str | None = None, result: object = NoResult, *, state: State | None = None, **rest: Unpack[Rest]
    ) -> None:
        super().__init__(message, result, **rest)
        put(self, "state", Pending() if state is None else state)


class Submitted(MetaState):
    """It was handed to an executor, which has not started it. The engine makes none: until then it is Pending."""

    __slots__ = ()


class Queued(MetaState):
    """It waits for its turn under a concurrency limit, and asks again at *start_time*; now, unless it is given."""

    __slots__ = ("start_time",)
    _fields = ("state", "start_time")

    start_time: datetime
    """When it may ask again, in UTC."""

    def __init__(
        self,
        message: str | None = None,
        result: object = NoResult,
        *,
        state: State | None = None,
        start_time: datetime | None = None,
        **rest: Unpack[Rest],
    ) -> None:
        super().__init__(message, result, state=state, **rest)
        put_time(self, "start_time", datetime.now(UTC) if start_time is None else start_time)


class ClientFailed(MetaState):
    """Its state could not be recorded. The engine makes none: a record is delayed, and what may not leave is Failed."""

    __slots__ = ()


class Running(State):
    """It is being run."""

    __slots__ = ()


class Cancelling(Running):
    """The run was told to stop, and what runs comes to its end."""

    __slots__ = ()


class Finished(State):
    """It will not be run again."""

    __slots__ = ()


class Success(Finished):
    """It did what it should."""

    __slots__ = ()


class Cached(Success):
    """It has the result of an earlier run."""

    __slots__ = _fields = ("cached_parameters", "cached_result_expiration", "fingerprints")

    cached_parameters: Mapping[str, object]
    """The flow's parameters in the run that computed the result."""
    cached_result_expiration: datetime | None
    """Until when the result may be used, in UTC; None: for ever."""
    fingerprints: Mapping[str, str]
    """The fingerprints of the inputs that the result was computed from, by name."""

    def __init__(
        self,
        message: str | None = None,
        result: object = NoResult,
        *,
        cached_parameters: Mapping[str, object] | None = None,
        cached_result_expiration: datetime | None = None,
        fingerprints: Mapping[str, str] | None = None,
        **rest: Unpack[Rest],
    ) -> None:
        super().__init__(message, result, **rest)
        put_mapping(self, "cached_parameters", cached_parameters)
        put_time(self, "cached_result_expiration", cached_result_expiration)
        put_mapping(self, "fingerprints", fingerprints)


class Mapped(Success):
    """It was run once for each element of its inputs."""

    __slots__ = _fields = ("map_states", "n_map_states")

    map_states: tuple[State, ...]
    """The states of its children by map index, as far as they are at hand."""
    n_map_states: int
    """How many children there are; as many as *map_states*, unless it is given."""

    def __init__(
        self,
        message: str | None = None,
        result: object = NoResult,
        *,
        map_states: Iterable[State] = (),
        n_map_states: int | None = None,
        **rest: Unpack[Rest],
    ) -> None:
        super().__init__(message, result, **rest)
        put(self, "map_states", tuple(map_states))
        put_count(self, "n_map_states", len(self.map_states) if n_map_states is None else n_map_states)


class Skipped(Success):
    """It did not have to be run; downstream this counts as success."""

    __slots__ = ()


class Failed(Finished):
    """It did not do what it should; its result is the exception, if there was one."""

    __slots__ = ()


class TimedOut(Failed):
    """It took longer than it may."""

    __slots__ = ()


class TriggerFailed(Failed):
    """Its trigger did not let it run."""

    __slots__ = ()


class ValidationFailed(Failed):
    """Its result was not what it should be."""

    __slots__ = ()


class Looped(Finished):
    """It asked to be run once more, with its own result."""

    __slots__ = _fields = ("loop_count",)

    loop_count: int
    """Which round this was, from 1."""

    def __init__(
        self, message: str | None = None, result: object = NoResult, *, loop_count: int = 1, **rest: Unpack[Rest]
    ) -> None:
        super().__init__(message, result, **rest)
        put_count(self, "loop_count", loop_count)


class Cancelled(Finished):
    """Somebody stopped it."""

    __slots__ = ()


_TYPES = (
    *(State, Pending, Scheduled, Resume, Retrying, Paused, Submitted, Queued, ClientFailed, Running, Cancelling),
    *(Finished, Success, Cached, Mapped, Skipped, Failed, TimedOut, TriggerFailed, ValidationFailed, Looped, Cancelled),
)
STATE_TYPES: Mapping[str, type[State]] = MappingProxyType({kind.__name__: kind for kind in _TYPES})
"""The types that a document may name. It is closed: a name that is not here is refused, never imported."""
