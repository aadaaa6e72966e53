# SPDX-License-Identifier: Apache-2.0
"""What became of a run, and where are its results?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.text import Text

from strongroom_cli._errors import printable
from strongroom_cli._output import duration, size, state_text
from strongroom_cli._problems import Problem, without_engine
from strongroom_cli._progress import explained
from strongroom_cli._report import Kept

if TYPE_CHECKING:
    from collections.abc import Iterator

    from strongroom import Flow, State, Task
    from strongroom_cli._output import Output
    from strongroom_cli._traffic import Traffic
    from strongroom_cli._watch import Watch

__all__ = ["Summary"]

_MOST_ROWS = 50
_HEADS = ("task", "state", "time", "size", "result")


@dataclass(frozen=True, slots=True)
class Summary:
    """A run that has ended."""

    flow: Flow
    state: State
    watch: Watch
    traffic: Traffic

    def print(self, output: Output, *, with_traceback: bool) -> None:
        """Print it for people: all tasks, or of very many those that did not succeed."""
        run_id, name = self.watch.run_id, type(self.state).__name__
        output.line(Text.assemble(f"run {run_id} of {printable(self.flow.name)}: ", state_text(name), self._time()))
        if not self.state.is_finished() and self.state.message:
            output.line(self.state.message)
        output.line()
        rows = list(self._tasks())
        if len(rows) > _MOST_ROWS:
            counts = ", ".join(f"{count} {name}" for name, count in sorted(self.watch.counts().items()))
            output.line(f"{len(rows)} tasks: {counts}; all of them: strongroom show {run_id[:8]}")
            rows = [row for row in rows if not row[1].is_successful()][:_MOST_ROWS]
        if rows:
            output.table(_HEADS, [self._cells(*row) for row in rows], right=("time", "size"))
        output.line()
        output.line(f"backend: {self.traffic}")
        if with_traceback:
            self._print_tracebacks(output)

    def to_json(self) -> dict[str, object]:
        """The same for programs, with all tasks."""
        return {
            "run_id": self.watch.run_id,
            "flow": self.flow.name,
            "state": type(self.state).__name__,
            "message": self.state.message,
            "seconds": round(self.watch.elapsed, 6),
            "tasks": [self._task_json(task, state) for task, state in self._tasks()],
            "backend": self.traffic.to_json(),
        }

    def _time(self) -> str:
        return f" after {duration(self.watch.elapsed)}"

    def _tasks(self) -> Iterator[tuple[Task, State]]:
        states = self.state.result
        # A state handler may have put another state in place, whose result is something else.
        if isinstance(states, Mapping):
            yield from states.items()

    def _cells(self, task: Task, state: State) -> tuple[str | Text, ...]:
        kept = _kept(state)
        name = state_text(type(state).__name__)
        spent = duration(self.watch.seconds(task))
        why = explained(state)
        last = Text(printable(why), style="red") if why else (kept.place if kept else "-")
        return task.slug, name, spent, size(kept.size if kept else None), last

    def _task_json(self, task: Task, state: State) -> dict[str, object]:
        kept = _kept(state)
        seconds = self.watch.seconds(task)
        error = state.result if state.is_failed() else None
        return {
            "task": task.slug,
            "state": type(state).__name__,
            "message": state.message,
            "seconds": None if seconds is None else round(seconds, 6),
            "result": kept.to_json() if kept else None,
            "error": Problem.of(error).to_json() if isinstance(error, BaseException) else None,
        }

    def _print_tracebacks(self, output: Output) -> None:
        for task, state in self._tasks():
            error = state.result if state.is_failed() else None
            if isinstance(error, BaseException):
                output.line()
                output.line(f"{task.slug}:", style="bold")
                output.text(without_engine(error))


def _kept(state: State) -> Kept | None:
    result = state._result  # noqa: SLF001  # the reference: to ask for the value could be to read it
    return Kept.of(result.handler.id, result.reference) if result.serialized and result.handler else None
