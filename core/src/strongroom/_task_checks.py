# SPDX-License-Identifier: Apache-2.0
"""Can a task have this argument? Each check returns what the task will hold, or says what is wrong."""

from __future__ import annotations

import difflib
import inspect
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from strongroom.errors import DefinitionError, NotSupportedError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from strongroom.states import State

__all__ = [
    "check_arguments",
    "check_callable",
    "check_delay",
    "check_duration",
    "check_exception_types",
    "check_handlers",
    "check_name",
    "check_retries",
    "check_signature",
    "check_tags",
    "one_of",
    "required_inputs",
]

F = TypeVar("F")

# What `task(...)` in a flow takes for itself, so that `run` cannot have inputs of these names.
_RESERVED = frozenset({"upstream_tasks", "task_args", "flow", "mapped"})
_LATER = frozenset({"cache_policy", "log_stdout", "nout", "retry_jitter", "timeout"})


def check_arguments(unknown: Mapping[str, object], known: Collection[str]) -> None:
    """Complain about the first of the *unknown* arguments."""
    for key in unknown:
        if key in _LATER:
            raise NotSupportedError(f"the task argument {key!r}")
        near = difflib.get_close_matches(key, known, n=1)
        raise DefinitionError(f"a task has no argument {key!r}" + (f"; did you mean {near[0]!r}?" if near else ""))


def check_name(name: object) -> str:
    """A text that can be a column, a key of a mapping and a word on a line."""
    if not isinstance(name, str) or not name or not name.isprintable() or len(name) > 200:  # noqa: PLR2004
        raise DefinitionError("a task's name is a text of 1 to 200 printable characters")
    return name


def check_tags(tags: Iterable[object]) -> frozenset[str]:
    """Words; one text alone is not taken for its letters."""
    found = frozenset(tag for tag in tags if isinstance(tag, str))
    if isinstance(tags, str) or len(found) != len(set(tags)):
        raise DefinitionError("tags are several texts, such as tags=['nightly']")
    return found


def check_retries(task: str, count: object) -> int:
    """A whole number from 0."""
    if not isinstance(count, int) or isinstance(count, bool) or count < 0:
        raise DefinitionError(f"max_retries of the task {task!r} must be a whole number from 0")
    return count


def check_delay(task: str, delay: object) -> timedelta:
    """A timedelta, from a number of seconds too."""
    if delay is None:
        return timedelta(0)
    if isinstance(delay, (list, tuple)) or callable(delay):
        raise NotSupportedError(f"a list or function as retry_delay of the task {task!r}", instead="give one timedelta")
    if isinstance(delay, (int, float)) and not isinstance(delay, bool):
        delay = timedelta(seconds=delay)
    return check_duration(task, "retry_delay", delay) or timedelta(0)


def check_duration(task: str, argument: str, duration: object) -> timedelta | None:
    """A timedelta that does not reach back, or None."""
    if duration is None:
        return None
    if not isinstance(duration, timedelta) or duration < timedelta(0):
        raise DefinitionError(f"{argument} of the task {task!r} must be a timedelta that is not negative")
    return duration


def check_exception_types(
    task: str, types: type[BaseException] | Collection[type[BaseException]] | None
) -> tuple[type[BaseException], ...]:
    """A tuple of exception types, as `isinstance` takes it."""
    if types is None:
        return (BaseException,)
    found: tuple[object, ...] = (types,) if isinstance(types, type) else tuple(types)
    exceptions = tuple(kind for kind in found if isinstance(kind, type) and issubclass(kind, BaseException))
    if exceptions != found:
        raise DefinitionError(f"retry_on of the task {task!r} must be exception types")
    return exceptions


def check_callable(task: str, argument: str, function: F) -> F:
    """Something that can be called."""
    if not callable(function):
        raise DefinitionError(f"{argument} of the task {task!r} cannot be called: it is a {type(function).__name__}")
    return function


@dataclass(frozen=True, slots=True)
class OnFailure:
    """The state handler that ``on_failure`` is short for."""

    callback: Callable[[Any, State], object]

    def __call__(self, subject: object, old: State, new: State) -> None:  # noqa: ARG002  # what state handlers take
        """Call the callback if *new* is a failure."""
        if new.is_failed():
            self.callback(subject, new)


def check_handlers(
    owner: str, handlers: Iterable[Callable[..., State | None]], on_failure: Callable[[Any, State], object] | None
) -> tuple[Callable[..., State | None], ...]:
    """The state handlers in the order in which they are called, ``on_failure`` last."""
    found = [check_callable(owner, "a state handler", handler) for handler in handlers]
    if on_failure is not None:
        found.append(OnFailure(check_callable(owner, "on_failure", on_failure)))
    return tuple(found)


def one_of(task: str, *, persist_result: bool | None, checkpoint: bool | None) -> bool | None:
    """What the two names of one argument say together."""
    if persist_result is not None and checkpoint is not None and persist_result != checkpoint:
        raise DefinitionError(f"the task {task!r} says persist_result={persist_result} and checkpoint={checkpoint}")
    return checkpoint if persist_result is None else persist_result


def check_signature(task: str, run: Callable[..., object]) -> inspect.Signature:
    """The signature of *run*, each of whose arguments can be passed by name."""
    try:
        signature = inspect.signature(run)
    except (TypeError, ValueError):
        raise DefinitionError(f"the arguments of the task {task!r} are not known; wrap it in a function") from None
    for name, parameter in signature.parameters.items():
        if parameter.kind in {parameter.VAR_POSITIONAL, parameter.POSITIONAL_ONLY}:
            raise DefinitionError(f"the task {task!r} takes {str(parameter)!r}; every input needs a name of its own")
        if name in _RESERVED:
            raise DefinitionError(f"the task {task!r} has an input {name!r}, a name that is reserved; rename it")
    return signature


def required_inputs(signature: inspect.Signature) -> tuple[str, ...]:
    """The names of the inputs without a default."""
    return tuple(
        name
        for name, parameter in signature.parameters.items()
        if parameter.default is parameter.empty and parameter.kind is not parameter.VAR_KEYWORD
    )
