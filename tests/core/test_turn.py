# SPDX-License-Identifier: Apache-2.0
"""Waiting for somebody who computes a cached result, as the backend says, and who may not exist."""

from __future__ import annotations

import pytest

from strongroom._leases import Leases
from strongroom._memory_backend import MemoryBackend
from strongroom._turn import wait_for_turn
from strongroom.errors import BackendError


@pytest.fixture
def denied() -> Leases:
    """Leases of a backend that has lent the turn to somebody until the end of time."""
    backend = MemoryBackend()
    assert backend.acquire("turn", "nobody", seconds=float("inf"))
    return Leases(backend, "waits")


def test_after_a_day_it_computes_itself_and_says_so(denied: Leases, caplog: pytest.LogCaptureFixture) -> None:
    slept: list[float] = []

    assert wait_for_turn(denied, "turn", lambda: None, slept.append, insist=False) is None

    assert 86_400 <= sum(slept) < 86_401
    assert "another run has had its turn to compute a cached result for a day" in caplog.text


def test_who_insists_on_his_turn_is_told_that_it_does_not_come(denied: Leases) -> None:
    with pytest.raises(BackendError, match="lent the turn to compute it to others for a day"):
        wait_for_turn(denied, "turn", lambda: None, lambda _: None, insist=True)
