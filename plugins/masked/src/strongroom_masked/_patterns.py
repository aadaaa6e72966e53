# SPDX-License-Identifier: Apache-2.0
"""What do secrets look like, and what are they called?"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["NAMES", "PATTERNS"]

NAMES: Final = (
    "access_key",
    "api_key",
    "apikey",
    "auth_token",
    "authorization",
    "client_secret",
    "credential",
    "credentials",
    "passphrase",
    "passwd",
    "password",
    "private_key",
    "pwd",
    "secret",
    "secret_key",
    "token",
)
"""A name that is one of these, or ends with ``_`` and one of these, is the name of a secret."""

# Those of a group keep what it matched: it says what stood there.
PATTERNS: Final = tuple(
    map(
        re.compile,
        (
            r"-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)",
            r"(\b[a-zA-Z][\w+.-]*://)[^\s/@:]*:[^\s/@]+(?=@)",
            r"((?i:\b(?:bearer|basic) ))[\w.~+/=-]{8,}",
            r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*",
            r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b",
            r"\bgh[pousr]_[A-Za-z0-9]{30,}",
            r"\bgithub_pat_\w{30,}",
            r"\bglpat-[\w-]{20,}",
            r"\bxox[abeoprs]-[\w-]{10,}",
            r"\bAIza[\w-]{35}",
            r"\b(?:sk|rk)_(?:live|test)_\w{16,}",
            r"\bsk-[\w-]{20,}",
            r"\bnpm_[A-Za-z0-9]{36}",
            r"\bpypi-[\w-]{50,}",
        ),
    )
)
"""Tokens of common formats, private keys, and passwords in URLs."""
