# SPDX-License-Identifier: Apache-2.0
"""Which secrets can a user's program hold, so that each is known wherever it turns up?"""

from __future__ import annotations

import datetime as dt
import random
import secrets
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["IDENTIFIERS", "KINDS", "PLAIN_JSON", "SHORT_TEXTS", "TEXTS", "VALUES", "Canary", "Person", "Secret", "make"]

Secret = str | int | float | bytes
"""What is looked for. It occurs nowhere by chance: it has at least 60 random bits, or is a date in ten letters."""

_RANDOM = random.SystemRandom()
_days = iter(_RANDOM.sample(range(50_000), 50_000))
_FILLER = "x" * 32_700


@dataclass(frozen=True, slots=True)
class Canary:
    """One secret, in the form of a value of one type."""

    value: object
    """What the program holds."""
    secret: Secret
    """What of it must not be found."""

    def __str__(self) -> str:
        return str(self.value)


@dataclass(frozen=True)
class Person:
    """A dataclass of the user's."""

    name: str


def letters() -> str:
    """A secret that every encoding of text has room for, and that may be a name."""
    return "".join(_RANDOM.choices("abcdefghijklmnopqrstuvwxyz", k=24))


def accented() -> str:
    """A secret outside of ASCII, with characters of two, three and four bytes in UTF-8."""
    return "".join(_RANDOM.choices("äöüéèñçøåœžšđłżΩλЖщあ漢𐌰𠀀", k=20))


def quoted() -> str:
    """A secret that JSON, SQL and Python's own repr have to escape."""
    return "\"'".join("\\".join(_RANDOM.choices("abcdefghijkl", k=4)) + "\n" for _ in range(5))


def digits() -> int:
    """A secret number of 19 digits that fits into 64 bits."""
    return _RANDOM.randrange(10**18, 9 * 10**18)


def fraction() -> float:
    """A secret number with 17 digits, none of which can be left out."""
    while len(repr(number := _RANDOM.uniform(1, 10))) < len("1.2345678901234567"):
        pass
    return number


def octets() -> bytes:
    """Secret bytes that are no text."""
    return b"\xff\xfe" + secrets.token_bytes(24)


def day() -> dt.date:
    """A date of birth: there are few of them, so that whoever has its plain digest has it, too."""
    # None of them twice: it would be found where the other one is told.
    return dt.date(1800, 1, 1) + dt.timedelta(days=next(_days))


def _of(make: Callable[[], Secret], wrap: Callable[[Secret], object] = lambda secret: secret) -> Callable[[], Canary]:
    def canary() -> Canary:
        secret = make()
        return Canary(wrap(secret), secret)

    return canary


def _date() -> Canary:
    date = day()
    return Canary(date, date.isoformat())


KINDS: Mapping[str, Callable[[], Canary]] = {
    "letters": _of(letters),
    "composed": _of(lambda: unicodedata.normalize("NFC", accented())),
    "decomposed": _of(lambda: unicodedata.normalize("NFD", "é" + accented())),
    "quoted": _of(quoted),
    "day": _of(lambda: day().isoformat()),
    "URL": _of(letters, lambda secret: f"https://reader:{secret}@example.org/table?page=2"),
    "path in text": _of(letters, lambda secret: f"/srv/{secret}/table.csv"),
    "64 KiB": _of(letters, lambda secret: f"{secret}{_FILLER}{_FILLER}{secret}"),
    "digits": _of(digits),
    "fraction": _of(fraction),
    "key": _of(letters, lambda secret: {secret: 1}),
    "list": _of(letters, lambda secret: [1, [secret]]),
    "octets": _of(octets),
    "path": _of(letters, lambda secret: Path("/srv", str(secret))),
    "member": _of(letters, lambda secret: frozenset({secret})),
    "field": _of(letters, lambda secret: Person(str(secret))),
    "date": _date,
}
"""Type of value -> what makes one with a secret of its own in it."""

IDENTIFIERS = ("letters", "composed")
SHORT_TEXTS = (*IDENTIFIERS, "decomposed", "day")
"""What may be a name of a file, too."""
TEXTS = (*SHORT_TEXTS, "quoted", "URL", "path in text", "64 KiB")
PLAIN_JSON = (*TEXTS, "digits", "fraction", "key", "list")
VALUES = tuple(KINDS)


def make(kind: str) -> Canary:
    """A new canary of one kind."""
    return KINDS[kind]()
