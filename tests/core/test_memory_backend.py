# SPDX-License-Identifier: Apache-2.0
"""Does the backend in memory behave as every backend does?"""

from __future__ import annotations

import pytest

from strongroom._memory_backend import MemoryBackend
from strongroom.testing import BackendTests, LeaseTests


class TestMemoryBackend(BackendTests):
    @pytest.fixture
    def backend(self) -> MemoryBackend:
        return MemoryBackend()


class TestLeasesInMemory(LeaseTests):
    @pytest.fixture
    def leases(self) -> MemoryBackend:
        return MemoryBackend()
