# SPDX-License-Identifier: Apache-2.0
"""What does a run look like while it runs?"""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING

from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from strongroom_cli._errors import complain, printable, silence
from strongroom_cli._output import duration, state_text
from strongroom_cli._problems import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console, RenderableType

    from strongroom import State, Task
    from strongroom_cli._watch import Watch

__all__ = ["drawn", "explained", "told"]

_MOST_ROWS = 20
_MOST_LINES = 50
_PARTS = 10
# What stays free of a terminal's height: the last prompt, and the line below the tasks.
_MARGIN = 3


def explained(state: State) -> str:
    """Why a task failed, in one line; empty if it did not."""
    if not state.is_failed():
        return ""
    error = state.result
    return Problem.of(error).line if isinstance(error, BaseException) else state.message or ""


@contextlib.contextmanager
def drawn(watch: Watch, console: Console) -> Iterator[None]:
    """Draw the tasks on a terminal, again and again, until the block ends; what is printed comes out above."""

    def tell(task: Task, old: State, new: State) -> None:
        # Of other failures the summary tells; why a task was run again would be forgotten.
        if not new.is_retrying():
            return
        # A terminal may go away. That is no reason for a task to fail.
        with contextlib.suppress(OSError):
            console.print(Text(printable(_line(task, new, explained(old)))), soft_wrap=True)

    few = watch.total <= min(_MOST_ROWS, console.height - _MARGIN)
    watch.listener = tell
    with Live(
        get_renderable=lambda: _rows(watch) if few else _bars(watch),
        console=console,
        # It draws by its own clock: a run of many tasks does not draw more often.
        refresh_per_second=8 if few else 4,
        transient=True,
    ):
        try:
            yield
        finally:
            watch.listener = None
            # What was printed without an end of line would be lost with the display.
            sys.stdout.flush()
            sys.stderr.flush()


def _rows(watch: Watch) -> RenderableType:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    table.add_column(no_wrap=True, min_width=len("Retrying"))
    table.add_column(no_wrap=True, justify="right", min_width=len("999 ms"))
    for task, name in watch.types().items():
        table.add_row(printable(task.slug), state_text(name), duration(watch.seconds(task)))
    table.add_row(*_total(watch))
    return table


def _bars(watch: Watch) -> RenderableType:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    for name, count in sorted(watch.counts().items()):
        table.add_row(state_text(name), ProgressBar(watch.total, count, width=20), str(count))
    table.add_row(*_total(watch))
    return table


def _total(watch: Watch) -> tuple[Text, str, str]:
    return Text(f"{watch.finished} of {watch.total} tasks", style="bold"), "", duration(watch.elapsed)


def _line(task: Task, state: State, reason: str, spent: float | None = None) -> str:
    after = f" after {duration(spent)}" if spent is not None else ""
    return f"{task.slug}: {type(state).__name__}{after}{f': {reason}' if reason else ''}"


@contextlib.contextmanager
def told(watch: Watch) -> Iterator[None]:
    """Print a line for each task that comes to something, until the block ends; of many tasks only for some."""
    lines = _Lines(watch)
    watch.listener = lines.tell
    try:
        yield
    finally:
        watch.listener = None


class _Lines:
    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._every = 1 if watch.total <= _MOST_LINES else watch.total // _PARTS
        self._told = 0

    def tell(self, task: Task, old: State, new: State) -> None:  # noqa: ARG002  # as it is called
        """Print what is worth a line. A failure always is."""
        if new.is_failed() or (self._every == 1 and (new.is_finished() or new.is_retrying())):
            spent = self._watch.seconds(task) if new.is_finished() else None
            self._print(_line(task, new, explained(new), spent))
        finished = self._watch.finished
        if self._every > 1 and finished >= self._told + self._every:
            self._told = finished
            self._print(f"{finished} of {self._watch.total} tasks finished")

    def _print(self, line: str) -> None:
        try:
            print(printable(line), flush=True)  # noqa: T201
        except OSError as exc:
            # That nobody reads any more is no reason for a task to fail: neither here nor when it prints.
            silence()
            if not isinstance(exc, BrokenPipeError):
                complain(f"the run goes on, and standard output cannot be written: {exc.strerror}")
