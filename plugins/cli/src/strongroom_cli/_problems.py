# SPDX-License-Identifier: Apache-2.0
"""What went wrong in the user's code, and in which line of it?"""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import strongroom
from strongroom.crossing import kind_of, traced
from strongroom.documents import Frame
from strongroom_cli._paths import short_path

if TYPE_CHECKING:
    from strongroom.documents import ErrorInfo

__all__ = ["Problem", "is_ours", "without_engine"]

_LONGEST = 500

# Code that the user calls, rather than code that the user wrote.
_LIBRARIES = ("/site-packages/", "/dist-packages/", "/lib/python3.")
_OURS = tuple(str(Path(file).parent) + "/" for file in (strongroom.__file__, __file__))


@dataclass(frozen=True, slots=True)
class Problem:
    """An exception as a person wants to read it."""

    kind: str
    """The full name of its class."""
    message: str
    frames: tuple[Frame, ...]

    @classmethod
    def of(cls, error: BaseException) -> Problem:
        """*error*, as it was raised in this process."""
        try:
            message = str(error)
        except Exception as exc:  # the class is the user's, and its __str__ may raise anything
            message = f"<its text could not be made: {type(exc).__name__}>"
        frames = [Frame(*each) for each in traced(error)]
        if isinstance(error, SyntaxError) and error.filename:
            # There is no frame for a line that could not be compiled.
            message = error.msg
            frames.append(Frame(error.filename, error.lineno or 0, "<module>"))
        return cls(kind_of(error), message, tuple(frames))

    @classmethod
    def recorded(cls, info: ErrorInfo) -> Problem:
        """An exception as the record of a run has it."""
        return cls(info.kind, info.message, info.frames)

    @property
    def place(self) -> Frame | None:
        """The innermost line that the user wrote; None if no such line had a part in it."""
        return next((frame for frame in reversed(self.frames) if _is_own(frame.file)), None)

    @property
    def line(self) -> str:
        """All of it in one line: class, message, file and line."""
        name = self.kind.rpartition(".")[2]
        message = self.message if len(self.message) <= _LONGEST else f"{self.message[:_LONGEST]}..."
        said = f"{name}: {message}" if message else name
        place = self.place
        return f"{said} ({short_path(place.file)}:{place.line})" if place else said

    def to_json(self) -> dict[str, object]:
        """What a program may want to know of it."""
        place = self.place
        return {
            "kind": self.kind.removeprefix("builtins."),
            "message": self.message,
            "file": place.file if place else None,
            "line": place.line if place else None,
        }


def without_engine(error: BaseException) -> str:
    """The traceback of *error*, and of what it was raised from, without the frames that are ours; no local values."""
    report = traceback.TracebackException.from_exception(error)
    _leave_out_ours(report)
    return "".join(report.format()).rstrip()


def _leave_out_ours(report: traceback.TracebackException) -> None:
    report.stack = traceback.StackSummary.from_list([frame for frame in report.stack if not is_ours(frame.filename)])
    for inner in (report.__cause__, report.__context__, *(getattr(report, "exceptions", None) or ())):
        if inner is not None:
            _leave_out_ours(inner)


def is_ours(file: str) -> bool:
    """True if *file* belongs to strongroom rather than to its user."""
    return file.startswith(_OURS)


def _is_own(file: str) -> bool:
    return not is_ours(file) and not file.startswith("<") and not any(part in file for part in _LIBRARIES)
