# SPDX-License-Identifier: Apache-2.0
"""How does an exception get from one process to another, with its chain, notes and traceback?

Pickle alone loses these three, and cannot bring back a class whose ``__init__`` takes anything but the message. An
executor with processes of its own lets its pickler ask `reduce_error` about every exception.
"""

from __future__ import annotations

import traceback
import types
from contextvars import ContextVar
from typing import TYPE_CHECKING, TypeAlias

from strongroom.errors import RecordedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from strongroom.errors import TaskTimeoutError

__all__ = ["as_recorded", "kind_of", "last_resort", "reduce_error", "traced"]

_LastResort: TypeAlias = "Callable[[float, TaskTimeoutError], AbstractContextManager[object]]"

last_resort: ContextVar[_LastResort | None] = ContextVar("strongroom_last_resort", default=None)
"""What watches over a call with a timeout from outside of Python: ``last_resort(seconds, error)`` is open meanwhile.

Some calls, such as ``sum(range(10**13))``, let no other thread run, so that nobody in the process can look at the clock
and raise *error* after so many *seconds*. Whoever owns the process can see to its end then.
"""

_MAX_FRAMES = 100

_Frame = tuple[str, int, str]


def reduce_error(error: BaseException) -> tuple[object, ...]:
    """What `pickle.Pickler.reducer_override` may answer for *error*.

    What comes back has the same class, arguments, attributes, cause, context and notes, and a traceback with the same
    files, lines and names of functions. The frames in it hold no local values.
    """
    kind, arguments = _constructor(error)
    state = (
        dict(getattr(error, "__dict__", {})),
        error.__cause__,
        error.__context__,
        error.__suppress_context__,
        list(traced(error))[-_MAX_FRAMES:],
    )
    return kind, arguments, state, None, None, _restore


def traced(error: BaseException) -> Iterator[_Frame]:
    """Where *error* came through: file, line and function of each frame. Nothing reads the source for that.

    Some instructions belong to no line of it, and a ctrl-C may come there, too: then it is that of the function itself.
    """
    for frame, line in traceback.walk_tb(error.__traceback__):
        code = frame.f_code
        yield code.co_filename, line if line and line > 0 else code.co_firstlineno, code.co_qualname


def kind_of(error: BaseException) -> str:
    """What the class of *error* is called, with its module; of one that stands for another, that one's."""
    return error.kind if isinstance(error, RecordedError) else _name(type(error))


def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def as_recorded(error: BaseException) -> RecordedError:
    """What stands for an exception that cannot be pickled: its class by name, and its message.

    It has the chain and the traceback of *error* and, if they are texts, its notes.
    """
    try:
        message = str(error)
    except Exception as exc:  # the exception is the user's class, and its __str__ may raise anything
        message = f"<its text could not be made: {type(exc).__name__}>"
    kinds = tuple(map(_name, type(error).__mro__))
    recorded = RecordedError(kinds[0], message, kinds)
    recorded.__cause__, recorded.__context__ = error.__cause__, error.__context__
    recorded.__suppress_context__ = error.__suppress_context__
    notes = getattr(error, "__notes__", ())
    for note in notes if isinstance(notes, (list, tuple)) else ():
        if isinstance(note, str):
            recorded.add_note(note)
    return recorded.with_traceback(error.__traceback__)


def _constructor(error: BaseException) -> tuple[Callable[..., object], tuple[object, ...]]:
    """What makes *error* anew: its own way if that works, or its class and arguments without its ``__init__``."""
    try:
        reduced = error.__reduce_ex__(2)
        assert isinstance(reduced, tuple)  # noqa: S101  # else its own way is none that we know
        make, arguments = reduced[:2]
        again = make(*arguments)
        if type(again) is type(error) and _same(again.args, error.args):
            return make, arguments
    except Exception:  # noqa: S110  # the user's class: whatever its own way raises, it does not lead here
        pass
    return _without_init, (type(error), error.args)


def _same(left: Sequence[object], right: Sequence[object]) -> bool:
    return len(left) == len(right) and all(a is b or bool(a == b) for a, b in zip(left, right, strict=True))


def _without_init(kind: type[BaseException], arguments: tuple[object, ...]) -> BaseException:
    error = kind.__new__(kind, *arguments)
    error.args = arguments
    return error


def _restore(
    error: BaseException,
    state: tuple[Mapping[str, object], BaseException | None, BaseException | None, bool, Sequence[_Frame]],
) -> None:
    attributes, error.__cause__, error.__context__, error.__suppress_context__, frames = state
    if attributes:
        error.__dict__.update(attributes)
    error.__traceback__ = _traceback(frames)


def _traceback(frames: Sequence[_Frame]) -> types.TracebackType | None:
    found: types.TracebackType | None = None
    for file, line, function in reversed(frames):
        # An instruction of -1 is none: then nobody asks the code in the frame, which is not the real one, for the line.
        found = types.TracebackType(found, _frame(file, line, function), -1, line)
    return found


def _frame(file: str, line: int, function: str) -> types.FrameType:
    """A frame that says where it was, and holds nothing. Python makes one only by running something there."""
    code = compile("raise LookupError", file, "exec").replace(
        co_name=function.rpartition(".")[2], co_qualname=function, co_firstlineno=line
    )
    try:
        exec(code, {"LookupError": LookupError})  # noqa: S102  # the line above, with another name
    except LookupError as exc:
        for frame, _ in traceback.walk_tb(exc.__traceback__):
            if frame.f_code is code:
                return frame
    raise AssertionError("what was compiled to raise did not")
