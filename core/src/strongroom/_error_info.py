# SPDX-License-Identifier: Apache-2.0
"""What of an exception may be told, sealed?"""

from __future__ import annotations

from strongroom.crossing import kind_of, traced
from strongroom.documents import ErrorInfo, Frame

__all__ = ["error_info"]

_MAX_DEPTH = 10
_MAX_FRAMES = 100
_MAX_TEXT = 16_384


def error_info(error: BaseException, depth: int = 0) -> ErrorInfo:
    """*error* as inert data, with its chain, notes, group and frames; long texts and deep chains are cut."""
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    members = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
    deeper = depth + 1 < _MAX_DEPTH
    return ErrorInfo(
        kind=kind_of(error),
        message=_text(error),
        frames=_frames(error),
        notes=_notes(error),
        cause=error_info(cause, depth + 1) if cause is not None and deeper else None,
        members=tuple(error_info(member, depth + 1) for member in members[:_MAX_FRAMES]) if deeper else (),
    )


def _text(value: object) -> str:
    try:
        text = str(value)[:_MAX_TEXT]
    except Exception as exc:  # the exception is the user's class, and its __str__ may raise anything
        return f"<its text could not be made: {type(exc).__name__}>"
    # The name of a file may hold bytes that are no text, and so may the message about it.
    return text.encode("utf-8", "backslashreplace").decode()


def _notes(error: BaseException) -> tuple[str, ...]:
    # By its name it is a list of texts, but nothing stops the user's code from putting anything there.
    notes = getattr(error, "__notes__", ())
    return tuple(_text(note) for note in notes[:_MAX_FRAMES]) if isinstance(notes, (list, tuple)) else ()


def _frames(error: BaseException) -> tuple[Frame, ...]:
    return tuple(Frame(_text(file), line, function) for file, line, function in list(traced(error))[-_MAX_FRAMES:])
