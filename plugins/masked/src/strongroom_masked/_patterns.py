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

PATTERNS: Final = tuple(
    (has, re.compile(pattern))
    for has, pattern in (
        ("PRIVATE KEY", r"-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"),
        ("://", r"(\b[a-zA-Z][\w+.-]*://)[^\s/@:]*:[^\s/@]+(?=@)"),
        (" ", r"((?i:\b(?:bearer|basic) ))[\w.~+/=-]{8,}"),
        ("eyJ", r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"),
        ("IA", r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"),
        ("gh", r"\bgh[pousr]_[A-Za-z0-9]{30,}"),
        ("github_pat_", r"\bgithub_pat_\w{30,}"),
        ("glpat-", r"\bglpat-[\w-]{20,}"),
        ("xox", r"\bxox[abeoprs]-[\w-]{10,}"),
        ("AIza", r"\bAIza[\w-]{35}"),
        ("k_", r"\b(?:sk|rk)_(?:live|test)_\w{16,}"),
        ("sk-", r"\bsk-[\w-]{20,}"),
        ("npm_", r"\bnpm_[A-Za-z0-9]{36}"),
        ("pypi-", r"\bpypi-[\w-]{50,}"),
    )
)
"""Tokens of common formats, private keys, and passwords in URLs, each after a text that is in whatever it matches.

To look for that takes a tenth of the time, and names of tasks, which come with each state, have none of them. What the
group of an expression matches is kept: it says what stood there.
"""
