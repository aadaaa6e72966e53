# SPDX-License-Identifier: Apache-2.0
"""What is a task: what it runs, and how it wants to be run?"""

from __future__ import annotations

import copy
import difflib
import functools
import inspect
from typing import TYPE_CHECKING, Any, TypedDict, overload

from strongroom import _task_checks as checks
from strongroom import triggers
from strongroom._graph import current_graph
from strongroom._template import check_template
from strongroom.context import context
from strongroom.errors import DefinitionError, NotSupportedError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping
    from datetime import timedelta
    from pathlib import Path
    from typing import Self, Unpack

    from strongroom._graph import Graph
    from strongroom.abc import ResultHandler, Serializer
    from strongroom.states import State

    StateHandler = Callable[[Any, State, State], State | None]

__all__ = ["FunctionTask", "Parameter", "Task", "add_input", "task"]


class Task:
    """Something to run, with its inputs as keyword arguments. Subclass it and write `run`, or use `task`.

    Args:
        name: the name in states and listings; by default the class's or function's. It leaves in clear.
        slug: what tells the tasks of one flow apart; by default the name, with a number where it is taken.
        tags: words to find the task by. They leave sealed.
        max_retries: how often to run again after a failure.
        retry_delay: how long to wait before that, a timedelta or seconds.
        retry_on: the exception types that are worth running again for; by default all.
        trigger: given the upstream states, decides whether to run; see `strongroom.triggers`.
        skip_on_upstream_skip: be Skipped, without asking the trigger, if an upstream task is.
        state_handlers: called with (task, old state, new state) at each change; may answer with another new state.
        on_failure: called with (task, state) when it fails.
        task_run_name: a template for the name of a run, of context, ``parameters[...]`` and inputs. It leaves sealed.
        persist_result, checkpoint: two names of one thing: keep the result in storage. By default it is kept if any
            of result_storage, result_storage_key, result_serializer or cache_key_fn is given.
        result_handler: a `ResultHandler`, or the id of one; by default ``stored``: a record in result_storage.
        result_storage: an fsspec URL or a folder; by default the flow's, then the settings'.
        result_storage_key: a template for the record's key; by default a random one.
        result_serializer: a chain such as ``"compressed/json"``, or a `Serializer`.
        cache_result_in_memory: False drops the value once it is stored; who needs it reads it again.
        cache_for: use a kept result again for so long.
        cache_validator: ``(state, inputs, parameters) -> bool``: may this kept result be used? See
            `strongroom.caching`; by default `duration_only`.
        cache_key: what results are kept under, rather than the task's name and source.
        cache_key_fn: ``(context, parameters) -> str | None``: the same, computed for each run; None means no caching.
        refresh_cache: compute even if there is a kept result, and replace it.

    Raises:
        DefinitionError: an argument has a value that it cannot have, or is unknown.
        NotSupportedError: an argument that a later version will know.
    """

    name: str
    slug: str

    def __init__(
        self,
        name: str | None = None,
        slug: str | None = None,
        tags: Iterable[str] = (),
        *,
        max_retries: int = 0,
        retry_delay: timedelta | float | None = None,
        retry_on: type[BaseException] | Collection[type[BaseException]] | None = None,
        trigger: Callable[..., object] = triggers.all_successful,
        skip_on_upstream_skip: bool = True,
        state_handlers: Iterable[StateHandler] = (),
        on_failure: Callable[[Any, State], object] | None = None,
        task_run_name: str | None = None,
        persist_result: bool | None = None,
        checkpoint: bool | None = None,
        result_handler: ResultHandler | str | None = None,
        result_storage: str | Path | None = None,
        result_storage_key: str | None = None,
        result_serializer: str | Serializer | None = None,
        cache_result_in_memory: bool = True,
        cache_for: timedelta | None = None,
        cache_validator: Callable[..., bool] | None = None,
        cache_key: str | None = None,
        cache_key_fn: Callable[..., str | None] | None = None,
        refresh_cache: bool = False,
        **unknown: object,
    ) -> None:
        checks.check_arguments(unknown, inspect.signature(Task.__init__).parameters)
        self.name = checks.check_name(name or type(self).__name__)
        self.slug = checks.check_name(slug or self.name)
        self.slug_is_given = slug is not None
        self.tags = checks.check_tags(tags)
        self.max_retries = checks.check_retries(self.name, max_retries)
        self.retry_delay = checks.check_delay(self.name, retry_delay)
        self.retry_on = checks.check_exception_types(self.name, retry_on)
        self.trigger = checks.check_callable(self.name, "the trigger", trigger)
        self.skip_on_upstream_skip = skip_on_upstream_skip
        self.state_handlers = checks.check_handlers(self.name, state_handlers, on_failure)
        self.task_run_name = task_run_name
        self.persist_result = checks.one_of(self.name, persist_result=persist_result, checkpoint=checkpoint)
        self.result_handler = result_handler
        self.result_storage = result_storage
        self.result_storage_key = result_storage_key
        self.result_serializer = result_serializer
        self.cache_result_in_memory = cache_result_in_memory
        self.cache_for = checks.check_duration(self.name, "cache_for", cache_for)
        self.cache_validator = cache_validator and checks.check_callable(self.name, "cache_validator", cache_validator)
        self.cache_key = cache_key
        self.cache_key_fn = cache_key_fn and checks.check_callable(self.name, "cache_key_fn", cache_key_fn)
        self.refresh_cache = refresh_cache
        self._signature = checks.check_signature(self.name, self.run)
        self.required_inputs = checks.required_inputs(self._signature)

    if TYPE_CHECKING:
        # A subclass chooses its arguments; type checkers accept that only if they are open here.
        def run(self, *args: Any, **kwargs: Any) -> object: ...  # noqa: ANN401
    else:

        def run(self) -> object:
            """Do the work; the arguments are the inputs, and what is returned is the result."""
            raise NotSupportedError(f"running the task {self.name!r}, which has no run method", instead="write one")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.slug!r}>"

    @property
    def is_cached(self) -> bool:
        """True if results of former runs may be used."""
        if self.persist_result is False:
            return False
        return self.cache_for is not None or self.cache_key_fn is not None or self.cache_validator is not None

    @property
    def asks_for_persistence(self) -> bool | None:
        """What the task itself says about keeping its result; None if nothing."""
        if self.persist_result is not None:
            return self.persist_result
        hints = (self.result_storage, self.result_storage_key, self.result_serializer, self.cache_key_fn)
        return True if any(hint is not None for hint in hints) else None

    def check_input_name(self, key: str) -> None:
        """Complain if `run` takes no argument *key*."""
        parameters = self._signature.parameters
        if key in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            return
        near = difflib.get_close_matches(key, parameters, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(parameters) or 'none'}"
        raise DefinitionError(f"the task {self.name!r} has no input {key!r}; {hint}")

    def check_templates(self, inputs: Iterable[str], context: Collection[str], parameters: Collection[str]) -> None:
        """Complain if a template uses what will not be there."""
        for label in ("task_run_name", "result_storage_key"):
            template = getattr(self, label)
            if template is not None:
                what = f"{label} of the task {self.slug!r}"
                check_template(template, {*inputs, *context, "parameters"}, parameters, what=what)

    def copy(self, **changes: object) -> Self:
        """A copy that is in no flow, with other attributes if some are given."""
        new = copy.copy(self)
        if "slug" not in changes and not self.slug_is_given:
            new.slug = checks.check_name(changes.get("name", new.name))
        for key, value in changes.items():
            if key not in vars(self) or key.startswith("_"):
                raise DefinitionError(f"the task {self.name!r} has no attribute {key!r} to change")
            setattr(new, key, value)
        new.slug_is_given = self.slug_is_given or "slug" in changes
        return new

    def __call__(
        self,
        *args: object,
        upstream_tasks: Iterable[Task] = (),
        task_args: Mapping[str, Any] | None = None,
        flow: Graph | None = None,
        **kwargs: object,
    ) -> Self:
        """Add a copy of this task to the flow that is being built; arguments that are tasks become its inputs.

        Raises:
            DefinitionError: no flow is being built, or the arguments do not fit `run`.
        """
        graph = flow or current_graph()
        if graph is None:
            raise DefinitionError(
                f"the task {self.name!r} was called outside of a flow; "
                f"call it inside `with Flow(...)`, or call {self.name}.run(...) to run it by itself"
            )
        new = self.copy(**(task_args or {}))
        new.bind(graph, *args, upstream_tasks=upstream_tasks, **kwargs)
        return new

    def bind(self, graph: Graph, *args: object, upstream_tasks: Iterable[Task] = (), **kwargs: object) -> None:
        """Add this very task to *graph*, with these inputs."""
        try:
            arguments = self._signature.bind(*args, **kwargs).arguments
        except TypeError as exc:
            raise DefinitionError(f"the task {self.name!r} cannot be called like this: {exc}") from None
        for parameter in self._signature.parameters.values():
            if parameter.kind is parameter.VAR_KEYWORD:
                arguments.update(arguments.pop(parameter.name, {}))
        graph.add_task(self)
        for key, value in arguments.items():
            add_input(graph, self, key, value)
        for upstream in upstream_tasks:
            graph.add_edge(upstream, self)

    def set_upstream(self, task: Task, *, key: str | None = None) -> None:
        """Wait for *task*, in the flow that is being built; with a *key*, its result becomes that input."""
        _building(self).add_edge(task, self, key)

    def set_downstream(self, task: Task, *, key: str | None = None) -> None:
        """Let *task* wait for this one, in the flow that is being built."""
        _building(self).add_edge(self, task, key)


class TaskArguments(TypedDict, total=False):
    """The keyword arguments of `Task`, as `task` passes them on."""

    slug: str | None
    tags: Iterable[str]
    max_retries: int
    retry_delay: timedelta | float | None
    retry_on: type[BaseException] | Collection[type[BaseException]] | None
    trigger: Callable[..., object]
    skip_on_upstream_skip: bool
    state_handlers: Iterable[StateHandler]
    on_failure: Callable[[Any, State], object] | None
    task_run_name: str | None
    persist_result: bool | None
    checkpoint: bool | None
    result_handler: ResultHandler | str | None
    result_storage: str | Path | None
    result_storage_key: str | None
    result_serializer: str | Serializer | None
    cache_result_in_memory: bool
    cache_for: timedelta | None
    cache_validator: Callable[..., bool] | None
    cache_key: str | None
    cache_key_fn: Callable[..., str | None] | None
    refresh_cache: bool


class FunctionTask(Task):
    """A task that runs a function."""

    def __init__(
        self, function: Callable[..., object], name: str | None = None, **arguments: Unpack[TaskArguments]
    ) -> None:
        if not callable(function):
            raise DefinitionError(f"a task is made of a function, not of a {type(function).__name__}")
        if inspect.iscoroutinefunction(function):
            raise NotSupportedError(f"the task {function.__name__!r}, an async function,")
        self.run = function  # type: ignore[method-assign]  # the function stands for the method
        super().__init__(name or getattr(function, "__name__", type(function).__name__), **arguments)
        functools.update_wrapper(self, function, updated=())


class Parameter(Task):
    """An input of the whole flow, given when it is run: plain JSON. It leaves sealed.

    Args:
        name: what ``flow.run(name=value)`` calls it; also its slug.
        default: its value if none is given.
        required: whether a value must be given; by default, if there is no default.
    """

    def __init__(self, name: str, default: object = None, *, required: bool | None = None) -> None:
        super().__init__(name=name, slug=name)
        self.default = default
        self.required = default is None if required is None else required
        graph = current_graph()
        if graph is not None:
            graph.add_task(self)

    def run(self) -> object:
        """The value in this run."""
        return context.parameters[self.name]


class Gather(Task):
    """Puts results back into the list, tuple, set or dictionary that they were passed in."""

    def __init__(self, kind: type, keys: tuple[object, ...]) -> None:
        super().__init__(name=kind.__name__)
        self._kind = kind
        self._keys = keys

    def run(self, **items: object) -> object:
        """The container, with results in the place of tasks."""
        values = [items[f"item_{index}"] for index in range(len(self._keys))]
        return dict(zip(self._keys, values, strict=True)) if self._kind is dict else self._kind(values)


def add_input(graph: Graph, task: Task, key: str, value: object) -> None:
    """Let *task* get *value* as its input *key*; tasks in it are waited for, in containers too."""
    upstream = as_upstream(graph, value)
    if upstream is None:
        graph.set_constant(task, key, value)
    else:
        graph.add_edge(upstream, task, key)


def as_upstream(graph: Graph, value: object) -> Task | None:
    """The task whose result stands for *value*; None if there is no task in it."""
    if isinstance(value, Task):
        return value
    if type(value) not in _CONTAINERS or not _holds_task(value):
        return None
    pairs = value.items() if isinstance(value, dict) else ((None, item) for item in value)  # type: ignore[attr-defined]
    keys, items = zip(*pairs, strict=True)
    gather = Gather(type(value), keys)
    graph.add_task(gather)
    for index, item in enumerate(items):
        add_input(graph, gather, f"item_{index}", item)
    return gather


_CONTAINERS = frozenset({list, tuple, set, dict})


def _holds_task(value: object) -> bool:
    if isinstance(value, Task):
        return True
    if type(value) not in _CONTAINERS:
        return False
    items = value.values() if isinstance(value, dict) else value
    return any(_holds_task(item) for item in items)  # type: ignore[attr-defined]


def _building(task: Task) -> Graph:
    graph = current_graph()
    if graph is None:
        raise DefinitionError(f"no flow is being built; connect the task {task.name!r} inside `with Flow(...)`")
    return graph


@overload
def task(function: Callable[..., object], /) -> FunctionTask: ...


@overload
def task(
    function: None = None, /, *, name: str | None = None, **arguments: Unpack[TaskArguments]
) -> Callable[[Callable[..., object]], FunctionTask]: ...


def task(
    function: Callable[..., object] | None = None, /, *, name: str | None = None, **arguments: Unpack[TaskArguments]
) -> FunctionTask | Callable[[Callable[..., object]], FunctionTask]:
    """Make a function a task: ``@task`` or ``@task(max_retries=2)``; the arguments are those of `Task`."""
    if function is not None:
        return FunctionTask(function, name, **arguments)
    return lambda decorated: FunctionTask(decorated, name, **arguments)
