# SPDX-License-Identifier: Apache-2.0
"""How is a flow run from the terminal, or a run of it resumed?"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from typing import TYPE_CHECKING

from strongroom import SyncExecutor, ThreadExecutor
from strongroom.abc import StoppedAtOnce
from strongroom.errors import MissingPluginError
from strongroom.project import Project
from strongroom_cli._errors import FAILED, INTERRUPTED, CommandError
from strongroom_cli._history import find_run
from strongroom_cli._load import load_flow, read_parameters
from strongroom_cli._outbox import deliver_what_waits
from strongroom_cli._output import Output, print_json
from strongroom_cli._summary import Summary
from strongroom_cli._traffic import counting
from strongroom_cli._watch import Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path
    from typing import NoReturn, TypeAlias

    from strongroom import Backend, Executor, Flow, State

    _Start: TypeAlias = Callable[[Flow, Executor, Backend], State]

__all__ = ["resume", "run"]


def run(
    target: str,
    values: Sequence[str],
    parameter_file: Path | None,
    *,
    executor: str,
    as_json: bool,
    with_traceback: bool,
) -> None:
    """Run the flow that *target* means, and print what became of it.

    Raises:
        CommandError: there is no such flow, or it cannot be run like this.
        SystemExit: it did not end in Success.
    """
    parameters = read_parameters(values, parameter_file)

    def start(flow: Flow, executor: Executor, backend: Backend) -> State:
        return flow.run(parameters, executor=executor, backend=backend)

    _go(target, executor, start, as_json=as_json, with_traceback=with_traceback)


def resume(run_id: str, target: str, *, executor: str, as_json: bool, with_traceback: bool) -> None:
    """Go on with a run of the flow that *target* means, and print what became of it.

    Raises:
        CommandError: there is no such flow or run.
        SystemExit: it did not end in Success.
    """

    def start(flow: Flow, executor: Executor, backend: Backend) -> State:
        # A run whose beginning still waits here is to be found, too.
        project = Project.open()
        deliver_what_waits(project, backend)
        return flow.resume(find_run(project, backend, run_id), executor=executor, backend=backend)

    _go(target, executor, start, as_json=as_json, with_traceback=with_traceback)


def _go(target: str, executor: str, start: _Start, *, as_json: bool, with_traceback: bool) -> None:
    project = Project.open()
    chosen = _executor(executor, project)
    # Only the JSON goes to standard output, whatever the user's code prints.
    with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
        flow = load_flow(target, with_traceback=with_traceback)
        output = None if as_json else Output()
        summary = _run(flow, lambda backend: start(flow, chosen, backend), project, output)
    if output is None:
        print_json(summary.to_json())
    else:
        summary.print(output, with_traceback=with_traceback)
    if not summary.state.is_successful():
        raise SystemExit(FAILED)


def _executor(id_: str, project: Project) -> Executor:
    """The executor, before anything has begun: a wrong one is misuse."""
    built_in = {each.id: each for each in (SyncExecutor, ThreadExecutor)}
    try:
        return built_in[id_]() if id_ in built_in else project.plugins.executor(id_)
    except MissingPluginError as exc:
        raise CommandError(str(exc)) from exc


def _run(flow: Flow, start: Callable[[Backend], State], project: Project, output: Output | None) -> Summary:
    watch = Watch(flow)
    with project.open_backend() as inner:
        backend = counting(inner)
        try:
            with _watched(project, watch), _shown(watch, output):
                state = start(backend)
        except KeyboardInterrupt as exc:
            _say_cancelled(watch)
            if isinstance(exc.__context__, StoppedAtOnce):
                _leave()
            raise SystemExit(INTERRUPTED) from None
    return Summary(flow, state, watch, backend.traffic(watch.run_id or ""))


@contextlib.contextmanager
def _watched(project: Project, watch: Watch) -> Iterator[None]:
    # With a space in it, so that it is the name of no installed plugin.
    name = "progress of this run"
    project.plugins.add(name, watch)
    try:
        yield
    finally:
        project.plugins.remove(name)


def _shown(watch: Watch, output: Output | None) -> contextlib.AbstractContextManager[None]:
    if output is None:
        return contextlib.nullcontext()
    from strongroom_cli import _progress

    # Not what rich takes for a terminal: colours can be forced into a pipe, a display would be a mess there.
    return _progress.drawn(watch, output.console) if sys.stdout.isatty() else _progress.told(watch)


def _leave() -> NoReturn:
    """End this process, whatever threads of the user's go on: Python would wait for some of them."""
    # What was printed may wait for a reader who does not read.
    printing = threading.Thread(target=sys.stdout.flush, daemon=True)
    printing.start()
    printing.join(0.5)
    os._exit(INTERRUPTED)


def _say_cancelled(watch: Watch) -> None:
    where = f"run {watch.run_id}" if watch.run_id else "the run"
    print(  # noqa: T201
        f"strongroom: {where} was cancelled; {watch.finished} of {watch.total} tasks had finished", file=sys.stderr
    )
