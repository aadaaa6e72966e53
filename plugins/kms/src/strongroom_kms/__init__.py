# SPDX-License-Identifier: Apache-2.0
"""Which keys are kept wrapped by a key service?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from strongroom.hookspecs import hookimpl
from strongroom_kms._keys import KMSKeys

if TYPE_CHECKING:
    from pathlib import Path

    from strongroom.abc import KeySource
    from strongroom.hookspecs import Register

__all__ = ["KMSKeys", "strongroom_register"]

_FILE = "keyring-kms.toml"


def _make(url: str, home: Path) -> KeySource:
    return KMSKeys(home / _FILE, url)


@hookimpl
def strongroom_register(register: Register) -> None:
    """Bring the source of keys ``kms``, which is told the id, the ARN or the alias of a key of AWS KMS."""
    register.key_source("kms", _make)
