# SPDX-License-Identifier: Apache-2.0
"""What does a command say when something goes wrong, and with which exit code?"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import sys
from typing import TYPE_CHECKING, ParamSpec

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

__all__ = [
    "BROKEN_PIPE",
    "FAILED",
    "INTERRUPTED",
    "MISUSED",
    "CommandError",
    "InterruptedHalfway",
    "complain",
    "printable",
    "reported",
    "silence",
]

FAILED = 1
MISUSED = 2
_LONGEST = 2_000
# What a shell answers for a program that a signal ended: 128 and the number of SIGINT, and of SIGPIPE.
INTERRUPTED = 130
BROKEN_PIPE = 141

_UNWRITTEN = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})

P = ParamSpec("P")


class CommandError(Exception):
    """A command cannot do what it was asked to; the message is all that the user needs."""

    def __init__(self, message: str, code: int = MISUSED) -> None:
        super().__init__(message)
        self.code = code


class InterruptedHalfway(KeyboardInterrupt):
    """Ctrl-C came into something that can be gone on with; the message says how far it is, and how to."""


def printable(text: str, keep: str = "") -> str:
    """*text* on one line, with nothing that moves the cursor or colours the terminal; *keep* may stay as it is.

    Whoever can write to the backend or to a message would otherwise write the user's screen.
    """
    # Nearly all texts are, which is told much sooner for all of it than for each character.
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() or each in keep else _instead_of(each) for each in text)


def _instead_of(character: str) -> str:
    return " " if character in "\n\r\t" else character.encode("unicode_escape").decode()


def complain(message: str) -> None:
    """Say in one line, on standard error, what is wrong."""
    # What was printed before comes first; if nobody reads that, this is still worth saying.
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    # It may quote what somebody else wrote, who may have written a lot.
    shown = message if len(message) <= _LONGEST else f"{message[:_LONGEST]}..."
    print(f"strongroom: error: {printable(shown)}", file=sys.stderr)  # noqa: T201


def silence() -> None:
    """Let everything that is printed from now on, and what is still buffered, go nowhere: its reader is gone."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def reported(command: Callable[P, None]) -> Callable[P, None]:
    """*command*, ending with one clear line and the right exit code whatever it raises."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
            sys.stdout.flush()
        except KeyboardInterrupt as exc:
            said = f": {exc}" if isinstance(exc, InterruptedHalfway) else ""
            print(f"strongroom: interrupted{said}", file=sys.stderr)  # noqa: T201
            raise SystemExit(INTERRUPTED) from None
        except BrokenPipeError:
            # End like any program whose reader went away.
            silence()
            raise SystemExit(BROKEN_PIPE) from None
        except Exception as exc:  # a plugin or a bug of ours: the user gets a line, and a way to see more
            _report(exc, with_traceback=bool(kwargs.get("traceback")))

    return run


def _of_system(exc: OSError) -> str:
    """What the system says of a file that is closed to us, or of standard output; empty if it is of something else."""
    if isinstance(exc, PermissionError) and exc.filename is not None:
        return f"{os.fsdecode(exc.filename)!r}: {exc.strerror}; see to its permissions"
    # It is the one file that is written here by its descriptor, and so has no name in an error.
    if exc.errno in _UNWRITTEN and exc.filename is None:
        silence()
        return f"standard output cannot be written: {exc.strerror}"
    return ""


def _report(exc: Exception, *, with_traceback: bool) -> NoReturn:
    from strongroom import errors

    if with_traceback:
        import traceback

        # No local values: they could be anybody's data.
        traceback.print_exception(exc)
    misuse = (
        *(errors.SettingsError, errors.DefinitionError, errors.NotSupportedError),
        *(errors.UnknownRunError, errors.NotResumableError),
    )
    if isinstance(exc, CommandError):
        message, code = str(exc), exc.code
    elif isinstance(exc, errors.StrongroomError):
        message, code = str(exc), MISUSED if isinstance(exc, misuse) else FAILED
    elif isinstance(exc, OSError) and (said := _of_system(exc)):
        message, code = said, FAILED
    else:
        message, code = f"{type(exc).__name__}: {exc}; add --traceback to see where", FAILED
    complain(message)
    raise SystemExit(code)
