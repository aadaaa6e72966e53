# SPDX-License-Identifier: Apache-2.0
"""What of a task run happens in another process, and what comes back from there?

Only what has to: the inputs are read, the task is called, and its result is kept. All else, from the trigger to the
record, stays with the run, so that states and state handlers know nothing of processes, and no key travels.
"""

from __future__ import annotations

from concurrent.futures import CancelledError
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, cast

from strongroom._call import call
from strongroom._interrupts import RunEnds
from strongroom._logs import Said, collecting, level_here, pass_on
from strongroom._prints import call_logging_prints
from strongroom.context import context
from strongroom.errors import HandlerError, StrongroomError, TaskTimeoutError
from strongroom.results import Result

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Mapping
    from datetime import timedelta

    from strongroom.abc import Executor, JSONValue, ResultHandler, Slot

__all__ = ["Errand", "FailedErrandError", "send"]


class FailedErrandError(StrongroomError):
    """The task was not called, or not to its end, or what it returned was not kept: nothing that the task raised."""

    def __init__(self, message: str, error: BaseException) -> None:
        super().__init__(message)
        self.error = error


@dataclass(frozen=True, slots=True)
class _Outcome:
    value: object = None
    """None if it was left there."""
    reference: JSONValue = None
    is_kept: bool = False
    error: BaseException | None = None
    problem: str | None = None
    """Why *error* is none that the task raised."""
    said: tuple[Said, ...] = ()
    """What the task logged."""


@dataclass(frozen=True, slots=True)
class Errand:
    """One call of a task, with all that it needs.

    Attributes:
        unread: inputs that are read where the task runs.
        handler: what keeps the result there; None leaves that to the run.
        forgets: True if only the reference is to come back.
        log_stdout: True if what the task prints is to be logged.
        log_level: from which level on somebody listens to what it logs.
    """

    function: Callable[..., object]
    inputs: Mapping[str, object]
    unread: Mapping[str, Result]
    timeout: timedelta | None
    keys: Mapping[str, object]
    handler: ResultHandler | None
    slot: Slot
    forgets: bool
    log_stdout: bool
    log_level: int = field(default_factory=level_here)

    def run(self) -> _Outcome:
        """Do it. What the task raises is in the outcome.

        Raises:
            TaskTimeoutError: it took too long, and a thread of this process goes on with it.
        """
        parameters = cast("Mapping[str, object]", self.keys["parameters"])
        keys = {**self.keys, "parameters": MappingProxyType(dict(parameters))}
        with context.use(keys), collecting(self.log_level) as said:
            outcome = self._do()
        return replace(outcome, said=tuple(said)) if said else outcome

    def _do(self) -> _Outcome:
        try:
            inputs = {**self.inputs, **{key: result.value for key, result in self.unread.items()}}
        except HandlerError as exc:
            return _Outcome(error=exc, problem=f"an input could not be read: {exc}")
        try:
            make = call_logging_prints if self.log_stdout else call
            value = make(self.function, inputs, self.timeout)
        except TaskTimeoutError as exc:
            if exc.goes_on:
                raise
            return _Outcome(error=exc)
        except BaseException as exc:  # the user's code: what it raises is raised again where the run is
            return _Outcome(error=exc)
        return self._keep(value)

    def _keep(self, value: object) -> _Outcome:
        if self.handler is None:
            return _Outcome(value)
        try:
            reference = Result(value, self.handler).serialize(self.slot).reference
        except HandlerError as exc:
            return _Outcome(error=exc, problem=str(exc))
        return _Outcome(None if self.forgets else value, reference, is_kept=True)


def send(errand: Errand, executor: Executor, stopping: threading.Event) -> Result:
    """What the task returns, serialized if it was kept over there; raises what the task raises.

    Raises:
        FailedErrandError: it was not the task that failed.
        TaskTimeoutError: the task took too long.
        RunEnds: the executor was told to stop.
    """
    try:
        outcome = executor.submit(errand.run).result()
    except TaskTimeoutError:
        raise
    except CancelledError as exc:
        raise RunEnds from exc
    except Exception as exc:  # an executor is a plugin
        if stopping.is_set():
            # It may be closed, and takes nothing any more. That is no failure of the task.
            raise RunEnds from exc
        message = str(exc) if isinstance(exc, StrongroomError) else f"{type(exc).__name__} in the executor"
        raise FailedErrandError(message, exc) from exc
    assert isinstance(outcome, _Outcome)  # noqa: S101  # what Errand.run returns
    pass_on(outcome.said)
    if outcome.problem is not None:
        assert outcome.error is not None  # noqa: S101  # the problem's
        raise FailedErrandError(outcome.problem, outcome.error)
    if outcome.error is not None:
        raise outcome.error
    if not outcome.is_kept or errand.handler is None:
        return Result(outcome.value)
    known = {} if errand.forgets else {"value": outcome.value}
    return Result.from_reference(outcome.reference, errand.handler, errand.slot, **known)
