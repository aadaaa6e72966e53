# SPDX-License-Identifier: Apache-2.0
"""Can a task have this argument? Each check returns what the task will hold, or says what is wrong."""

from __future__ import annotations

import inspect
import math
import threading
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from strongroom._cache_policies import CachePolicy
from strongroom._chain import Chain
from strongroom._place import Place, as_place
from strongroom._storage import check_key
from strongroom._template import outline
from strongroom.abc import ResultHandler, Serializer
from strongroom.errors import DefinitionError, PermanentStorageError, SettingsError
from strongroom.states import State

if TYPE_CHECKING:
    from collections.abc import Collection

    from strongroom._task import Task

__all__ = [
    "RetryDelay",
    "check_argument",
    "check_arguments",
    "check_caching",
    "check_callable",
    "check_context",
    "check_delay",
    "check_duration",
    "check_exception_types",
    "check_handlers",
    "check_jitter",
    "check_name",
    "check_nout",
    "check_retries",
    "check_seconds",
    "check_signature",
    "check_storage",
    "check_storage_keys",
    "check_tags",
    "check_timeout",
    "one_of",
    "required_inputs",
]

F = TypeVar("F")

# What `task(...)` in a flow takes for itself, so that `run` cannot have inputs of these names.
_RESERVED = frozenset({"upstream_tasks", "task_args", "flow", "mapped", "self"})


# What others call it; a word that only looks like it would lead astray.
_ELSEWHERE = MappingProxyType(
    {
        "cache_expiration": "cache_for",
        "log_prints": "log_stdout",
        "on_completion": "state_handlers",
        "retries": "max_retries",
        "retry_condition_fn": "retry_on",
        "retry_delay_seconds": "retry_delay",
        "retry_jitter_factor": "retry_jitter",
        "timeout_seconds": "timeout",
    }
)


def check_arguments(unknown: Mapping[str, object], known: Collection[str], *, of: str = "task") -> None:
    """Complain about the first of the *unknown* arguments."""
    for key in unknown:
        import difflib  # only a mistake needs it

        near = [_ELSEWHERE[key]] if _ELSEWHERE.get(key) in known else difflib.get_close_matches(key, known, n=1)
        raise DefinitionError(f"a {of} has no argument {key!r}" + (f"; did you mean {near[0]!r}?" if near else ""))


def check_context(context: object) -> None:
    """Complain if *context* is no mapping of names."""
    if not isinstance(context, Mapping) or not all(isinstance(key, str) for key in context):
        raise DefinitionError("the context are values by name, such as context={'day': 1}")


def check_name(name: object, *, of: str = "task") -> str:
    """A text that can be a column, a key of a mapping and a word on a line."""
    if not isinstance(name, str) or not name or not name.isprintable() or len(name) > 200:  # noqa: PLR2004
        raise DefinitionError(f"a {of}'s name is a text of 1 to 200 printable characters")
    return name


def check_tags(tags: object) -> frozenset[str]:
    """Words; one text alone is not taken for its letters."""
    given = list(tags) if isinstance(tags, Iterable) and not isinstance(tags, str) else [None]
    found = frozenset(tag for tag in given if isinstance(tag, str))
    if len(found) != len(set(given)):
        raise DefinitionError("tags are several texts, such as tags=['nightly']")
    return found


def check_retries(task: str, count: object) -> int:
    """A whole number from 0."""
    if not isinstance(count, int) or isinstance(count, bool) or count < 0:
        raise DefinitionError(f"max_retries of the task {task!r} must be a whole number from 0")
    return count


class RetryDelay(msgspec.Struct, frozen=True):
    """How long to wait before each retry."""

    task: str
    delays: tuple[timedelta, ...]
    """One for each retry; the last one stands for all that follow."""
    function: Callable[[int], object] | None
    """Gives the delay for the number of a retry, from 1, instead of *delays*."""

    def before(self, retry: int) -> timedelta:
        """How long to wait before the retry of this number.

        Raises:
            DefinitionError: the function answered with no delay.
        """
        if self.function is not None:
            return check_seconds(self.task, "retry_delay", self.function(retry)) or timedelta(0)
        return self.delays[min(retry, len(self.delays)) - 1]


def check_nout(task: str, count: object) -> int | None:
    """A whole number from 1, or None."""
    if count is None:
        return None
    if not isinstance(count, int) or isinstance(count, bool) or count < 1:
        raise DefinitionError(f"nout of the task {task!r} must be a whole number from 1: how many results it returns")
    return count


def check_jitter(task: str, jitter: object) -> float:
    """A number from 0."""
    if isinstance(jitter, bool) or not isinstance(jitter, (int, float)) or not 0 <= jitter < math.inf:
        raise DefinitionError(f"retry_jitter of the task {task!r} must be a number from 0")
    return jitter


def check_delay(task: str, delay: object) -> RetryDelay:
    """A delay: a timedelta or seconds, a list of them, or a function of the number of the retry."""
    if isinstance(delay, RetryDelay):
        return delay
    if callable(delay):
        return RetryDelay(task, (), delay)
    each = delay if isinstance(delay, (list, tuple)) else [delay]
    if not each:
        raise DefinitionError(f"retry_delay of the task {task!r} is an empty list; give one delay for each retry")
    delays = tuple(check_seconds(task, "retry_delay", one) or timedelta(0) for one in each)
    return RetryDelay(task, delays, None)


def check_seconds(task: str, argument: str, duration: object) -> timedelta | None:
    """A timedelta, from a number of seconds too."""
    if isinstance(duration, (int, float)) and not isinstance(duration, bool) and math.isfinite(duration):
        try:
            duration = timedelta(seconds=duration)
        except OverflowError:
            raise DefinitionError(f"{argument} of the task {task!r} is longer than time can be told") from None
    return check_duration(task, argument, duration, kind="a timedelta or a number of seconds")


def check_timeout(task: str, timeout: object) -> timedelta | None:
    """A time that is not nothing."""
    duration = check_seconds(task, "timeout", timeout)
    if duration == timedelta(0):
        raise DefinitionError(f"timeout of the task {task!r} must be longer than nothing")
    # Longer than the system's timers count, which is longer than anybody waits.
    return None if duration is None else min(duration, timedelta(seconds=int(threading.TIMEOUT_MAX)))


def check_duration(task: str, argument: str, duration: object, *, kind: str = "a timedelta") -> timedelta | None:
    """A timedelta that does not reach back, or None."""
    if duration is None:
        return None
    if not isinstance(duration, timedelta) or duration < timedelta(0):
        raise DefinitionError(f"{argument} of the task {task!r} must be {kind} that is not negative")
    return duration


def check_exception_types(
    task: str, types: type[BaseException] | Collection[type[BaseException]] | None
) -> tuple[type[BaseException], ...]:
    """A tuple of exception types, as `isinstance` takes it."""
    if types is None:
        return (BaseException,)
    found: tuple[object, ...] = tuple(types) if isinstance(types, Iterable) else (types,)
    exceptions = tuple(kind for kind in found if isinstance(kind, type) and issubclass(kind, BaseException))
    if exceptions != found:
        raise DefinitionError(f"retry_on of the task {task!r} must be exception types")
    return exceptions


# What makes a trigger or a validator, and can be taken for one.
_MAKERS: Mapping[tuple[object, object], str] = MappingProxyType(
    {
        ("strongroom.triggers", "some_successful"): "at_least=1",
        ("strongroom.triggers", "some_failed"): "at_least=1",
        ("strongroom.caching", "partial_inputs_only"): "['x']",
        ("strongroom.caching", "partial_parameters_only"): "['x']",
    }
)


def check_callable(task: str, argument: str, function: F) -> F:
    """Something that can be called."""
    if not callable(function):
        raise DefinitionError(f"{argument} of the task {task!r} cannot be called: it is a {type(function).__name__}")
    name = getattr(function, "__name__", None)
    if arguments := _MAKERS.get((getattr(function, "__module__", None), name)):
        raise DefinitionError(f"{argument} of the task {task!r} is yet to be made: write {name}({arguments})")
    return function


class OnFailure(msgspec.Struct, frozen=True):
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
    if callable(handlers) or not isinstance(handlers, Iterable):
        raise DefinitionError(f"state_handlers of {owner!r} are several: write state_handlers=[...] around the one")
    found = [check_callable(owner, "a state handler", handler) for handler in handlers]
    if on_failure is not None:
        found.append(OnFailure(check_callable(owner, "on_failure", on_failure)))
    return tuple(found)


def check_storage(owner: str, storage: object) -> str | Path | Place | None:
    """A URL, a folder, or what else leads to one."""
    try:
        place = None if storage is None else as_place(storage)
    except SettingsError as exc:
        raise DefinitionError(f"result_storage of {owner!r}: {exc}") from None
    # What has the same URL or path is one storage, and is opened once.
    return storage if isinstance(storage, (str, Path)) else place


def _check_storage_key(task: str, template: str) -> None:
    """Complain if no key that *template* can become stays inside its storage."""
    try:
        check_key(outline(template))
    except PermanentStorageError as exc:
        raise DefinitionError(f"result_storage_key of the task {task!r} is no key: {exc.reason}") from None


def check_storage_keys(tasks: Iterable[Task]) -> None:
    """Complain about a key of results that is none, or that two of *tasks* share, as far as a template tells."""
    owners: dict[tuple[str, str], Task] = {}
    for task in tasks:
        key = task.result_storage_key
        if key is None:
            continue
        _check_storage_key(task.slug, key)
        if "{" in key or task.persist_result is False:
            continue
        first = owners.setdefault((str(task.result_storage or ""), key), task)
        if first is not task:
            raise DefinitionError(
                f"the tasks {first.slug!r} and {task.slug!r} have the same result_storage_key, so that one result "
                "would take the place of the other"
            )


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


# What each of them may be; `Task` itself holds other values than it was given in some of these.
_CHECKS: Mapping[str, Callable[[str, Any], object]] = MappingProxyType(
    {
        "name": lambda _, name: check_name(name),
        "slug": lambda _, slug: check_name(slug),
        "tags": lambda _, tags: check_tags(tags),
        "nout": check_nout,
        "max_retries": check_retries,
        "retry_delay": check_delay,
        "retry_jitter": check_jitter,
        "retry_on": check_exception_types,
        "timeout": check_timeout,
        "trigger": lambda task, trigger: check_callable(task, "the trigger", trigger),
        "state_handlers": lambda task, handlers: check_handlers(task, handlers, None),
        "result_storage": check_storage,
        "cache_for": lambda task, duration: check_duration(task, "cache_for", duration),
        "cache_validator": lambda task, function: function and check_callable(task, "cache_validator", function),
        "cache_key_fn": lambda task, function: function and check_callable(task, "cache_key_fn", function),
    }
)
_FLAG = (bool,), "True or False"
_TEXT = (str, type(None)), "a text"
_KINDS: Mapping[str, tuple[tuple[type, ...], str]] = MappingProxyType(
    {
        "skip_on_upstream_skip": _FLAG,
        "cache_result_in_memory": _FLAG,
        "refresh_cache": _FLAG,
        "log_stdout": _FLAG,
        "persist_result": ((bool, type(None)), "True or False"),
        "task_run_name": _TEXT,
        "result_storage_key": _TEXT,
        "cache_key": _TEXT,
        "cache_policy": ((CachePolicy, type(None)), "made of the policies in strongroom.caching"),
        "result_handler": ((str, ResultHandler, type(None)), "a ResultHandler, or the id of one"),
        "result_serializer": ((str, Serializer, Chain, type(None)), "a chain such as 'json', or a Serializer"),
    }
)


def check_argument(owner: str, argument: str, value: object) -> Any:  # noqa: ANN401  # each has a type of its own
    """What *owner*, a task or a flow, will hold as *argument* if it is given *value*."""
    if argument in _CHECKS:
        return _CHECKS[argument](owner, value)
    kinds, words = _KINDS.get(argument, ((object,), ""))
    if not isinstance(value, kinds):
        kind = value.__name__ if isinstance(value, type) else f"a {type(value).__name__}"
        raise DefinitionError(f"{argument} of {owner!r} must be {words}, not {kind}")
    # A variable that is not set must not take encryption away.
    if value == "" and argument in ("result_handler", "result_serializer"):
        raise DefinitionError(f"{argument} of {owner!r} is empty; leave it out for the one of the flow or the settings")
    return value


def check_caching(task: Task) -> None:
    """Complain if *task* has two keys for its results, or leaves out of one an input that it does not have."""
    policy, inputs = task.cache_policy, task.inputs()
    if policy and task.cache_key is not None:
        raise DefinitionError(f"the task {task.name!r} has a cache_key and a cache_policy; give one of them")
    for name in sorted(policy.left_out - inputs.keys()) if policy and not task.takes_any_input else ():
        raise DefinitionError(f"cache_policy of the task {task.name!r} leaves out {name!r}, which is no input of it")
