# SPDX-License-Identifier: Apache-2.0
"""Do the built-in executors do what every executor does, and what do they refuse?"""

from __future__ import annotations

import pytest

from strongroom import Executor, SyncExecutor, ThreadExecutor
from strongroom.errors import DefinitionError
from strongroom.testing import ExecutorTests


class TestSync(ExecutorTests):
    @pytest.fixture
    def executor(self) -> Executor:
        return SyncExecutor()


class TestThreads(ExecutorTests):
    @pytest.fixture
    def executor(self) -> Executor:
        return ThreadExecutor(max_workers=4)


@pytest.mark.parametrize("number", [0, -1])
def test_no_threads_at_all_are_refused(number: int) -> None:
    with pytest.raises(DefinitionError, match="from 1"):
        ThreadExecutor(max_workers=number)
