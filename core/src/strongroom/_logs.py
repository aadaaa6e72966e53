# SPDX-License-Identifier: Apache-2.0
"""What do the tasks of a run say to their loggers, and where does it go?

Into a file under the home that nobody else may read. The rest of the program hears of it what it heard before: our
handler stands at ``strongroom.task`` while a run goes on, and passes on what that logger would have let through.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import msgspec

from strongroom._error_info import error_info
from strongroom.context import context
from strongroom.documents import LogLine
from strongroom.errors import StrongroomError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from strongroom.documents import ErrorInfo

__all__ = [
    "LogFile",
    "LogPost",
    "Said",
    "collecting",
    "filtered",
    "level_here",
    "log_file",
    "pass_on",
    "reading",
    "writing",
]

_log = logging.getLogger("strongroom")
_tasks = logging.getLogger("strongroom.task")

_LONGEST = 64 << 10
# What a task in another process says waits there until it ends.
_MOST = 10_000
_BATCH = 200


@dataclass(frozen=True, slots=True)
class Said:
    """What a task said to a logger in another process; its text has no values but those that the task put there."""

    logger: str
    level: int
    text: str
    created: float
    file: str = ""
    number: int = 0
    function: str | None = None


@dataclass(frozen=True, slots=True)
class _Listener:
    hear: Callable[[logging.LogRecord], None]
    is_alone: bool
    """True if nobody else in this process is to hear of it."""


_listener: ContextVar[_Listener | None] = ContextVar("strongroom_log", default=None)
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(LogLine).decode


def log_file(home: Path, run_id: str) -> Path:
    """Where the lines of a run are, one JSON object on each line."""
    return home / "logs" / f"{run_id}.jsonl"


class LogFile:
    """The lines of one run on this machine's disk. Made with the first line; safe to use from several threads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._file: int | None = None
        self._failed = False

    def write(self, line: LogLine) -> None:
        """Add *line*. A disk that is full ends the log and not the task; a warning says so, once."""
        data = _encode(line) + b"\n"
        with self._lock:
            if self._failed:
                return
            try:
                if self._file is None:
                    self._file = self._open()
                view = memoryview(data)
                while view:
                    view = view[os.write(self._file, view) :]
            except OSError as exc:
                self._failed = True
                _log.warning("the log of this run ends here: %s cannot be written: %s", self._path, exc.strerror)

    def close(self) -> None:
        """End it; what is said later is not kept."""
        with self._lock:
            self._failed = True
            if self._file is not None:
                os.close(self._file)
                self._file = None

    def _open(self) -> int:
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # A link that somebody put there would lead the lines to a place of theirs.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
        return os.open(self._path, flags, 0o600)


class LogPost:
    """Lines on their way to the backend, some at a time, after they are written here."""

    def __init__(
        self,
        write: Callable[[LogLine], None],
        send: Callable[[tuple[LogLine, ...]], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._write = write
        self._send = send
        self._clock = clock
        self._lock = threading.RLock()
        self._lines: list[LogLine] = []
        self._size = 0
        self._since = 0.0
        self._failed = False

    def write(self, line: LogLine) -> None:
        """Add *line*; it leaves with the lines before it, or when it is the first of a second."""
        # One thread at a time, so that the lines leave in the order in which they are written here.
        with self._lock:
            self._write(line)
            if not self._lines:
                self._since = self._clock()
            self._lines.append(line)
            self._size += len(line.text)
            if len(self._lines) >= _BATCH or self._size >= _LONGEST or self._clock() - self._since >= 1.0:
                self._flush()

    def close(self) -> None:
        """Send what is left; what is said later stays here."""
        with self._lock:
            self._flush()
            self._failed = True

    def _flush(self) -> None:
        lines, self._lines, self._size = tuple(self._lines), [], 0
        if not lines or self._failed:
            return
        try:
            self._send(lines)
        except StrongroomError as exc:
            # The run is worth more than its log, which is here in any case.
            self._failed = True
            _log.warning("what tasks log leaves no longer, and is kept on this machine only: %s", exc)


def reading(path: Path) -> Iterator[LogLine]:
    """The lines in the file at *path*, none if there is no such file; one that a crash cut off is left out."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        for data in file:
            with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError):
                yield _decode(data)


def filtered(write: Callable[[LogLine], None], mask: Callable[[str, str], str]) -> Callable[[LogLine], None]:
    """*write*, for lines whose text is as *mask* leaves it; one that cannot be masked goes nowhere."""

    def masked(line: LogLine) -> None:
        try:
            text = mask(line.text, "log")
        except Exception as exc:  # a plugin's own code: whatever it raises, the line is not written as it is
            text = f"(this line was not kept, since masking it raised {type(exc).__name__})"
        write(line if text == line.text else msgspec.structs.replace(line, text=text))

    return masked


@contextlib.contextmanager
def writing(write: Callable[[LogLine], None]) -> Iterator[None]:
    """Hand what tasks say to *write*, in the threads that this one starts for them, too."""
    with _listening(_Listener(lambda record: write(_line(record)), is_alone=False)):
        yield


@contextlib.contextmanager
def _listening(listener: _Listener) -> Iterator[None]:
    token = _listener.set(listener)
    _tap.open()
    try:
        yield
    finally:
        _tap.close()
        _listener.reset(token)


@contextlib.contextmanager
def collecting(level: int) -> Iterator[list[Said]]:
    """Collect what a task says from *level* on, in a process where nobody listens, to `pass_on` where the run is."""
    said: list[Said] = []
    left_out = 0

    def add(record: logging.LogRecord) -> None:
        nonlocal left_out
        if len(said) < _MOST:
            place = record.pathname, record.lineno, record.funcName
            said.append(Said(record.name, record.levelno, _text(record), record.created, *place))
        else:
            left_out += 1

    with _listening(_Listener(add, is_alone=True)):
        _tasks.setLevel(level)
        try:
            yield said
        finally:
            if left_out:
                text = f"{left_out} more lines were not kept"
                said.append(Said(_tasks.name, logging.WARNING, text, time.time()))


def level_here() -> int:
    """From which level on the running task's logger lets anything through."""
    return context.logger.getEffectiveLevel()


def pass_on(said: Iterable[Said]) -> None:
    """Say here, to whoever listens here, what the running task said elsewhere."""
    for each in said:
        logger = logging.getLogger(each.logger)
        if logger.isEnabledFor(each.level):
            place = each.file, each.number
            # In the one way that programs can have a say in, such as to mask secrets.
            make = logging.getLogRecordFactory()
            record = make(each.logger, each.level, *place, each.text, (), None, each.function)
            record.created, record.msecs = each.created, each.created % 1 * 1000
            logger.handle(record)


class _Tap(logging.Handler):
    """Stands at the logger of all tasks while runs go on."""

    def __init__(self) -> None:
        super().__init__()
        self._runs = 0
        self._turns = threading.Lock()
        self._level = logging.NOTSET
        self._propagated = True

    def open(self) -> None:
        with self._turns:
            self._runs += 1
            if self._runs > 1:
                return
            self._level, self._propagated = _tasks.level, _tasks.propagate
            # Whoever logs what a task does wants to find it, though Python starts with warnings only.
            if self._level == logging.NOTSET:
                _tasks.setLevel(min(logging.INFO, _tasks.getEffectiveLevel()))
            _tasks.propagate = False
            _tasks.addHandler(self)

    def close(self) -> None:
        # Never by logging itself, at exit: nothing is held that has to be let go.
        with self._turns:
            if self._runs == 0:
                return
            self._runs -= 1
            if self._runs == 0:
                _tasks.removeHandler(self)
                _tasks.propagate = self._propagated
                _tasks.setLevel(self._level)

    def emit(self, record: logging.LogRecord) -> None:
        listener = _listener.get()
        if listener is not None:
            try:
                listener.hear(record)
            except Exception:  # what is logged is the user's, and so is how it becomes a text
                self.handleError(record)
            if listener.is_alone:
                return
        if self._propagated and record.levelno >= self._level_of(record.name) and _tasks.parent is not None:
            _tasks.parent.callHandlers(record)

    def _level_of(self, name: str) -> int:
        """From which level on a logger would have said anything, were we not here."""
        logger = logging.getLogger(name)
        while logger is not _tasks and logger.parent is not None:
            if logger.level:
                return logger.level
            logger = logger.parent
        return self._level or (_tasks.parent.getEffectiveLevel() if _tasks.parent is not None else logging.NOTSET)


_tap = _Tap()


def _line(record: logging.LogRecord) -> LogLine:
    index = context.get("map_index")
    return LogLine(
        at=int(record.created * 1e6),
        task=cast("str", context.get("task_slug", "")),
        map_index=index if isinstance(index, int) else -1,
        level=record.levelname,
        text=_text(record),
    )


def _text(record: logging.LogRecord) -> str:
    text = record.getMessage()
    error = record.exc_info[1] if record.exc_info else None
    if error is not None:
        text = "\n".join((text, *_told(error_info(error))))
    if len(text) > _LONGEST:
        text = f"{text[:_LONGEST]}... ({len(text) - _LONGEST} more characters)"
    # Names of files may hold bytes that are no text.
    return text.encode("utf-8", "backslashreplace").decode()


def _told(error: ErrorInfo) -> Iterator[str]:
    """*error* as a traceback without source lines, which hold what nobody meant to log."""
    if error.cause is not None:
        yield from _told(error.cause)
        yield "which led to:"
    yield from (f'  File "{frame.file}", line {frame.line}, in {frame.function}' for frame in error.frames)
    yield f"{error.kind.removeprefix('builtins.')}: {error.message}"
    yield from error.notes
    for member in error.members:
        yield from _told(member)
