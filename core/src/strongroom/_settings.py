# SPDX-License-Identifier: Apache-2.0
"""Which settings are in force, and who set each of them?

From weak to strong: the defaults, the nearest ``strongroom.toml``, ``[tool.strongroom]`` in the nearest
``pyproject.toml`` that has it, and ``STRONGROOM_*`` variables. No message repeats a value: it may be a secret.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import msgspec

from strongroom.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

__all__ = ["Backend", "Egress", "Masked", "Plugins", "Results", "Settings", "Tasks", "load", "load_file"]

_PREFIX = "STRONGROOM_"
_OF_TESTS = "STRONGROOM_TEST_"


class _Section(msgspec.Struct, frozen=True):
    def __repr__(self) -> str:
        # Names only: a representation ends up in logs, and a URL may hold a password.
        return f"{type(self).__name__}({', '.join(self.__struct_fields__)})"


class Results(_Section, frozen=True):
    """How results are kept, and which formats are read."""

    storage: str = ""
    """An fsspec URL or an absolute path; empty means the folder ``results`` under the home."""
    serializer: str = "auto"
    persist: bool = False
    require_encryption: bool = False
    """Write and read no result that is not encrypted."""
    allow: tuple[str, ...] = (
        *("arrow", "arrow.parquet", "json", "pickle"),
        *("compressed", "compressed.bz2", "compressed.gzip", "compressed.lz4", "compressed.xz", "encrypted"),
    )
    """The ids of the serializers and codecs that may decode what is stored."""


class Tasks(_Section, frozen=True):
    """What holds for every task that does not say otherwise."""

    persist_result: bool | None = None
    """None leaves the decision to the flow and to ``results.persist``."""


class Plugins(_Section, frozen=True):
    """Which plugins may be loaded."""

    allow: tuple[str, ...] | None = None
    """The names of plugins; None allows all that are installed."""


class Backend(_Section, frozen=True):
    """Where the record of runs is kept."""

    id: str = ""
    """Empty means ``sql`` if that plugin is installed, else ``memory``."""
    url: str = ""
    """Empty means a database file under the home."""


class Masked(_Section, frozen=True):
    """What the plugin ``masked`` blots out, beside what it knows by itself."""

    secrets: tuple[str, ...] = ()
    """Names of secrets, as of `strongroom.Secret`, whose values are blotted out from the beginning."""
    patterns: tuple[str, ...] = ()
    names: tuple[str, ...] = ()


_Word: TypeAlias = Literal["clear", "mask", "token", "seal", "drop"]


class Egress(_Section, frozen=True):
    """What may leave for the backend, field by field; None leaves the default of `strongroom.documents` in force."""

    strict: bool = False
    """Tightens everything: names become tokens, and no setting or plugin lets anything else out in clear."""
    require: tuple[str, ...] = ()
    """The names of plugins without which no document leaves."""
    logs: Literal["local", "seal"] = "local"
    """Whether what tasks log stays on this machine only, or leaves sealed, too."""
    name: _Word | None = None
    task: _Word | None = None
    run_name: _Word | None = None
    parameters: _Word | None = None
    secrets: _Word | None = None
    tasks: _Word | None = None
    message: _Word | None = None
    result: _Word | None = None
    error: _Word | None = None
    error_class: _Word | None = None
    error_message: _Word | None = None
    error_notes: _Word | None = None
    error_frames: _Word | None = None
    cached_inputs: _Word | None = None
    start_time: _Word | None = None
    task_run_name: _Word | None = None
    tags: _Word | None = None
    cache: _Word | None = None


class Settings(_Section, frozen=True):
    """The settings in force."""

    home: Path
    """An absolute path; the folder need not exist."""
    results: Results
    tasks: Tasks
    plugins: Plugins
    backend: Backend
    egress: Egress
    masked: Masked
    limits: Mapping[str, int]
    """Tag -> how many tasks that have it may run at once, in all processes that share the backend."""
    storage: Mapping[str, Mapping[str, object]]
    """URL -> the options with which the storages below it are opened. From files only."""
    origins: Mapping[str, str]
    """Who set each setting, such as ``results.storage``: the name of a variable, the path of a file, or ``default``.

    Limits are there one by one, such as ``limits.db``; ``limits`` itself is there if none is set.
    """


_SECTIONS: Mapping[str, type[msgspec.Struct]] = MappingProxyType(
    {"results": Results, "tasks": Tasks, "plugins": Plugins, "backend": Backend, "egress": Egress, "masked": Masked}
)
_LIMITS = "limits"
_STORAGE = "storage"
_Options = dict[str, object]
_Limit = Annotated[int, msgspec.Meta(ge=1)]
_TYPES: Mapping[str, object] = MappingProxyType(
    {"home": str, _LIMITS: _Limit, _STORAGE: _Options}
    | {f"{name}.{field.name}": field.type for name, kind in _SECTIONS.items() for field in msgspec.structs.fields(kind)}
)
_VARIABLES = MappingProxyType({_PREFIX + key.upper().replace(".", "_"): key for key in _TYPES if key != _STORAGE})
_EXPECTED: Mapping[object, str] = MappingProxyType(
    {
        str: "a string",
        _Limit: "a whole number from 1",
        _Options: "a table of options",
        bool: "true or false",
        bool | None: "true or false",
        Literal["local", "seal"]: "local or seal",
        _Word | None: "one of clear, mask, token, seal and drop",
        tuple[str, ...]: "a list of strings (in a variable: separated by commas)",
        tuple[str, ...] | None: "a list of strings (in a variable: separated by commas)",
    }
)


@dataclass(frozen=True, slots=True)
class _Found:
    """One setting as a source has it: its type is right."""

    value: object
    origin: str
    folder: Path


def load(env: Mapping[str, str], cwd: Path) -> Settings:
    """The settings for a program that runs in *cwd* with the variables *env*.

    Cheap enough for every run: a file is parsed again only after it has changed. A relative path means a folder beside
    the file that names it, or under *cwd* if a variable does.

    Raises:
        SettingsError: a setting is unknown or has the wrong type, or a file cannot be read. Names the place.
    """
    cwd = cwd.absolute()
    found: dict[str, _Found] = {}
    for source in (_from_file(cwd, "strongroom.toml"), _from_file(cwd, "pyproject.toml"), _from_env(env, cwd)):
        found.update(source)
    return _settings(found, env)


def load_file(path: Path, env: Mapping[str, str]) -> Settings:
    """The settings that *path* alone makes, over the defaults.

    Raises:
        SettingsError: as `load`.
    """
    path = path.absolute()
    return _settings(dict(_read(path, (path.stat().st_mtime_ns, path.stat().st_size)) or ()), env)


def _settings(found: Mapping[str, _Found], env: Mapping[str, str]) -> Settings:
    limits = _section(_LIMITS, found)
    storage = _section(_STORAGE, found)
    origins = {key: "default" for key in _TYPES if not {_LIMITS: limits, _STORAGE: storage}.get(key)}
    origins |= {key: item.origin for key, item in found.items()}
    return Settings(
        home=_home(found.get("home"), env),
        results=msgspec.convert(_section("results", found) | _storage(found, env), Results),
        tasks=msgspec.convert(_section("tasks", found), Tasks),
        plugins=msgspec.convert(_section("plugins", found), Plugins),
        backend=msgspec.convert(_section("backend", found), Backend),
        egress=msgspec.convert(_section("egress", found), Egress),
        masked=msgspec.convert(_section("masked", found), Masked),
        limits=MappingProxyType(msgspec.convert(limits, dict[str, int])),
        storage=MappingProxyType(msgspec.convert(storage, dict[str, dict[str, object]])),
        origins=MappingProxyType(origins),
    )


def _section(name: str, found: Mapping[str, _Found]) -> dict[str, object]:
    return {key.partition(".")[2]: item.value for key, item in found.items() if key.startswith(f"{name}.")}


def _home(item: _Found | None, env: Mapping[str, str]) -> Path:
    if item is None:
        return _user_home(env) / ".strongroom"
    if not item.value:
        raise SettingsError(f"{item.origin}: home is empty; name a folder, or leave it out for ~/.strongroom")
    return _path("home", item, env)


def _storage(found: Mapping[str, _Found], env: Mapping[str, str]) -> dict[str, object]:
    item = found.get("results.storage")
    if item is None or not item.value or "://" in str(item.value):
        return {}
    return {"storage": str(_path("results.storage", item, env))}


def _path(key: str, item: _Found, env: Mapping[str, str]) -> Path:
    path = Path(str(item.value))
    first = path.parts[0] if path.parts else ""
    if first == "~":
        path = _user_home(env).joinpath(*path.parts[1:])
    elif first.startswith("~"):
        raise SettingsError(
            f"{item.origin}: {key} begins with ~ and a name; write the path in full, or ~/ for your own"
        )
    # Not resolve(): what the user calls by a link keeps that name.
    return Path(os.path.normpath(item.folder / path))


def _user_home(env: Mapping[str, str]) -> Path:
    return Path(env["HOME"]) if env.get("HOME") else Path.home()


def _from_env(env: Mapping[str, str], cwd: Path) -> Iterator[tuple[str, _Found]]:
    for name, text in env.items():
        if not name.startswith(_PREFIX) or name.startswith(_OF_TESTS):
            continue
        key = _VARIABLES.get(name)
        if key is None:
            raise SettingsError(f"{name} is not a setting{_near(name, _VARIABLES)}")
        if key == _LIMITS:
            yield from ((tag, _Found(number, name, cwd)) for tag, number in _parse_limits(text, name).items())
        else:
            yield key, _Found(_parse_text(key, text, name), name, cwd)


def _parse_text(key: str, text: str, origin: str) -> object:
    kind = _TYPES[key]
    if kind in (tuple[str, ...], tuple[str, ...] | None):
        # An empty list stays an empty list: were it taken for "not set", an allow-list would let everything pass.
        return tuple(part.strip() for part in text.split(",") if part.strip())
    return _convert(key, text, origin, strict=False)


def _parse_limits(text: str, origin: str) -> dict[str, object]:
    found: dict[str, object] = {}
    for part in filter(None, map(str.strip, text.split(","))):
        tag, equals, number = (piece.strip() for piece in part.partition("="))
        key = f"{_LIMITS}.{tag}"
        if not tag or not equals or key in found:
            raise SettingsError(f"{origin}: limits must be different tags with their numbers, such as db=2,api=5")
        found[key] = _convert(key, number, origin, strict=False)
    return found


def _convert(key: str, value: object, origin: str, *, strict: bool) -> object:
    kind = _TYPES[key.partition(".")[0] if key.startswith((f"{_LIMITS}.", f"{_STORAGE}.")) else key]
    try:
        return msgspec.convert(value, kind, strict=strict)
    except msgspec.ValidationError:
        raise SettingsError(f"{origin}: {key} must be {_EXPECTED[kind]}") from None


def _from_file(cwd: Path, name: str) -> Iterator[tuple[str, _Found]]:
    """The settings of the nearest file *name* that has any."""
    for folder in (cwd, *cwd.parents):
        path = folder / name
        try:
            status = path.stat()
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as exc:
            raise _unreadable(path, exc) from exc
        found = _read(path, (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns))
        if found is not None:
            yield from found
            return


@lru_cache(maxsize=64)
def _read(path: Path, _stamp: tuple[int, ...]) -> tuple[tuple[str, _Found], ...] | None:
    """What the file sets, or None if it is not about strongroom; *_stamp* changes whenever the file does."""
    try:
        text = path.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as exc:
        raise _unreadable(path, exc) from exc
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
        (key, _Found(_convert(key, value, origin, strict=True), origin, path.parent))
        for key, value in _flat(table, path)
    )


def _unreadable(path: Path, exc: OSError | UnicodeDecodeError) -> SettingsError:
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
        if name in _SECTIONS:
            for key, inner in _table(table, name, path).items():
                yield _known(f"{name}.{key}", path), inner
        elif name == _LIMITS:
            yield from ((f"{_LIMITS}.{tag}", number) for tag, number in _table(table, name, path).items())
        elif name == _STORAGE:
            yield from ((f"{_STORAGE}.{url}", options) for url, options in _table(table, name, path).items())
        elif isinstance(value, dict) and name not in _TYPES:
            near = _near(name, (*_SECTIONS, _LIMITS, _STORAGE))
            raise SettingsError(f"{path}: [{name}] is not a section of the settings{near}")
        else:
            yield _known(name, path), value


def _known(key: str, path: Path) -> str:
    if key not in _TYPES:
        raise SettingsError(f"{path}: {key} is not a setting{_near(key, _TYPES)}")
    return key


def _near(name: str, known: Collection[str]) -> str:
    # Without the prefix that all variables share: it would make any two of them look alike.
    bare = {full.removeprefix(_PREFIX): full for full in sorted(known)}
    import difflib  # only a mistake needs it

    near = difflib.get_close_matches(name.removeprefix(_PREFIX), bare, n=1)
    return f"; did you mean {bare[near[0]]}?" if near else f"; there are {', '.join(bare.values())}"


def _refuse_planted(path: Path) -> None:
    """Refuse a file that somebody else may have put above the project, say into /tmp, to send results elsewhere."""
    if not hasattr(os, "getuid"):
        return
    everybody_writes = path.parent.stat().st_mode & stat.S_IWOTH
    if everybody_writes and path.stat().st_uid not in (os.getuid(), 0):
        raise SettingsError(f"{path} is another user's, in a folder where everybody may write; remove it, or move away")
