# SPDX-License-Identifier: Apache-2.0
"""Which settings are in force, and who set each of them?

From weak to strong: the defaults, the nearest ``strongroom.toml``, ``[tool.strongroom]`` in the nearest
``pyproject.toml`` that has it, and ``STRONGROOM_*`` variables.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import msgspec

from strongroom._held_keys import KEYRING_VARIABLE, EnvironmentKeys
from strongroom._settings import (
    LIMITS,
    PREFIX,
    STORAGE,
    TYPES,
    VARIABLES,
    Backend,
    Egress,
    Found,
    Keys,
    Masked,
    Plugins,
    Results,
    Settings,
    Tasks,
    convert,
    hint,
)
from strongroom._settings_file import from_file, read, unreadable
from strongroom.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["load", "load_file"]

_OF_TESTS = "STRONGROOM_TEST_"
_OF_NAMES = frozenset({"results.allow", "plugins.allow"})
_NAME = re.compile(r"[\w.-]+")


def load(env: Mapping[str, str], cwd: Path) -> Settings:
    """The settings for a program that runs in *cwd* with the variables *env*.

    Cheap enough for every run: a file is parsed again only after it has changed. A relative path means a folder beside
    the file that names it, or under *cwd* if a variable does.

    Raises:
        SettingsError: a setting is unknown or has the wrong type, or a file cannot be read. Names the place.
    """
    cwd = cwd.absolute()
    found: dict[str, Found] = {}
    for source in (from_file(cwd, "strongroom.toml"), from_file(cwd, "pyproject.toml"), _from_env(env, cwd)):
        found.update(source)
    settings = _settings(found, env)
    if KEYRING_VARIABLE in env and settings.keys.source != EnvironmentKeys.id:
        # Whoever puts keys there wants them to be used.
        raise SettingsError(
            f"{KEYRING_VARIABLE} has keys, and keys.source is not {EnvironmentKeys.id!r}: "
            f"set STRONGROOM_KEYS_SOURCE={EnvironmentKeys.id}, or take the variable away"
        )
    return settings


def load_file(path: Path, env: Mapping[str, str]) -> Settings:
    """The settings that *path* alone makes, over the defaults.

    Raises:
        SettingsError: as `load`.
    """
    path = path.absolute()
    try:
        status = path.stat()
    except OSError as exc:
        raise unreadable(path, exc) from exc
    return _settings(dict(read(path, (status.st_mtime_ns, status.st_size)) or ()), env)


def _settings(found: Mapping[str, Found], env: Mapping[str, str]) -> Settings:
    limits = _section(LIMITS, found)
    storage = _section(STORAGE, found)
    origins = {key: "default" for key in TYPES if not {LIMITS: limits, STORAGE: storage}.get(key)}
    origins |= {key: item.origin for key, item in found.items()}
    return Settings(
        home=_home(found.get("home"), env),
        results=msgspec.convert(_section("results", found) | _storage(found, env), Results),
        tasks=msgspec.convert(_section("tasks", found), Tasks),
        plugins=msgspec.convert(_section("plugins", found), Plugins),
        backend=msgspec.convert(_section("backend", found), Backend),
        egress=msgspec.convert(_section("egress", found), Egress),
        keys=msgspec.convert(_section("keys", found), Keys),
        masked=msgspec.convert(_section("masked", found), Masked),
        limits=MappingProxyType(msgspec.convert(limits, dict[str, int])),
        storage=MappingProxyType(msgspec.convert(storage, dict[str, dict[str, object]])),
        origins=MappingProxyType(origins),
    )


def _section(name: str, found: Mapping[str, Found]) -> dict[str, object]:
    return {key.partition(".")[2]: item.value for key, item in found.items() if key.startswith(f"{name}.")}


def _home(item: Found | None, env: Mapping[str, str]) -> Path:
    if item is None:
        return _user_home(env) / ".strongroom"
    if not item.value:
        raise SettingsError(f"{item.origin}: home is empty; name a folder, or leave it out for ~/.strongroom")
    return _path("home", item, env)


def _storage(found: Mapping[str, Found], env: Mapping[str, str]) -> dict[str, object]:
    item = found.get("results.storage")
    if item is None or not item.value or "://" in str(item.value):
        return {}
    return {"storage": str(_path("results.storage", item, env))}


def _path(key: str, item: Found, env: Mapping[str, str]) -> Path:
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


def _from_env(env: Mapping[str, str], cwd: Path) -> Iterator[tuple[str, Found]]:
    for name, text in env.items():
        if not name.startswith(PREFIX) or name.startswith(_OF_TESTS) or name == KEYRING_VARIABLE:
            continue
        key = VARIABLES.get(name)
        if key is None:
            raise SettingsError(f"{name} is not a setting{hint(name, VARIABLES)}")
        if key == LIMITS:
            yield from ((tag, Found(number, name, cwd)) for tag, number in _parse_limits(text, name).items())
        else:
            yield key, Found(_parse_text(key, text, name), name, cwd)


def _parse_text(key: str, text: str, origin: str) -> object:
    kind = TYPES[key]
    if kind in (tuple[str, ...], tuple[str, ...] | None):
        # An empty list stays an empty list: were it taken for "not set", an allow-list would let everything pass.
        parts = tuple(part.strip() for part in text.split(",") if part.strip())
        if key in _OF_NAMES and (odd := [part for part in parts if not _NAME.fullmatch(part)]):
            raise SettingsError(f"{origin}: {odd[0]!r} is no name; write names with commas between, such as json,arrow")
        return parts
    return convert(key, text, origin, strict=False)


def _parse_limits(text: str, origin: str) -> dict[str, object]:
    found: dict[str, object] = {}
    for part in filter(None, map(str.strip, text.split(","))):
        tag, equals, number = (piece.strip() for piece in part.partition("="))
        key = f"{LIMITS}.{tag}"
        if not tag or not equals or key in found:
            raise SettingsError(f"{origin}: limits must be different tags with their numbers, such as db=2,api=5")
        found[key] = convert(key, number, origin, strict=False)
    return found
