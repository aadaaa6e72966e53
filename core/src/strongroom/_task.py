# SPDX-License-Identifier: Apache-2.0
"""What is a task: what it runs, and how it wants to be run?"""

from __future__ import annotations

import copy
import inspect
from typing import TYPE_CHECKING, Any

from strongroom import _task_checks as checks
from strongroom import triggers
from strongroom._graph import current_graph
from strongroom._operators import Operators
from strongroom._template import check_template
from strongroom.errors import DefinitionError, NotSupportedError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping
    from datetime import timedelta
    from typing import Self

    from strongroom._cache_policies import CachePolicy
    from strongroom._chain import Chain
    from strongroom._graph import Graph
    from strongroom._grouping import Hook
    from strongroom._place import Where
    from strongroom._task_checks import RetryDelay
    from strongroom.abc import ResultHandler, Serializer
    from strongroom.states import State

    StateHandler = Callable[[Any, State, State], State | None]

__all__ = ["Task"]


class Task(Operators):
    """Something to run, with its inputs as keyword arguments. Subclass it and write `run`, or use `task`.

    Inside a flow, calling a task adds a copy of it, and so does an operator: ``total / count`` is a task.

    Args:
        name: the name in states and listings; by default the class's or function's. It leaves in clear.
        slug: what tells the tasks of one flow apart; by default the name, with a number where it is taken.
        tags: words to find the task by. They leave sealed.
        nout: how many results it returns at once, as a tuple or list, so that ``a, b = task()`` gives two tasks.
        max_retries: how often to run again after a failure.
        retry_delay: how long to wait before that: a timedelta or seconds, a list of them, one for each retry, or a
            function of the number of the retry, from 1. Waiting holds no worker.
        retry_jitter: wait up to so many times the delay longer, at random.
        retry_on: the exception types that are worth running again for; by default all.
        timeout: how long one run may take, a timedelta or seconds; after that it is TimedOut.
        trigger: given the upstream states, decides whether to run; see `strongroom.triggers`.
        skip_on_upstream_skip: be Skipped, without asking the trigger, if an upstream task is.
        state_handlers: called with (task, old state, new state) at each change; may answer with another new state.
        on_failure: called with (task, state) when it fails.
        task_run_name: a template for the name of a run, of context, ``parameters[...]`` and inputs. It leaves sealed.
        persist_result, checkpoint: two names of one thing: keep the result in storage. By default it is kept if any
            of result_storage, result_storage_key, result_serializer, cache_policy or cache_key_fn is given.
        result_handler: a `ResultHandler`, or the id of one; by default ``stored``: a record in result_storage.
        result_storage: an fsspec URL or a folder; by default the flow's, then the settings'.
        result_storage_key: a template for the record's key; by default one that follows from the run and the task.
        result_serializer: a chain such as ``"compressed/json"``, a `Serializer`, or a `Chain` of instances.
        cache_result_in_memory: False drops the value once it is stored; who needs it reads it again.
        cache_for: use a kept result again for so long.
        cache_validator: ``(state, inputs, parameters) -> bool``: may this kept result be used? See
            `strongroom.caching`; by default `duration_only`.
        cache_policy: what the key is made of that results are kept under, such as ``INPUTS + TASK_SOURCE``; see
            `strongroom.caching`. With cache_for or cache_validator alone it is the task's name and source.
        cache_key: what results are kept under, instead of that.
        cache_key_fn: ``(context, inputs) -> str | None``: the same, computed for each run; None means no caching.
            It wins over cache_policy.
        refresh_cache: compute even if there is a kept result, and replace it.
        log_stdout: log what the task prints, line by line, instead of printing it. See `strongroom.context.logger`.

    Raises:
        DefinitionError: an argument has a value that it cannot have, or is unknown.
    """

    name: str
    slug: str
    tags: frozenset[str]
    nout: int | None
    max_retries: int
    retry_delay: RetryDelay
    retry_jitter: float
    retry_on: tuple[type[BaseException], ...]
    timeout: timedelta | None
    trigger: Callable[..., object]
    skip_on_upstream_skip: bool
    state_handlers: tuple[StateHandler, ...]
    task_run_name: str | None
    log_stdout: bool
    persist_result: bool | None
    cache_result_in_memory: bool
    result_handler: ResultHandler | str | None
    result_storage: Where | None
    result_storage_key: str | None
    result_serializer: str | Serializer | Chain | None
    cache_for: timedelta | None
    cache_validator: Callable[..., bool] | None
    cache_key: str | None
    cache_policy: CachePolicy | None
    cache_key_fn: Callable[..., str | None] | None
    refresh_cache: bool
    commit_hooks: tuple[Hook, ...] = ()
    rollback_hooks: tuple[Hook, ...] = ()
    _class_signature: inspect.Signature

    def __init__(
        self,
        name: str | None = None,
        slug: str | None = None,
        tags: Iterable[str] = (),
        *,
        nout: int | None = None,
        max_retries: int = 0,
        retry_delay: timedelta | float | list[timedelta | float] | Callable[[int], object] | None = None,
        retry_jitter: float = 0.0,
        retry_on: type[BaseException] | Collection[type[BaseException]] | None = None,
        timeout: timedelta | float | None = None,
        trigger: Callable[..., object] = triggers.all_successful,
        skip_on_upstream_skip: bool = True,
        state_handlers: Iterable[StateHandler] = (),
        on_failure: Callable[[Any, State], object] | None = None,
        task_run_name: str | None = None,
        persist_result: bool | None = None,
        checkpoint: bool | None = None,
        result_handler: ResultHandler | str | None = None,
        result_storage: Where | None = None,
        result_storage_key: str | None = None,
        result_serializer: str | Serializer | Chain | None = None,
        cache_result_in_memory: bool = True,
        cache_for: timedelta | None = None,
        cache_validator: Callable[..., bool] | None = None,
        cache_key: str | None = None,
        cache_policy: CachePolicy | None = None,
        cache_key_fn: Callable[..., str | None] | None = None,
        refresh_cache: bool = False,
        log_stdout: bool = False,
        **unknown: object,
    ) -> None:
        if unknown:
            checks.check_arguments(unknown, inspect.signature(Task.__init__).parameters)
        self.name = checks.check_name(name or type(self).__name__)
        self.slug_is_given = self.slug_is_final = slug is not None
        self._set(slug=slug or self.name, tags=tags, nout=nout, task_run_name=task_run_name, log_stdout=log_stdout)
        self._set(max_retries=max_retries, retry_on=retry_on, timeout=timeout)
        self._set(retry_delay=retry_delay, retry_jitter=retry_jitter)
        self._set(trigger=trigger, skip_on_upstream_skip=skip_on_upstream_skip)
        self.state_handlers = checks.check_handlers(self.name, state_handlers, on_failure)
        persist_result = checks.one_of(self.name, persist_result=persist_result, checkpoint=checkpoint)
        self._set(persist_result=persist_result, cache_result_in_memory=cache_result_in_memory)
        self._set(result_handler=result_handler, result_storage=result_storage, result_serializer=result_serializer)
        self._set(cache_for=cache_for, cache_key=cache_key, cache_key_fn=cache_key_fn, cache_policy=cache_policy)
        self._set(cache_validator=cache_validator, refresh_cache=refresh_cache, result_storage_key=result_storage_key)
        self._look_at_run()
        checks.check_caching(self)

    def _set(self, **arguments: object) -> None:
        for name, value in arguments.items():
            setattr(self, name, checks.check_argument(self.name, name, value))

    if TYPE_CHECKING:
        # A subclass chooses its arguments; type checkers accept that only if they are open here.
        def run(self, *args: Any, **kwargs: Any) -> object: ...  # noqa: ANN401
    else:

        def run(self) -> object:
            """Do the work; the arguments are the inputs, and what is returned is the result."""
            raise NotSupportedError(f"running the task {self.name!r}, which has no run method", instead="write one")

    def _look_at_run(self) -> None:
        """Note what `run` takes: once for each task, since each run of a cached one asks."""
        self._signature = self._find_signature()
        self.required_inputs = checks.required_inputs(self._signature)
        self._defaults = {name: each.default for name, each in self.inputs().items() if each.default is not each.empty}

    def _find_signature(self) -> inspect.Signature:
        if "run" in vars(self):
            return checks.check_signature(self.name, self.run)
        # Looked at once for each class: it takes longer than all the rest.
        if "_class_signature" not in vars(type(self)):
            type(self)._class_signature = checks.check_signature(self.name, self.run)  # noqa: SLF001  # our own class
        return self._class_signature

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.slug!r}>"

    @property
    def is_cached(self) -> bool:
        """True if results of former runs may be used."""
        if self.persist_result is False:
            return False
        # Spelled out, here and below: it is asked several times for each task, and a generator takes longer to make.
        is_timed = self.cache_for is not None or self.cache_validator is not None
        policy = self.cache_policy
        return is_timed or self.cache_key_fn is not None or (policy is not None and bool(policy.parts))

    @property
    def asks_for_persistence(self) -> bool | None:
        """What the task itself says about keeping its result; None if nothing."""
        if self.persist_result is not None:
            return self.persist_result
        has_place = self.result_storage is not None or self.result_storage_key is not None
        has_key = self.cache_key_fn is not None or bool(self.cache_policy)
        return True if has_place or has_key or self.result_serializer is not None else None

    def on_commit(self, hook: Hook) -> Hook:
        """Call *hook* with the `OpenTransaction` when the transaction is committed that this task belongs to."""
        self.commit_hooks = (*self.commit_hooks, checks.check_callable(self.name, "on_commit", hook))
        return hook

    def on_rollback(self, hook: Hook) -> Hook:
        """Call *hook* with the `OpenTransaction` when it is rolled back after this task has succeeded."""
        self.rollback_hooks = (*self.rollback_hooks, checks.check_callable(self.name, "on_rollback", hook))
        return hook

    def check_input_name(self, key: str) -> None:
        """Complain if `run` takes no argument *key*."""
        parameters = self._signature.parameters
        if key in parameters or self.takes_any_input:
            return
        import difflib  # only a mistake needs it

        near = difflib.get_close_matches(key, parameters, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(parameters) or 'none'}"
        raise DefinitionError(f"the task {self.name!r} has no input {key!r}; {hint}")

    def check_templates(self, inputs: Iterable[str], context: Collection[str], parameters: Collection[str]) -> None:
        """Complain if a template uses what will not be there."""
        templates = {"task_run_name": self.task_run_name, "result_storage_key": self.result_storage_key}
        given = {label: template for label, template in templates.items() if template is not None}
        names = {*inputs, *self.defaults(), *context, "parameters"} if given else set()
        for label, template in given.items():
            check_template(template, names, parameters, what=f"{label} of the task {self.slug!r}")

    @property
    def takes_any_input(self) -> bool:
        """True if `run` has ``**kwargs``."""
        return any(each.kind is each.VAR_KEYWORD for each in self._signature.parameters.values())

    def inputs(self) -> dict[str, inspect.Parameter]:
        """What `run` takes, by name: each knows its annotation and its default. ``**kwargs`` are not among them."""
        parameters = self._signature.parameters.items()
        return {name: each for name, each in parameters if each.kind is not each.VAR_KEYWORD}

    def defaults(self) -> Mapping[str, object]:
        """The inputs that `run` has a value for if it is not given any."""
        return self._defaults

    def copy(self, **changes: object) -> Self:
        """A copy that is in no flow, with other attributes if some are given.

        Raises:
            DefinitionError: there is no such attribute, or it cannot have this value.
        """
        if "slug_is_given" not in vars(self):
            kind = type(self).__name__
            raise DefinitionError(f"the task is not made yet: {kind}.__init__ does not call super().__init__()")
        new = copy.copy(self)
        for key, value in changes.items():
            if key not in vars(self) or key.startswith(("_", "slug_is_")):
                raise DefinitionError(f"the task {self.name!r} has no attribute {key!r} to change")
            setattr(new, key, checks.check_argument(self.name, key, value))
        if changes:
            checks.check_caching(new)
        new.slug_is_given = new.slug_is_final = self.slug_is_given or "slug" in changes
        if not new.slug_is_given:
            new.slug = new.name
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
        new._connect(graph, args, kwargs, upstream_tasks, mapped=False)  # noqa: SLF001  # a copy of this one
        return new

    def map(
        self,
        *args: object,
        upstream_tasks: Iterable[object] = (),
        task_args: Mapping[str, Any] | None = None,
        flow: Graph | None = None,
        **kwargs: object,
    ) -> Self:
        """Add a copy of this task that runs once for each element of its inputs, those in `unmapped` left as they are.

        Several inputs go in step, and the shortest decides. The result is the list of the results. What is mapped over
        a mapped task goes on with each element as soon as that is ready.

        Raises:
            DefinitionError: an input that is no task has no elements.
        """
        graph = flow or _building(self)
        new = self.copy(**(task_args or {}))
        new._connect(graph, args, kwargs, upstream_tasks, mapped=True)  # noqa: SLF001  # a copy of this one
        return new

    def bind(self, graph: Graph, *args: object, upstream_tasks: Iterable[Task] = (), **kwargs: object) -> Self:
        """Add this very task to *graph*, with these inputs; returns it.

        Raises:
            DefinitionError: it has inputs in *graph* already, or the arguments do not fit `run`.
        """
        self._connect(graph, args, kwargs, upstream_tasks, mapped=False)
        return self

    def _connect(
        self,
        graph: Graph,
        args: Collection[object],
        kwargs: Mapping[str, object],
        upstream_tasks: Iterable[object],
        *,
        mapped: bool,
    ) -> None:
        try:
            arguments = self._signature.bind(*args, **kwargs).arguments
        except TypeError as exc:
            raise DefinitionError(f"the task {self.name!r} cannot be called like this: {exc}") from None
        for parameter in self._signature.parameters.values():
            if parameter.kind is parameter.VAR_KEYWORD:
                arguments.update(arguments.pop(parameter.name, {}))
        if self in graph and any(graph.inputs(self)):
            raise DefinitionError(
                f"the task {self.slug!r} is bound in the flow {graph.name!r} already; bind a copy of it: copy()"
            )
        graph.set_dependencies(self, upstream_tasks, keyword_tasks=arguments, mapped=mapped)

    def set_dependencies(
        self,
        flow: Graph | None = None,
        upstream_tasks: Iterable[object] = (),
        downstream_tasks: Iterable[Task] = (),
        keyword_tasks: Mapping[str, object] | None = None,
        *,
        mapped: bool = False,
    ) -> None:
        """Add this very task to *flow*, or to the one that is being built; see `Flow.set_dependencies`."""
        graph = flow or _building(self)
        graph.set_dependencies(self, upstream_tasks, downstream_tasks, keyword_tasks, mapped=mapped)

    def set_upstream(
        self, task: object, *, key: str | None = None, mapped: bool = False, flow: Graph | None = None
    ) -> None:
        """Wait for *task*, in *flow* or the one that is being built; with a *key*, its result becomes that input."""
        inputs, others = ({key: task}, ()) if key is not None else ({}, (task,))
        self.set_dependencies(flow, others, keyword_tasks=inputs, mapped=mapped)

    def set_downstream(
        self, task: Task, *, key: str | None = None, mapped: bool = False, flow: Graph | None = None
    ) -> None:
        """Let *task* wait for this one, in *flow* or the one that is being built; see `set_upstream`."""
        task.set_upstream(self, key=key, mapped=mapped, flow=flow or _building(self))


def _building(task: Task) -> Graph:
    graph = current_graph()
    if graph is None:
        raise DefinitionError(f"no flow is being built; connect the task {task.name!r} inside `with Flow(...)`")
    return graph
