# SPDX-License-Identifier: Apache-2.0
"""What is relied on in each storage."""

from __future__ import annotations

from strongroom.testing import StorageTests


class TestStorage(StorageTests):
    """Its fixture `where` is in the conftest."""
