# SPDX-License-Identifier: Apache-2.0
"""How does code inside of a task, a trigger or a state handler say which state comes next?

By raising a signal. A signal is no error: ``except StrongroomError`` does not catch it. ``except Exception`` does, so a
task that catches everything should let a `Signal` pass.

Signal
├─ FAIL                Failed; it is subject to ordinary retries
│  ├─ TRIGGERFAIL      TriggerFailed
│  └─ VALIDATIONFAIL   ValidationFailed
├─ SUCCESS             Success
│  └─ SKIP             Skipped
├─ RETRY               Retrying (start_time)
├─ PAUSE               Paused (start_time)
├─ LOOP                Looped (loop_count)
└─ CANCEL              Cancelled
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar

from strongroom.errors import DefinitionError
from strongroom.results import NoResult
from strongroom.states import (
    Cancelled,
    Failed,
    Looped,
    Paused,
    Retrying,
    Skipped,
    State,
    Success,
    TriggerFailed,
    ValidationFailed,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = [
    "CANCEL",
    "FAIL",
    "LOOP",
    "PAUSE",
    "RETRY",
    "SKIP",
    "SUCCESS",
    "TRIGGERFAIL",
    "VALIDATIONFAIL",
    "Signal",
    "signal_from_state",
]


class Signal(Exception):
    """Stops what is running and puts its `state` in place. Signals can be pickled together with their states.

    Args:
        message: the state's message.
        result: the state's result. A failure without one has the signal itself, so that whatever comes downstream can
            look at it like at any other exception; other states have `NoResult`.
        attributes: what else the type of state takes, such as ``start_time``.
    """

    state_class: ClassVar[type[State]] = State
    """The type of state that this signal stands for."""

    state: State
    """The state that comes next."""

    def __init__(self, message: str | None = None, *, result: object = NoResult, **attributes: object) -> None:
        # Without a message there are no arguments: str(signal) is then "", as it is for other exceptions.
        super().__init__(*(() if message is None else (message,)))
        if result is NoResult and issubclass(self.state_class, Failed):
            result = self
        make: Callable[..., State] = self.state_class
        self.state = make(message, result, **attributes)


class FAIL(Signal):
    """The task failed."""

    state_class = Failed


class TRIGGERFAIL(FAIL):
    """The trigger does not let the task run."""

    state_class = TriggerFailed


class VALIDATIONFAIL(FAIL):
    """The result is not what it should be."""

    state_class = ValidationFailed


class SUCCESS(Signal):
    """The task is done, with *result*."""

    state_class = Success


class SKIP(SUCCESS):
    """The task does not have to run; neither have those downstream of it, unless they say otherwise."""

    state_class = Skipped


class RETRY(Signal):
    """Run the task again at ``start_time`` (default: now), with the same inputs, whatever its ``max_retries``."""

    state_class = Retrying


class PAUSE(Signal):
    """Let the task wait until ``start_time``, or, without one, until somebody resumes it."""

    state_class = Paused


class LOOP(Signal):
    """This round of the task is done, with *result*: run it once more."""

    state_class = Looped


class CANCEL(Signal):
    """Stop the task for good."""

    state_class = Cancelled


_BY_STATE: Mapping[type[State], type[Signal]] = MappingProxyType(
    {kind.state_class: kind for kind in (FAIL, TRIGGERFAIL, VALIDATIONFAIL, SUCCESS, SKIP, RETRY, PAUSE, LOOP, CANCEL)}
)


def signal_from_state(state: State) -> Signal:
    """The signal that puts exactly *state* in place when it is raised.

    Raises:
        DefinitionError: no signal stands for such a state; a task cannot become `Running` by raising.
    """
    for kind in type(state).__mro__:
        if kind in _BY_STATE:
            signal = _BY_STATE[kind](state.message)
            signal.state = state
            return signal
    raise DefinitionError(
        f"no signal stands for the state {type(state).__name__}; only states that end or delay a task"
    )
