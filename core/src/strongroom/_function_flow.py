# SPDX-License-Identifier: Apache-2.0
"""How does a function become a flow?"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, overload

from strongroom._flow import Flow
from strongroom._inputs import Parameter
from strongroom._task import Task
from strongroom.errors import DefinitionError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

__all__ = ["flow"]


@overload
def flow(function: Callable[..., object], /) -> Flow: ...


@overload
def flow(function: None = None, /, **arguments: object) -> Callable[[Callable[..., object]], Flow]: ...


def flow(
    function: Callable[..., object] | None = None, /, **arguments: object
) -> Flow | Callable[[Callable[..., object]], Flow]:
    """Make a function a flow: its parameters become `Parameter` tasks, and its body, run once, builds the graph.

    The tasks that the function returns, one or several, decide the final state, as by `Flow.set_reference_tasks`. The
    arguments are those of `Flow`; the name is the function's unless it is given.

    Raises:
        DefinitionError: the function returns something else, or has a parameter that cannot be passed by name.
    """
    if function is None:
        return lambda decorated: _build(decorated, arguments)
    return _build(function, {})


def _build(function: Callable[..., object], arguments: Mapping[str, Any]) -> Flow:
    new = Flow(**{"name": function.__name__, **arguments})
    with new:
        inputs = {name: _parameter(name, each) for name, each in inspect.signature(function).parameters.items()}
        returned = function(**inputs)
    new.set_reference_tasks(_references(new.name, returned))
    new.__doc__ = function.__doc__
    return new


def _references(name: str, returned: object) -> Iterator[Task]:
    if returned is None:
        return
    for task in returned if isinstance(returned, (list, tuple)) else (returned,):
        if not isinstance(task, Task):
            kind = type(task).__name__
            raise DefinitionError(
                f"the flow {name!r} returns a {kind}; it returns the tasks that decide its final state, or nothing"
            )
        yield task


def _parameter(name: str, parameter: inspect.Parameter) -> Parameter:
    if parameter.kind in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY}:
        raise DefinitionError(f"a flow cannot take {str(parameter)!r}; every parameter needs a name to be passed by")
    if parameter.default is parameter.empty:
        return Parameter(name)
    return Parameter(name, parameter.default, required=False)
