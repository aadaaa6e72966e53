# SPDX-License-Identifier: Apache-2.0
"""Is a lease renewed for as long as it is held, given back afterwards, and is it noticed when it is lost?"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import cast

import pytest

from strongroom._leases import Leases, open_leases
from strongroom._memory_backend import MemoryBackend
from strongroom.abc import Backend, Lease
from strongroom.errors import BackendUnavailableError

NAME = "a" * 32
# Nothing waits for as long as this.
LONG = 600.0


class Watched(MemoryBackend):
    """A backend whose heartbeats can be waited for, and that can be out of reach."""

    def __init__(self) -> None:
        self.now = 0.0
        super().__init__(clock=lambda: self.now)
        self.away = False
        self.renewals = threading.Semaphore(0)

    def renew(self, lease: Lease, *, seconds: float) -> bool:
        try:
            if self.away:
                raise BackendUnavailableError("it is away")
            return super().renew(lease, seconds=seconds)
        finally:
            self.renewals.release()

    def release(self, lease: Lease) -> None:
        if self.away:
            raise BackendUnavailableError("it is away")
        super().release(lease)

    def wait_for_renewals(self, count: int) -> None:
        """Wait for so many from now on. Of those before, there may be many: whoever asks is late on a busy machine."""
        while self.renewals.acquire(blocking=False):
            pass
        for _ in range(count):
            assert self.renewals.acquire(timeout=60)


@pytest.fixture
def backend() -> Watched:
    return Watched()


@pytest.fixture
def leases(backend: Watched) -> Iterator[Leases]:
    # Its heart beats every few milliseconds; what time it is, is for the test to say.
    with Leases(backend, "one", seconds=0.03, clock=lambda: backend.now) as leases:
        yield leases


def is_free(backend: Backend, name: str = NAME, slots: int = 1) -> bool:
    assert isinstance(backend, MemoryBackend)
    lease = backend.acquire(name, "somebody else", seconds=LONG, slots=slots)
    if lease is not None:
        backend.release(lease)
    return lease is not None


def hearts() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "strongroom-leases"]


def test_what_is_held_is_held_by_nobody_else_until_it_is_given_back(backend: Watched, leases: Leases) -> None:
    held = leases.try_hold(NAME)

    assert held is not None
    assert (held.lease.name, held.lease.holder) == (NAME, "one")
    assert not is_free(backend)
    assert leases.try_hold(NAME) is None

    held.release()
    assert is_free(backend)


def test_there_are_as_many_as_there_are_slots(leases: Leases) -> None:
    held = [leases.try_hold(NAME, 2) for _ in range(3)]

    assert [each is None for each in held] == [False, False, True]


def test_the_end_of_a_block_gives_back_even_after_an_error(backend: Watched, leases: Leases) -> None:
    held = leases.try_hold(NAME)
    assert held is not None

    with pytest.raises(ZeroDivisionError), held:
        1 / 0  # noqa: B018

    assert is_free(backend)


def test_a_ctrl_c_while_they_begin_is_what_comes_out_and_leaves_nothing_held(
    backend: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_: threading.Thread) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", interrupted)
        with pytest.raises(KeyboardInterrupt), Leases(backend, "me") as leases:
            leases.try_hold(NAME)

    assert is_free(backend)


def test_all_that_is_held_is_renewed(backend: Watched, leases: Leases) -> None:
    held = [leases.try_hold(NAME, 2), leases.try_hold(NAME, 2)]

    # Each time a little less than what a lease lasts, and then a whole round of heartbeats.
    for _ in range(5):
        backend.now += 0.02
        backend.wait_for_renewals(4)

    assert not is_free(backend, slots=2)
    assert not any(each is None or each.lost for each in held)


def test_a_lease_that_the_backend_does_not_renew_is_lost(backend: Watched, leases: Leases) -> None:
    held, other = leases.try_hold(NAME), leases.try_hold("other")
    assert held is not None
    assert other is not None
    assert not held.lost

    assert MemoryBackend.renew(backend, held.lease, seconds=0)
    assert held._lost.wait(60)

    assert held.lost
    assert not other.lost


def test_a_lost_lease_does_not_give_back_what_the_next_one_holds(backend: Watched, leases: Leases) -> None:
    held = leases.try_hold(NAME)
    assert held is not None
    MemoryBackend.renew(backend, held.lease, seconds=0)
    assert backend.acquire(NAME, "the next", seconds=LONG) is not None

    held.release()

    assert not is_free(backend)


def test_a_lease_whose_time_is_over_is_lost_if_the_backend_cannot_be_asked(backend: Watched, leases: Leases) -> None:
    backend.away = True
    held = leases.try_hold(NAME)
    assert held is not None
    backend.wait_for_renewals(3)
    assert not held.lost, "heartbeats may fail for a while"

    backend.now += 0.03
    assert held.lost


def test_a_backend_that_comes_back_in_time_loses_nothing(backend: Watched, leases: Leases) -> None:
    backend.away = True
    held = leases.try_hold(NAME)
    assert held is not None
    backend.now += 0.02
    backend.wait_for_renewals(2)

    backend.away = False
    backend.wait_for_renewals(3)
    backend.now += 0.02

    assert not held.lost


def test_a_backend_that_is_away_when_a_lease_is_given_back_is_no_error(backend: Watched, leases: Leases) -> None:
    held = leases.try_hold(NAME)
    assert held is not None
    backend.away = True

    held.release()
    held.release()


def test_a_lease_that_is_given_back_while_it_is_renewed_is_not_lost(
    backend: Watched, leases: Leases, monkeypatch: pytest.MonkeyPatch
) -> None:
    held, other = leases.try_hold(NAME), leases.try_hold("other")
    assert held is not None
    assert other is not None
    renew = backend.renew

    def renew_too_late(lease: Lease, *, seconds: float) -> bool:
        if lease == held.lease:
            held.release()
        return renew(lease, seconds=seconds)

    monkeypatch.setattr(backend, "renew", renew_too_late)
    # The second round of the other one comes after all of this one's last.
    backend.wait_for_renewals(4)

    assert is_free(backend)
    assert not held._lost.is_set()


def test_closing_gives_everything_back_and_ends_the_heartbeats(backend: Watched) -> None:
    with Leases(backend, "one", seconds=0.03) as leases:
        leases.try_hold(NAME)
        leases.try_hold("other")
        assert len(hearts()) == 1

    assert is_free(backend)
    assert is_free(backend, "other")
    assert hearts() == []
    leases.close()
    with pytest.raises(RuntimeError, match="given back"):
        leases.try_hold(NAME)


def test_nothing_beats_before_something_is_held(backend: Watched) -> None:
    backend.acquire(NAME, "somebody else", seconds=LONG)

    with Leases(backend, "one") as leases:
        assert leases.try_hold(NAME) is None
        assert hearts() == []


def test_a_backend_without_leases_offers_none(backend: Watched) -> None:
    class Small:
        """What is not a `SupportsLeases`, whatever else it is."""

    assert open_leases(cast("Backend", Small()), "one") is None
    assert open_leases(backend, "one") is not None
