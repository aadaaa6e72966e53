# SPDX-License-Identifier: Apache-2.0
"""Conformance tests for plugins: subclass one in a test module, name what is to be tested, run pytest."""

from __future__ import annotations

__all__: list[str] = []
