# SPDX-License-Identifier: Apache-2.0
"""What in a text is secret?"""

from __future__ import annotations

import base64
import json
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from strongroom.errors import SettingsError
from strongroom.project import Project
from strongroom.secret import Secret, known_secrets
from strongroom_masked._patterns import NAMES, PATTERNS

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["MASK", "Masker", "masker"]

MASK: Final = "[masked]"
"""What stands in the place of a secret. It does not tell how long that was."""

# Shorter ones would be found in half of all words, and what is left around them would tell them.
_SHORTEST = 4
# What is shorter may be a name, and names come again with each state of a task: these answers are remembered.
_NAME = 200
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


class Masker:
    """Knows patterns and names; the values of secrets are those that the process knows when it is asked."""

    def __init__(self, patterns: tuple[str, ...] = (), names: tuple[str, ...] = ()) -> None:
        """Look for *patterns*, regular expressions, and for texts under *names*, beside those that are shipped."""
        words = "|".join(re.escape(name) for name in (*NAMES, *map(_normal, names)))
        fullmatch = re.compile(rf"(?:^|.*_)(?:{words})").fullmatch
        self._is_secret = lru_cache(maxsize=1024)(lambda name: fullmatch(_normal(name)) is not None)
        # `password=...` and `"password": "..."` within a text: the value goes, the name stays.
        spelled = words.replace("_", "[-_ ]?")
        self._assigned = re.compile(rf"""((?:{spelled})["']?\s*[=:]\s*)("[^"]*"|'[^']*'|[^\s,;&"']+)""", re.IGNORECASE)
        # Of what the expressions of others match, nothing is known before.
        self._patterns = (*PATTERNS, *(("", re.compile(pattern)) for pattern in patterns))
        self._remembered = lru_cache(maxsize=1024)(self._mask)

    def __call__(self, text: str, name: str = "") -> str:
        """*text* with `MASK` in the place of what is secret; all of it if *name* is the name of a secret."""
        # What is known by now is part of the question: a secret that is revealed later makes it another one.
        mask = self._remembered if len(text) <= _NAME else self._mask
        return mask(text, name, known_secrets())

    def _mask(self, text: str, name: str, known: frozenset[str]) -> str:
        if name and self._is_secret(name):
            return MASK
        if known:
            text = _values(known).sub(MASK, text)
        for has, pattern in self._patterns:
            if has in text:
                text = pattern.sub(_keep_first_group, text)
        if "=" in text or ":" in text:
            text = self._assigned.sub(rf"\g<1>{MASK}", text)
        return text


@lru_cache(maxsize=1)
def masker() -> Masker:
    """The masker for the settings in force, which are read once, when something is first masked."""
    settings = Project.open().settings
    for name in settings.masked.secrets:
        # From now on it is known.
        Secret(name).reveal()
    try:
        return Masker(settings.masked.patterns, settings.masked.names)
    except re.error as exc:
        # Not the expression: it may have a part of a secret in it.
        origin = settings.origins["masked.patterns"]
        raise SettingsError(f"{origin}: a pattern in masked.patterns is no regular expression: {exc.msg}") from None


def _normal(name: str) -> str:
    return _CAMEL.sub("_", name).lower().replace("-", "_").replace(" ", "_")


def _keep_first_group(found: re.Match[str]) -> str:
    """What says that a secret follows is kept, such as the scheme of a URL."""
    return f"{found[1] or ''}{MASK}" if found.re.groups else MASK


@lru_cache(maxsize=8)
def _values(known: frozenset[str]) -> re.Pattern[str]:
    found = {form for value in known if len(value) >= _SHORTEST for form in _forms(value)}
    # The longest first: where one secret is the beginning of another, nothing of that may be left.
    return re.compile("|".join(map(re.escape, sorted(found, key=lambda form: (-len(form), form)))) or r"(?!)")


def _forms(value: str) -> Iterator[str]:
    """The ways in which libraries write a value into a message."""
    # A variable may hold bytes that are no text.
    raw = value.encode("utf-8", "surrogateescape")
    yield value
    yield quote(raw)
    yield quote(raw, safe="")
    yield repr(value)[1:-1]
    yield json.dumps(value)[1:-1]
    yield json.dumps(value, ensure_ascii=False)[1:-1]
    yield raw.hex()
    yield base64.b64encode(raw).decode()
    yield base64.urlsafe_b64encode(raw).decode()
