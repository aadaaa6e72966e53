# SPDX-License-Identifier: Apache-2.0
"""How do the keys of a project lie in a file, each wrapped by a key that never leaves AWS KMS?

Each key is made here, and encrypted by KMS with an encryption context that says what it is and which key: KMS decrypts
it for no other. Only the KMS key of the settings is asked, so a file that somebody has filled with keys under a KMS key
of their own is refused.
"""

from __future__ import annotations

import base64
import logging
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from strongroom.errors import KeyringError
from strongroom.keyring import KEYRING_FILE, Key, KeyFile
from strongroom_kms._service import decrypt, encrypt

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["KMSKeys"]

_log = logging.getLogger("strongroom")

_NAME = re.compile(r"[A-Za-z0-9:/_-]{1,2048}")


@dataclass(frozen=True)
class KMSKeys(KeyFile):
    """Keys in a file, wrapped. A file of keys that are not wrapped, beside it, is taken over when it is made."""

    path: Path
    name: str
    """The id, the ARN or the alias of the KMS key: ``alias/strongroom``."""

    id = "kms"
    heading: ClassVar[str] = "The keys of this project, wrapped by AWS KMS: useless to whoever may not use its key."

    def __post_init__(self) -> None:
        super().__post_init__()
        if not _NAME.fullmatch(self.name):
            raise KeyringError("keys.url must be the id, the ARN or the alias of a KMS key, such as alias/strongroom")

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (str(self.path), self.name)

    @property
    def place(self) -> str:
        return f"kms {self.name}, wrapped in {self.path}"

    @property
    def is_missed(self) -> bool:
        return super().is_missed and not self._unwrapped.path.exists()

    def first(self) -> tuple[str, Mapping[str, Mapping[str, object]]]:
        unwrapped = self._unwrapped
        if not unwrapped.path.exists():
            return super().first()
        # Without them nothing that the project has kept so far could be read.
        found = unwrapped.load()
        entries = {key.id: self._wrapped(key) for key in found.keys}
        _log.warning(
            "the keys in %s are wrapped by KMS now, in %s: once you have seen that all is well, delete the former, and "
            "call `strongroom keys rotate`, since it may have been copied",
            unwrapped.path,
            self.path,
        )
        return found.primary, entries

    def generate(self) -> tuple[Key, Mapping[str, object]]:
        key = Key.generate()
        return key, self._wrapped(key)

    def reveal(self, key_id: str, entry: Mapping[str, object]) -> bytes:
        if set(entry) - {"created"} != {"wrapped"}:
            raise ValueError
        return decrypt(self.name, base64.b64decode(str(entry["wrapped"]), validate=True), _context(key_id))

    @property
    def _unwrapped(self) -> KeyFile:
        return KeyFile(self.path.with_name(KEYRING_FILE))

    def _wrapped(self, key: Key) -> Mapping[str, object]:
        wrapped = encrypt(self.name, key.secret, _context(key.id))
        entry: dict[str, object] = {"wrapped": base64.b64encode(wrapped).decode()}
        return entry if key.created is None else {**entry, "created": key.created}


def _context(key_id: str) -> dict[str, str]:
    # KMS writes it into its log, in clear: nothing in it is secret, and it says who uses the KMS key for what.
    return {"strongroom": "wrap a key of a project", "key": key_id}
