# SPDX-License-Identifier: Apache-2.0
"""How is something put on a terminal of any width, or into a pipe?"""

from __future__ import annotations

import json
import os
import sys
from datetime import datetime
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from strongroom_cli._errors import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = [
    "Output",
    "duration",
    "moment",
    "print_json",
    "size",
    "state_text",
]

_NO_WIDTH = 100_000
_GAP = "  "
_NOTHING = frozenset({"", "-"})
_KILO = 1000
_MINUTE = 60

_STYLES = {
    "Success": "green",
    "Cached": "green",
    "Mapped": "green",
    "Skipped": "dim",
    "Failed": "red",
    "TimedOut": "red",
    "TriggerFailed": "red",
    "ValidationFailed": "red",
    "Cancelled": "yellow",
    "Cancelling": "yellow",
    "Retrying": "yellow",
    "Running": "blue",
    "Pending": "dim",
}


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Called while a `BrokenPipeError` is handled: let `reported` end the command as it ends all of them."""
        raise  # noqa: PLE0704


class Output:
    """Standard output: coloured on a terminal, as wide as that is, and of any width in a pipe."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or _standard_output()
        self.width = self.console.width
        # Without colours there is nothing for rich to do, and a run of many tasks has many lines.
        self._is_plain = self.console.color_system is None and not self.console.is_terminal

    def line(self, text: str | Text = "", *, style: str = "", indent: str = "") -> None:
        """Print *text*, broken between words where it is too long.

        A word that is too long, such as a path, is left to the terminal to break, so that it can be copied whole.
        """
        shown = Text(printable(text), style=style) if isinstance(text, str) else text
        free = self.width - len(indent)
        fits = all(cell_len(word) <= free for word in shown.plain.split())
        for line in shown.wrap(self.console, free) if fits and _width(shown) > free else [shown]:
            self._print(Text(indent).append_text(line))

    def pieces(self, pieces: Iterable[Text], indent: str = "") -> None:
        """Print *pieces* beside each other, going to the next line where the next one would not be whole."""
        line = Text()
        for piece in pieces:
            if line and len(indent) + _width(line) + len(_GAP) + _width(piece) > self.width:
                self.line(line, indent=indent)
                line = Text()
            line = line.append(_GAP).append_text(piece) if line else Text().append_text(piece)
        if line:
            self.line(line, indent=indent)

    def text(self, text: str) -> None:
        """Print *text*, which has lines of its own."""
        self._print(Text(printable(text, keep="\n")))

    def _print(self, text: Text) -> None:
        if self._is_plain:
            self.console.file.write(f"{text.plain}\n")
        else:
            self.console.print(text, soft_wrap=True)

    def table(self, heads: Sequence[str], rows: Iterable[Sequence[str | Text]], *, right: Sequence[str] = ()) -> None:
        """Print *rows* below their *heads*, those named in *right* aligned to the right.

        Cells beyond the heads are notes, each on a line of its own. Where the table is too wide, so is the last cell
        of each row; where that does not help either, each row becomes a paragraph.
        """
        if self._is_plain and self.width == _NO_WIDTH:
            self._plain_rows(heads, rows, [head in right for head in heads])
            return
        table = [[_cell(each) for each in row] for row in rows]
        widths = [max(map(_width, column)) for column in zip(map(Text, heads), *table, strict=False)]
        for columns in (len(heads), len(heads) - 1):
            if sum(widths[:columns]) + len(_GAP) * (columns - 1) <= self.width:
                self._rows(heads[:columns], table, widths, [head in right for head in heads])
                return
        for row in table:
            self._paragraph(heads, row)

    def _plain_rows(self, heads: Sequence[str], rows: Iterable[Sequence[str | Text]], right: Sequence[bool]) -> None:
        """Print a table as `_rows` does, with strings alone: into a pipe goes no colour, and a line of any length."""
        table = [[each.plain if isinstance(each, Text) else printable(each) for each in row] for row in rows]
        columns = [*zip(heads, *(row[: len(heads)] for row in table), strict=True)]
        padded = (_padded(column, end=end) for column, end in zip(columns, right, strict=True))
        for cells, notes in zip(zip(*padded, strict=True), ([], *(row[len(heads) :] for row in table)), strict=True):
            self.console.file.write(f"{_GAP.join(cells).rstrip()}\n")
            for note in notes:
                if note not in _NOTHING:
                    self.console.file.write(f"    {note}\n")

    def _rows(
        self, heads: Sequence[str], table: Sequence[Sequence[Text]], widths: Sequence[int], right: Sequence[bool]
    ) -> None:
        columns = len(heads)
        self.line(_joined([Text(head, style="bold") for head in heads], widths, right))
        for row in table:
            self.line(_joined(row[:columns], widths, right))
            for rest in row[columns:]:
                if rest.plain not in _NOTHING:
                    self.line(rest, indent="    ")

    def _paragraph(self, heads: Sequence[str], row: Sequence[Text]) -> None:
        self.line(row[0])
        cells = [(head, cell) for head, cell in zip(heads[1:], row[1:], strict=False) if cell.plain not in _NOTHING]
        self.pieces([Text(f"{head} ", style="dim").append_text(cell) for head, cell in cells], indent=_GAP)
        for note in row[len(heads) :]:
            self.line(note, indent=_GAP)


def _standard_output() -> Console:
    console = _Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal and not os.environ.get("COLUMNS"):
        # Nobody looks at the right edge of a pipe, and what reads from it wants whole lines.
        console.width = _NO_WIDTH
    return console


def _width(text: Text) -> int:
    return cell_len(text.plain)


def _padded(column: Sequence[str], *, end: bool) -> list[str]:
    """The texts of *column* with spaces before them, if they stand at its *end*, or after them: all equally wide."""
    if all(map(str.isascii, column)):
        # Of these each character is as wide as any other, so that Python's own padding does.
        width = max(map(len, column))
        return [text.rjust(width) if end else text.ljust(width) for text in column]
    widths = [*map(cell_len, column)]
    free = [" " * (max(widths) - width) for width in widths]
    return [space + text if end else text + space for text, space in zip(column, free, strict=True)]


def _cell(value: str | Text) -> Text:
    return value if isinstance(value, Text) else Text(printable(value))


def _joined(cells: Sequence[Text], widths: Sequence[int], right: Sequence[bool]) -> Text:
    line = Text()
    for cell, width, to_the_right in zip(cells, widths, right, strict=False):
        free = " " * (width - _width(cell))
        line.append(free if to_the_right else "").append_text(cell).append("" if to_the_right else free).append(_GAP)
    line.rstrip()
    return line


def state_text(name: str) -> Text:
    """The name of a type of state, in its colour."""
    return Text(printable(name), style=_STYLES.get(name, ""))


def print_json(value: object) -> None:
    """Print *value* as JSON, for programs."""
    # In ASCII, since there are characters beyond it that a terminal obeys.
    json.dump(value, sys.stdout, indent=2)
    sys.stdout.write("\n")


def size(count: int | None) -> str:
    """A number of bytes for people, such as ``9.4 kB``."""
    if count is None:
        return "-"
    if count < _KILO:
        return f"{count} B"
    number = float(count)
    for unit in ("kB", "MB", "GB"):
        number /= _KILO
        # What would be rounded to a thousand is one of the next unit.
        if number < _KILO - 0.05:
            return f"{number:.1f} {unit}"
    return f"{number / _KILO:.1f} TB"


def duration(seconds: float | None) -> str:
    """A time span for people, such as ``31 ms`` or ``2 min 05 s``."""
    if seconds is None:
        return "-"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < _MINUTE:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), _MINUTE)
    hours, minutes = divmod(minutes, _MINUTE)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def moment(at: int) -> str:
    """A time in microseconds since 1970-01-01 UTC, as the clock on the wall showed it."""
    try:
        return datetime.fromtimestamp(at / 1e6).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    except (OverflowError, ValueError, OSError):
        return str(at)
