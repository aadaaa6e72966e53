# SPDX-License-Identifier: Apache-2.0
"""Do processes do what every executor does?"""

from __future__ import annotations

import pytest

from strongroom import Executor
from strongroom.testing import ExecutorTests
from strongroom_processes.executor import ProcessExecutor


class TestProcesses(ExecutorTests):
    @pytest.fixture
    def executor(self) -> Executor:
        return ProcessExecutor(max_workers=2)
