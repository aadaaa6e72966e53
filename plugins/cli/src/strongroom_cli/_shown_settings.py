# SPDX-License-Identifier: Apache-2.0
"""How is a setting shown, so that a password in it is not?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from strongroom.project import Project

__all__ = ["HIDDEN", "Shown", "secrets_in", "shown_settings", "shown_url"]

HIDDEN = "***"
"""What stands in the place of a secret."""

# What these hold is a word, a number, a path or the name of something; a setting that is new here is not shown.
_PLAIN = (
    "home",
    "results.",
    "tasks.",
    "plugins.",
    "egress.",
    "limits.",
    "backend.id",
    "keys.source",
    "keys.descriptor",
)
# What is shorter would be found in half of all words.
_SHORTEST = 4


@dataclass(frozen=True, slots=True)
class Shown:
    """One setting, as it may be shown."""

    setting: str
    value: str
    origin: str
    """The name of a variable, the path of a file, or ``default``."""


def shown_settings(project: Project) -> list[Shown]:
    """All settings in force, with who set them, in the order in which the settings are described."""
    settings = project.settings
    return [Shown(_named(key), _shown(project, key), origin) for key, origin in settings.origins.items()]


def shown_url(url: str) -> str:
    """*url* without a password, and without what follows a question mark, where there may be another one."""
    try:
        parts = urlsplit(url)
        user, at, _ = parts.netloc.rpartition("@")
    except ValueError:
        return HIDDEN
    if parts.scheme and not url.startswith((f"{parts.scheme}://", f"{parts.scheme.upper()}://")):
        return f"{parts.scheme}:{HIDDEN}"  # no URL that we understand
    user, colon, _ = user.partition(":")
    host = parts.netloc.rpartition("@")[2]
    more = f"?{HIDDEN}" if parts.query else ""
    start = f"{parts.scheme}://" if parts.scheme else ""
    return f"{start}{user}{f':{HIDDEN}' if colon else ''}{at}{host}{parts.path}{more}"


def secrets_in(project: Project) -> frozenset[str]:
    """What of the settings must not be repeated, whoever quotes it: passwords in URLs, and the options of storages."""
    found = {*_passwords(project.settings.backend.url), *_passwords(project.settings.keys.url)}
    for url, options in project.settings.storage.items():
        found.update(_passwords(url), _texts(options))
    return frozenset(text for text in found if len(text) >= _SHORTEST)


def _passwords(url: str) -> Iterator[str]:
    try:
        parts = urlsplit(url)
        password = parts.netloc.rpartition("@")[0].partition(":")[2]
    except ValueError:
        yield url
        return
    yield from (password, unquote(password), parts.query)
    yield from (value for pair in parts.query.split("&") for value in (pair.partition("=")[2],))


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from _texts(each)


def _named(key: str) -> str:
    section, dot, rest = key.partition(".")
    return f"{section}.{shown_url(rest)}" if dot and section == "storage" else key


def _shown(project: Project, key: str) -> str:
    value = _value(project, key)
    if value is None or value in ("", (), {}):
        return "-"
    if key in {"backend.url", "keys.url", "results.storage"}:
        return shown_url(str(value))
    if isinstance(value, Mapping):
        return ", ".join(sorted(value))  # the names of the options
    if not key.startswith(_PLAIN):
        return f"{len(value)} of them" if isinstance(value, tuple) else HIDDEN
    if isinstance(value, bool):
        return str(value).lower()
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _value(project: Project, key: str) -> object:
    section, dot, name = key.partition(".")
    found: object = getattr(project.settings, section)
    if not dot:
        return found
    return found[name] if isinstance(found, Mapping) else getattr(found, name)
