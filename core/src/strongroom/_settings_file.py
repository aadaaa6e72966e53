# SPDX-License-Identifier: Apache-2.0
"""What does the nearest file of a name set?"""

from __future__ import annotations

import os
import re
import stat
from functools import lru_cache
from typing import TYPE_CHECKING

from strongroom._settings import LIMITS, SECTIONS, STORAGE, TYPES, Found, convert, hint
from strongroom.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

__all__ = ["from_file", "read", "unreadable"]


def from_file(cwd: Path, name: str) -> Iterator[tuple[str, Found]]:
    """The settings of the nearest file *name* that has any."""
    for folder in (cwd, *cwd.parents):
        path = folder / name
        try:
            status = path.stat()
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as exc:
            raise unreadable(path, exc) from exc
        found = read(path, (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns))
        if found is not None:
            yield from found
            return


@lru_cache(maxsize=64)
def read(path: Path, _stamp: tuple[int, ...]) -> tuple[tuple[str, Found], ...] | None:
    """What the file sets, or None if it is not about strongroom; *_stamp* changes whenever the file does."""
    try:
        text = path.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as exc:
        raise unreadable(path, exc) from exc
    foreign = path.name == "pyproject.toml"
    # Most projects' files say nothing of us: do not parse them, nor complain about their mistakes.
    if foreign and "strongroom" not in text:
        return None
    table = _parse_toml(path, text)
    if foreign:
        table = _table(_table(table, "tool", path), "strongroom", path)
        if not table:
            return None
    _refuse_planted(path)
    origin = str(path)
    return tuple(
        (key, Found(convert(key, value, origin, strict=True), origin, path.parent)) for key, value in _flat(table, path)
    )


def unreadable(path: Path, exc: OSError | UnicodeDecodeError) -> SettingsError:
    """What to raise for a file that is there, or should be, and cannot be read."""
    return SettingsError(f"{path} cannot be read: {exc.strerror if isinstance(exc, OSError) else 'it is not UTF-8'}")


def _parse_toml(path: Path, text: str) -> dict[str, object]:
    import tomllib  # most projects have no such file

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        # Only the line: the parser's own words may quote what stands there.
        line = re.search(r"at line (\d+)", str(exc))
        where = f"line {line[1]}" if line else "the last line"
        raise SettingsError(f"{path}, {where}: this is not TOML") from None


def _table(parent: Mapping[str, object], name: str, path: Path) -> dict[str, object]:
    table = parent.get(name, {})
    if not isinstance(table, dict):
        raise SettingsError(f"{path}: {name} must be a table, such as [{name}]")
    return table


def _flat(table: Mapping[str, object], path: Path) -> Iterator[tuple[str, object]]:
    """The settings of a file under their full names."""
    for name, value in table.items():
        if name in SECTIONS:
            for key, inner in _table(table, name, path).items():
                yield _known(f"{name}.{key}", path), inner
        elif name == LIMITS:
            yield from ((f"{LIMITS}.{tag}", number) for tag, number in _table(table, name, path).items())
        elif name == STORAGE:
            yield from ((f"{STORAGE}.{url}", options) for url, options in _table(table, name, path).items())
        elif isinstance(value, dict) and name not in TYPES:
            near = hint(name, (*SECTIONS, LIMITS, STORAGE))
            raise SettingsError(f"{path}: [{name}] is not a section of the settings{near}")
        else:
            yield _known(name, path), value


def _known(key: str, path: Path) -> str:
    if key not in TYPES:
        raise SettingsError(f"{path}: {key} is not a setting{hint(key, TYPES)}")
    return key


def _refuse_planted(path: Path) -> None:
    """Refuse a file that somebody else may have put above the project, say into /tmp, to send results elsewhere."""
    if not hasattr(os, "getuid"):
        return
    everybody_writes = path.parent.stat().st_mode & stat.S_IWOTH
    if everybody_writes and path.stat().st_uid not in (os.getuid(), 0):
        raise SettingsError(f"{path} is another user's, in a folder where everybody may write; remove it, or move away")
