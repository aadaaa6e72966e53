# SPDX-License-Identifier: Apache-2.0
"""What is a flow?"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from strongroom import _task_checks as checks
from strongroom._drawing import to_dot, to_mermaid, write_drawing
from strongroom._graph import Graph
from strongroom._inputs import Parameter
from strongroom._keeping import Keeping
from strongroom.errors import (
    ParameterError,
    UnknownRunError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from strongroom._chain import Chain
    from strongroom._place import Where
    from strongroom._task import Task
    from strongroom.abc import Backend, Executor, ResultHandler, Serializer
    from strongroom.states import State

__all__ = ["Flow"]

_log = logging.getLogger("strongroom")

_PATIENCE = 1.0


class Flow(Graph):
    """A graph of tasks that can be run.

    Args:
        name: the name in listings. It leaves in clear.
        state_handlers: called with (flow, old state, new state) at each change of the run's state.
        on_failure: called with (flow, state) when a run fails.
        persist_result, result_handler, result_storage, result_serializer, cache_result_in_memory: what holds for the
            tasks that do not say otherwise; see `Task`.
    """

    def __init__(
        self,
        name: str,
        *,
        state_handlers: Iterable[Callable[..., State | None]] = (),
        on_failure: Callable[[Any, State], object] | None = None,
        persist_result: bool | None = None,
        result_handler: ResultHandler | str | None = None,
        result_storage: Where | None = None,
        result_serializer: str | Serializer | Chain | None = None,
        cache_result_in_memory: bool = True,
        **unknown: object,
    ) -> None:
        if unknown:
            checks.check_arguments(unknown, inspect.signature(Flow.__init__).parameters, of="flow")
        super().__init__(checks.check_name(name, of="flow"))
        self.state_handlers = checks.check_handlers(name, state_handlers, on_failure)
        said = {
            "persist_result": persist_result,
            "result_handler": result_handler,
            "result_storage": result_storage,
            "result_serializer": result_serializer,
            "cache_result_in_memory": cache_result_in_memory,
        }
        self.keeping = Keeping(**{each: checks.check_argument(name, each, value) for each, value in said.items()})
        """What it says about the results of its tasks."""

    def __repr__(self) -> str:
        return f"<Flow {self.name!r}: {len(self.tasks)} tasks>"

    @property
    def parameters(self) -> dict[str, Parameter]:
        """The parameters by name."""
        return {task.name: task for task in self.tasks if isinstance(task, Parameter)}

    def visualize(self, filename: str | Path | None = None, *, flow_state: State | None = None) -> str:
        """The flow in the language of Graphviz, which many tools draw; its names, and none of its values.

        Args:
            filename: where to write it, too: a picture for ``.svg``, ``.png`` or ``.pdf``, which Graphviz must be
                installed for; the text for ``.dot``.
            flow_state: what `run` returned; the tasks are coloured by their states.

        Raises:
            DefinitionError: the name has another ending, or *flow_state* is no state of a run.
            DrawingError: Graphviz is not installed, or could not draw it.
        """
        text = to_dot(self, flow_state)
        if filename is not None:
            write_drawing(text, filename)
        return text

    def to_mermaid(self, *, flow_state: State | None = None) -> str:
        """The flow in the language of Mermaid, which many sites draw where it stands in a README; see `visualize`."""
        return to_mermaid(self, flow_state)

    def run(
        self,
        parameters: Mapping[str, object] | None = None,
        *,
        executor: Executor | str | None = None,
        task_states: Mapping[Task, State] | None = None,
        start_tasks: Iterable[Task] | None = None,
        context: Mapping[str, object] | None = None,
        backend: Backend | None = None,
        **kwargs: object,
    ) -> State:
        """Run the flow; the result of the state that comes back maps each task to its state.

        Args:
            parameters: the parameters by name; keyword arguments are parameters too.
            executor: where tasks run: ``"sync"`` (the default), ``"threads"``, the id of a plugin's such as
                ``"processes"``, or an `Executor`.
            context: keys for the tasks' `strongroom.context`.
            backend: where the run is recorded; by default as the settings have it. It is left open.
            task_states: states to begin with; a task whose state is finished is not run.
            start_tasks: start at these tasks, without a look at what is upstream of them or at their triggers, and run
                what follows from them; other tasks are left out.
            **kwargs: more parameters.

        Raises:
            ParameterError: unknown or missing parameters, or one that is not plain JSON. Nothing has run.
            DefinitionError: the flow cannot run as it is. Nothing has run.
            OutboxFullError: the backend takes nothing, and what waits for it has no more room. The run can be resumed.
        """
        if not isinstance(parameters or {}, Mapping):
            raise ParameterError("parameters are values by name, such as parameters={'day': 1}")
        # A third of all the time that `import strongroom` would take: who only makes flows does not wait for it.
        from strongroom import _running

        return _running.run(
            self,
            {**(parameters or {}), **kwargs},
            executor=executor,
            task_states=task_states or {},
            start_tasks=start_tasks,
            context=context or {},
            backend=backend,
        )

    def resume(
        self,
        run_id: str,
        *,
        executor: Executor | str | None = None,
        context: Mapping[str, object] | None = None,
        backend: Backend | None = None,
    ) -> State:
        """Go on with a run that was stopped, paused or killed, from what the backend and the storage hold.

        Tasks whose results were kept are not run again, and a result is read only if something that runs needs it.
        The parameters are those of the run.

        Args:
            run_id: the whole id of the run.
            executor: as in `run`.
            context: as in `run`; the keys of the first time are not kept.
            backend: where the run was recorded; by default as the settings have it.

        Raises:
            UnknownRunError: there is no such run.
            NotResumableError: it has ended, or it is another flow's, or this flow has changed. Or it is running: that a
                run was killed on another machine is known 15 seconds later, so that this error comes as late.
            SealError: the record is not what was sent.
        """
        if not isinstance(run_id, str):
            raise UnknownRunError(run_id)
        from strongroom import _running

        return _running.resume(self, run_id, executor=executor, context=context or {}, backend=backend)
