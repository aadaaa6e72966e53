# SPDX-License-Identifier: Apache-2.0
"""How is a secret passed around without being shown?"""

from __future__ import annotations

import os
import re
import threading
from pathlib import Path
from typing import Final

from strongroom.errors import SecretError

__all__ = ["Secret", "known_secrets", "lend_secrets", "take_lent_secrets"]

_FILE: Final = "file:"
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

_lock = threading.Lock()
_known: frozenset[str] = frozenset()


class Secret:
    """The name of a secret, that can be passed around, logged, pickled and sent where its value may not go.

    The value is read from its source each time that it is asked for, and is held by nobody: it is in the environment
    variable *name*, or after ``file:`` in a file, without the newline at its end. Secrets of the same name are equal.
    """

    __slots__ = ("_name",)

    _name: str

    def __init__(self, name: str) -> None:
        """A secret by its *name*, such as ``DB_PASSWORD`` or ``file:/run/secrets/db``."""
        if not (_VARIABLE.fullmatch(name) or (name.startswith(_FILE) and len(name) > len(_FILE) and "\0" not in name)):
            # Not the name: somebody may have passed the value in its place.
            raise SecretError("a secret is named by an environment variable, or by file: and a path")
        object.__setattr__(self, "_name", name)

    @property
    def name(self) -> str:
        """Where the value is."""
        return self._name

    def reveal(self) -> str:
        """The value as it is now. From here on it is known to `known_secrets`, so that it can be masked.

        Raises:
            SecretError: it is not there.
        """
        value = self._read()
        _know(value)
        return value

    def _read(self) -> str:
        if not self._name.startswith(_FILE):
            value = os.environ.get(self._name)
            if not value:
                raise SecretError(f"the secret {self._name!r} is not there; set the variable {self._name}")
            return value
        path = Path(self._name.removeprefix(_FILE))
        try:
            return path.read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as exc:
            why = exc.strerror if isinstance(exc, OSError) else "it is not UTF-8"
            # Without the cause: what could not be decoded is in it.
            raise SecretError(f"the secret {self._name!r} cannot be read: {why}") from None

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"secrets are immutable; {name!r} was not set")

    def __repr__(self) -> str:
        return f"Secret({self._name!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._name == self._name

    def __hash__(self) -> int:
        return hash((Secret, self._name))

    def __reduce__(self) -> tuple[object, ...]:
        # The name travels and the value does not: whoever reads this looks for it where they are.
        return Secret, (self._name,)


def known_secrets() -> frozenset[str]:
    """The values that were revealed in this process; for whoever has to mask them."""
    return _known


def lend_secrets() -> bytes:
    """The values that are known here, for another process of the same owner's, through a pipe that nobody else has.

    It gives them to `take_lent_secrets`, so that what is masked here is masked there, too. Empty if there are none.
    """
    import json  # not msgspec's: a secret from the environment may be no Unicode

    return json.dumps(sorted(_known)).encode() if _known else b""


def take_lent_secrets(lent: bytes) -> None:
    """Know the values that another process lent, as if they had been revealed here."""
    import json

    for value in json.loads(lent):
        _know(value)


def _know(value: str) -> None:
    global _known  # noqa: PLW0603  # a value is known for as long as the process lives: it may turn up anywhere
    if value and value not in _known:
        with _lock:
            _known |= {value}
