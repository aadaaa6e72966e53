# SPDX-License-Identifier: Apache-2.0
"""How does a function become a task?"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, Protocol, TypedDict, TypeVar, overload

from strongroom._task import Task
from strongroom.errors import DefinitionError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable
    from datetime import timedelta
    from typing import Unpack

    from strongroom._cache_policies import CachePolicy
    from strongroom._chain import Chain
    from strongroom._place import Where
    from strongroom._task import StateHandler
    from strongroom.abc import ResultHandler, Serializer
    from strongroom.states import State

__all__ = ["FunctionTask", "TaskArguments", "task"]

P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)


class TaskArguments(TypedDict, total=False):
    """The keyword arguments of `Task`, as `task` passes them on."""

    slug: str | None
    tags: Iterable[str]
    nout: int | None
    max_retries: int
    retry_delay: timedelta | float | list[timedelta | float] | Callable[[int], object] | None
    retry_jitter: float
    retry_on: type[BaseException] | Collection[type[BaseException]] | None
    timeout: timedelta | float | None
    trigger: Callable[..., object]
    skip_on_upstream_skip: bool
    state_handlers: Iterable[StateHandler]
    on_failure: Callable[[Any, State], object] | None
    task_run_name: str | None
    persist_result: bool | None
    checkpoint: bool | None
    result_handler: ResultHandler | str | None
    result_storage: Where | None
    result_storage_key: str | None
    result_serializer: str | Serializer | Chain | None
    cache_result_in_memory: bool
    cache_for: timedelta | None
    cache_validator: Callable[..., bool] | None
    cache_key: str | None
    cache_policy: CachePolicy | None
    cache_key_fn: Callable[..., str | None] | None
    refresh_cache: bool
    log_stdout: bool


class FunctionTask(Task, Generic[P, R_co]):
    """A task that runs a function.

    Its `run` has the types of the function. What calls it in a flow passes tasks where the function takes their
    results, so that these arguments are not checked before the flow is built.
    """

    if TYPE_CHECKING:

        def run(self, *args: P.args, **kwargs: P.kwargs) -> R_co: ...

    def __init__(
        self, function: Callable[P, R_co], name: str | None = None, **arguments: Unpack[TaskArguments]
    ) -> None:
        if not callable(function):
            raise DefinitionError(f"a task is made of a function, not of a {type(function).__name__}")
        self.run = function  # type: ignore[method-assign]  # the function stands for the method
        super().__init__(name or getattr(function, "__name__", type(function).__name__), **arguments)
        functools.update_wrapper(self, function, updated=())


class _Decorator(Protocol):
    def __call__(self, function: Callable[P, R_co], /) -> FunctionTask[P, R_co]: ...


@overload
def task(function: Callable[P, R_co], /) -> FunctionTask[P, R_co]: ...


@overload
def task(function: None = None, /, *, name: str | None = None, **arguments: Unpack[TaskArguments]) -> _Decorator: ...


def task(
    function: Callable[P, R_co] | None = None, /, *, name: str | None = None, **arguments: Unpack[TaskArguments]
) -> FunctionTask[P, R_co] | _Decorator:
    """Make a function a task: ``@task`` or ``@task(max_retries=2)``; the arguments are those of `Task`."""
    if function is not None:
        return FunctionTask(function, name, **arguments)
    return functools.partial(FunctionTask, name=name, **arguments)
