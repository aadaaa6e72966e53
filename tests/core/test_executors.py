# SPDX-License-Identifier: Apache-2.0
"""Do the built-in executors do what every executor does, and what do they refuse?"""

from __future__ import annotations

import threading
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, as_completed, wait
from typing import Any

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


def test_what_the_sync_executor_answers_is_a_future_like_any_other() -> None:
    with SyncExecutor() as executor, ThreadPoolExecutor(1) as pool:
        held = threading.Event()
        one, two, other = executor.submit(int, 1), executor.submit(int, 2), pool.submit(held.wait, 60)
        first = wait([one, two, other], return_when=FIRST_COMPLETED)
        held.set()
        seen: list[object] = []
        one.add_done_callback(seen.append)

        assert first.done == {one, two}
        assert {each.result() for each in as_completed([one, two, other])} == {1, 2}
        assert one.done()
        assert not one.running()
        assert not one.cancel()
        assert one.exception() is None
        assert seen == [one]


@pytest.mark.parametrize("number", [0, -1, 1.5, True, "4"])
def test_no_threads_at_all_are_refused(number: Any) -> None:  # noqa: ANN401  # wrong on purpose
    with pytest.raises(DefinitionError, match="from 1"):
        ThreadExecutor(max_workers=number)
