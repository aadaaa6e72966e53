# SPDX-License-Identifier: Apache-2.0
"""How is a value of any type printed, so that a person can read it and the terminal survives it?"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["lines_of", "not_plain"]

_MOST_LINES = 60
_MOST_CHARACTERS = 20_000
_MOST_BYTES = 256
_PER_LINE = 16
_MOST_COLUMNS = 200


def lines_of(value: object, width: int) -> Iterator[str]:
    """*value* in lines, at most a screen or two of them; a last line says what was left out.

    Args:
        value: anything; what it costs does not grow with its size where that can be helped.
        width: how wide tables and arrays may be.
    """
    if isinstance(value, str):
        yield from _shortened(value.splitlines() or [""])
    elif isinstance(value, bytes | bytearray | memoryview):
        yield from _hexadecimal(memoryview(value).cast("B"))
    elif not_plain(value) is None:
        pieces = json.JSONEncoder(indent=2, ensure_ascii=False).iterencode(value)
        yield from _shortened(_lines(pieces))
    else:
        yield from _shortened(_text(value, min(width, _MOST_COLUMNS)).splitlines())


def not_plain(value: object) -> str | None:
    """Why *value* is not what JSON can hold unchanged; None if it is."""
    if value is None or isinstance(value, bool | int | str):
        return None
    if isinstance(value, float):
        return None if math.isfinite(value) else f"it has the number {value}"
    if type(value) is list:
        return next((why for each in value if (why := not_plain(each))), None)
    if type(value) is dict:
        if not all(type(key) is str for key in value):
            return "it has a key that is no text"
        return next((why for each in value.values() if (why := not_plain(each))), None)
    return f"it has a {type(value).__name__}"


def _text(value: object, width: int) -> str:
    """*value* as its own library prints it. Nothing is imported for that: what made it is imported already."""
    library = type(value).__module__.partition(".")[0]
    if library == "pandas":
        import pandas as pd

        with pd.option_context("display.width", width, "display.max_columns", None, "display.max_rows", 20):
            return repr(value)
    if library == "polars":
        import polars as pl

        with pl.Config(tbl_width_chars=width, tbl_rows=20):
            return repr(value)
    if library == "numpy":
        import numpy as np

        with np.printoptions(linewidth=width, threshold=1000):
            return repr(value)
    if library == "pyarrow":
        return str(value)
    from rich.pretty import pretty_repr

    return pretty_repr(value, max_width=width, max_length=_MOST_LINES, max_string=_MOST_CHARACTERS // 10)


def _hexadecimal(data: memoryview) -> Iterator[str]:
    for start in range(0, min(len(data), _MOST_BYTES), _PER_LINE):
        piece = bytes(data[start : start + _PER_LINE])
        seen = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in piece)  # noqa: PLR2004  # what ASCII can print
        yield f"{start:08x}  {piece.hex(' '):<{3 * _PER_LINE - 1}}  {seen}"
    if len(data) > _MOST_BYTES:
        yield f"({len(data) - _MOST_BYTES} more bytes; all of it: --raw or --out FILE)"


def _lines(pieces: Iterable[str]) -> Iterator[str]:
    """The lines that *pieces* make together, one after the other."""
    line = ""
    for piece in pieces:
        *whole, rest = (line + piece).split("\n")
        yield from whole
        line = rest
    yield line


def _shortened(lines: Iterable[str]) -> Iterator[str]:
    characters = 0
    for number, line in enumerate(lines):
        if number == _MOST_LINES or characters > _MOST_CHARACTERS:
            yield "(there is more; all of it: --json, --raw or --out FILE)"
            return
        characters += len(line)
        if len(line) > _MOST_CHARACTERS:
            yield f"{line[:_MOST_CHARACTERS]}..."
        else:
            yield line
