# SPDX-License-Identifier: Apache-2.0
"""What did the tasks of a run log?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from strongroom_cli._errors import CommandError, printable
from strongroom_cli._history import find_run, open_record
from strongroom_cli._output import Output, moment, print_json
from strongroom_cli._read import no_such_task

if TYPE_CHECKING:
    from strongroom.documents import LogLine

__all__ = ["logs"]

_STYLES = {"WARNING": "yellow", "ERROR": "red", "CRITICAL": "red", "DEBUG": "dim"}


def logs(run: str, task: str, *, as_json: bool) -> None:
    """Print the lines of *run*, in the order in which they were said; of one *task* only, if given.

    Raises:
        CommandError: there is no such task.
    """
    with open_record() as (project, backend):
        run_id = find_run(project, backend, run)
        lines = [line for line in project.logs(run_id, backend) if task in {"", line.task}]
        if task and not lines:
            slugs = project.documents(backend, run_id, task=task)
            if next(iter(slugs), None) is None:
                raise CommandError(no_such_task(project, backend, run_id, task))
    if as_json:
        print_json([_json(line) for line in lines])
        return
    output = Output()
    for line in lines:
        _print(output, line)
    if not lines:
        output.line("nothing was logged; a task logs by context.logger, and by print if it has log_stdout=True")


def _print(output: Output, line: LogLine) -> None:
    head = Text(f"{moment(line.at)} ", style="dim")
    head.append(printable(f"{line.level:7} "), style=_STYLES.get(line.level, ""))
    head.append(printable(f"{_label(line)}: "), style="bold")
    first, *rest = line.text.split("\n")
    output.line(head.append(printable(first), style="not bold not dim"))
    for more in rest:
        output.line(f"    {printable(more)}")


def _label(line: LogLine) -> str:
    return line.task if line.map_index < 0 else f"{line.task}[{line.map_index}]"


def _json(line: LogLine) -> dict[str, object]:
    return {
        "at": line.at,
        "task": line.task,
        "map_index": None if line.map_index < 0 else line.map_index,
        "level": line.level,
        "text": line.text,
    }
