# SPDX-License-Identifier: Apache-2.0
"""How do secrets stay out of what is logged here, and off the terminal?"""

from __future__ import annotations

import logging
import sys
import threading
import traceback
from typing import TYPE_CHECKING, TextIO, cast

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["MaskedStream", "mask_local_output"]

_FAILED = "[could not be masked]"
_lock = threading.Lock()
_done: set[str] = set()


def mask_local_output(mask: Callable[[str, str], str]) -> None:
    """Mask the records of all loggers, and standard output and error where they are a terminal; once for a process."""
    with _lock:
        if _done:
            return
        _done.add("yes")
        logging.setLogRecordFactory(_masking(logging.getLogRecordFactory(), mask))
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            if stream is not None and stream.isatty():
                setattr(sys, name, MaskedStream(stream, mask))


def _masking(
    factory: Callable[..., logging.LogRecord], mask: Callable[[str, str], str]
) -> Callable[..., logging.LogRecord]:
    def make(*args: object, **kwargs: object) -> logging.LogRecord:
        record = factory(*args, **kwargs)
        try:
            _mask_record(record, mask)
        except Exception:  # what is logged is the user's, and so is how it becomes a text
            # Whatever cannot be masked may be a secret.
            record.msg, record.args, record.exc_text = _FAILED, (), _FAILED if record.exc_info else None
            record.exc_info = None
        return record

    return make


def _mask_record(record: logging.LogRecord, mask: Callable[[str, str], str]) -> None:
    text = record.getMessage()
    masked = mask(text, "log")
    # A record without secrets keeps its arguments, for handlers that look at them.
    if masked != text:
        record.msg, record.args = masked, ()
    if record.exc_info:
        shown = "".join(traceback.format_exception(*record.exc_info)).rstrip("\n")
        masked = mask(shown, "log")
        if masked != shown:
            # Formatters print this text where it is there, and do not look at the exception any more.
            record.exc_text, record.exc_info = masked, None


class MaskedStream:
    """A text stream that masks what is written to it, call by call; in everything else it is that stream."""

    def __init__(self, stream: TextIO, mask: Callable[[str, str], str]) -> None:
        self._stream = stream
        self._mask = mask

    def write(self, text: str) -> int:
        """Write *text* without what is secret; answers as if all of it had been written."""
        self._stream.write(self._mask(text, "print"))
        return len(text)

    def writelines(self, lines: list[str]) -> None:
        """Write each of *lines*."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> object:
        return cast("object", getattr(self._stream, name))
