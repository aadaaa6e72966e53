# SPDX-License-Identifier: Apache-2.0
"""What happened in one run?"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from rich.text import Text

from strongroom_cli._errors import FAILED, complain, printable
from strongroom_cli._history import find_run, open_record, read_history
from strongroom_cli._output import Output, duration, moment, print_json, size, state_text
from strongroom_cli._paths import short_path
from strongroom_cli._problems import Problem, is_ours
from strongroom_cli._report import Kept
from strongroom_cli._unopened import complain_of_all, complain_of_keys, foreign_keys

if TYPE_CHECKING:
    from collections.abc import Iterator

    from strongroom import Envelope
    from strongroom.documents import ErrorInfo, StateDocument
    from strongroom_cli._history import History, TaskHistory

__all__ = ["show"]

_HEADS = ("task", "state", "runs", "time", "size", "result")


def show(run: str, *, as_json: bool, with_traceback: bool) -> None:
    """Print what the backend has of *run*, opened.

    Raises:
        SystemExit: not all of it is as it was sent; the rest is printed.
    """
    with open_record() as (project, backend):
        history = read_history(project, backend, find_run(project, backend, run))
        keys = foreign_keys(project, history.unopened) if history.unopened else {}
    if as_json:
        print_json(_json(history))
    else:
        _print(history, Output(), with_traceback=with_traceback)
    _complain(history, keys)
    if not history.is_whole:
        raise SystemExit(FAILED)


def _print(history: History, output: Output, *, with_traceback: bool) -> None:
    opening = history.opening
    name = printable(opening.name) if opening else "an unknown flow"
    output.line(Text.assemble(f"run {history.run_id} of {name}: ", state_text(history.run.state), _after(history)))
    if opening:
        output.line(f"started {moment(opening.at)}")
        for parameter, value in opening.parameters.items():
            output.line(f"parameter {parameter} = {json.dumps(value, ensure_ascii=False)}")
    if message := next((each.message for each in reversed(history.run.states) if each.message), None):
        output.line(message)
    output.line()
    if history.tasks:
        output.table(_HEADS, [_cells(each) for each in history.tasks], right=("runs", "time", "size"))
    if with_traceback:
        for task in history.tasks:
            _print_tracebacks(task, output)


def _after(history: History) -> str:
    if history.is_finished:
        return f" after {duration(history.seconds)}"
    if history.last is None:
        return ""
    return f", last heard of {duration(time.time() - history.last / 1e6)} ago"


def _cells(task: TaskHistory) -> tuple[str | Text, ...]:
    kept = _kept(task)
    why = _why(task.states[-1]) if task.states else ""
    return (
        task.label,
        state_text(task.state),
        str(task.run_count) if task.run_count else "-",
        duration(task.seconds),
        size(kept.size if kept else None),
        Text(printable(why), style="red") if why else (kept.place if kept else "-"),
        *_notes(task),
    )


def _notes(task: TaskHistory) -> Iterator[Text]:
    """What else is worth a line: how it got there if that was no straight way, and what went wrong on it."""
    before = [each for each in task.states[:-1] if each.type != "Running"]
    if before:
        yield Text(" > ").join(state_text(each.type) for each in task.states)
    for state in before:
        if state.error:
            yield Text(printable(f"{state.type}: {_why(state)}"))


def _kept(task: TaskHistory) -> Kept | None:
    found = task.states[-1].result if task.states else None
    return Kept.of(found.handler, found.reference) if found else None


def _why(state: StateDocument) -> str:
    """What the newest state says of itself, in one line."""
    return Problem.recorded(state.error).line if state.error else state.message or ""


def _print_tracebacks(task: TaskHistory, output: Output) -> None:
    for state in task.states:
        if state.error is not None:
            output.line()
            output.line(f"{task.label}, {state.type} {moment(state.at)}:", style="bold")
            _print_error(state.error, output)


def _print_error(error: ErrorInfo, output: Output) -> None:
    """Print what is recorded of an exception; the lines of source never are."""
    for frame in error.frames:
        if not is_ours(frame.file):
            output.line(f"{short_path(frame.file)}:{frame.line} in {frame.function}", indent="  ")
    output.text(f"{error.kind.removeprefix('builtins.')}: {error.message}")
    for note in error.notes:
        output.text(note)
    if error.cause:
        output.line("raised while handling, or from:")
        _print_error(error.cause, output)
    for member in error.members:
        output.line("with:")
        _print_error(member, output)


def _complain(history: History, keys: dict[str, int]) -> None:
    complain_of_all([f"a document does not open, and was left out: {_named(each)}" for each in history.unopened])
    complain_of_keys(keys)
    if history.missing:
        complain(f"{history.missing} documents are missing: later ones of the same tasks are there")
    if history.opening is None and not history.unopened:
        complain("the document that opens the run is missing")


def _named(envelope: Envelope) -> str:
    whose = f"task {envelope.task!r}" if envelope.task else "the run itself"
    return f"number {envelope.sequence} of {whose}, which calls itself {envelope.type or envelope.kind!r}"


def _json(history: History) -> dict[str, object]:
    return {
        **history.to_json(),
        "parameters": history.opening.parameters if history.opening else None,
        "states": [_state_json(each) for each in history.run.states],
        "tasks": [_task_json(each) for each in history.tasks],
        "unopened": [
            {"task": each.task, "map_index": each.map_index, "sequence": each.sequence} for each in history.unopened
        ],
        "missing": history.missing,
    }


def _task_json(task: TaskHistory) -> dict[str, object]:
    kept = _kept(task)
    return {
        "task": task.task,
        "map_index": task.map_index,
        "state": task.state,
        "run_count": task.run_count,
        "seconds": task.seconds,
        "result": kept.to_json() if kept else None,
        "states": [_state_json(each) for each in task.states],
    }


def _state_json(state: StateDocument) -> dict[str, object]:
    return {
        "type": state.type,
        "at": state.at,
        "run_count": state.run_count,
        "message": state.message,
        "error": Problem.recorded(state.error).to_json() if state.error else None,
    }
