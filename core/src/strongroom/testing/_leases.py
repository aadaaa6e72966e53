# SPDX-License-Identifier: Apache-2.0
"""Does a backend give leases, and take them back, as `strongroom.abc.SupportsLeases` says?"""

from __future__ import annotations

import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import msgspec
import pytest

from strongroom.abc import Backend, Lease, SupportsLeases
from strongroom.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["LeaseTests"]

# Longer than any of these tests takes.
_LONG = 600.0
# A lease for no time has expired as soon as it is given, so that nobody has to wait for that.
_EXPIRED = 0.0


def _a_name() -> str:
    return uuid.uuid4().hex


def _given(leases: SupportsLeases, name: str, holder: str = "one", *, seconds: float = _LONG, slots: int = 1) -> Lease:
    lease = leases.acquire(name, holder, seconds=seconds, slots=slots)
    assert lease is not None, "a slot is free, and it was not given"
    return lease


def _renewed(leases: SupportsLeases) -> tuple[Lease, float]:
    """A lease that was renewed for long, and until when it would have lasted without that."""
    seconds = 0.3
    while True:
        before = time.monotonic()
        lease = _given(leases, _a_name(), seconds=seconds)
        asked = time.monotonic()
        if leases.renew(lease, seconds=_LONG):
            return lease, asked + seconds
        # It may have expired on a machine that stood still for as long, and for no other reason.
        assert time.monotonic() >= before + seconds, "it is still held, so it can be renewed"
        seconds *= 10


class LeaseTests:
    """What a backend does that offers leases. Subclass it and give the fixture `leases`, and `another` if it can be.

    ``leases`` is open and new to each test. ``another()`` gives one more of the same database, as another process has.
    """

    @pytest.fixture
    def another(self) -> Callable[[], SupportsLeases]:
        """Override to give what opens the same database once more."""
        pytest.skip("this backend is for one process only")

    def test_it_can_be_seen_that_the_backend_offers_leases(self, leases: SupportsLeases) -> None:
        assert isinstance(leases, SupportsLeases)
        assert isinstance(leases, Backend)

    def test_a_lease_says_what_was_given_to_whom(self, leases: SupportsLeases) -> None:
        name = _a_name()

        lease = _given(leases, name, "the holder")

        assert (lease.name, lease.slot, lease.holder) == (name, 0, "the holder")

    @pytest.mark.parametrize("holder", ["one", "two"])
    def test_what_is_held_is_given_to_nobody(self, leases: SupportsLeases, holder: str) -> None:
        name = _a_name()
        _given(leases, name, "one")

        assert leases.acquire(name, holder, seconds=_LONG) is None

    @pytest.mark.parametrize(
        ("name", "other"), [("a", "b"), ("a", "A"), ("a", "a "), ("a_", "ab"), ("", "%"), ("'", '"')]
    )
    def test_names_are_told_apart(self, leases: SupportsLeases, name: str, other: str) -> None:
        _given(leases, name)

        assert _given(leases, other).name == other

    def test_there_are_as_many_as_there_are_slots(self, leases: SupportsLeases) -> None:
        name = _a_name()

        slots = [_given(leases, name, holder, slots=3).slot for holder in ("one", "two", "one")]

        assert sorted(slots) == [0, 1, 2]
        assert leases.acquire(name, "three", seconds=_LONG, slots=3) is None

    def test_whoever_knows_of_fewer_slots_gets_one_of_those_or_none(self, leases: SupportsLeases) -> None:
        name = _a_name()
        held = [_given(leases, name, slots=3) for _ in range(3)]

        assert leases.acquire(name, "two", seconds=_LONG, slots=2) is None
        leases.release(held[2])
        assert leases.acquire(name, "two", seconds=_LONG, slots=2) is None
        leases.release(held[1])
        assert _given(leases, name, "two", slots=2).slot == 1

    def test_what_was_given_back_is_given_again(self, leases: SupportsLeases) -> None:
        name = _a_name()
        leases.release(_given(leases, name, slots=2))
        first, second = _given(leases, name, slots=2), _given(leases, name, slots=2)

        leases.release(first)

        assert _given(leases, name, "two", slots=2).slot == first.slot != second.slot

    def test_what_has_expired_is_given_to_the_next(self, leases: SupportsLeases) -> None:
        name = _a_name()
        _given(leases, name, "one", seconds=_EXPIRED)

        assert _given(leases, name, "two").holder == "two"

    def test_a_lease_lasts_as_long_as_it_was_asked_for_and_no_longer(self, leases: SupportsLeases) -> None:
        name = _a_name()
        before = time.monotonic()
        _given(leases, name, "one", seconds=0.3)

        while leases.acquire(name, "two", seconds=_LONG) is None:
            assert time.monotonic() < before + 60

        # A little less: the clocks of a database may count in milliseconds.
        assert time.monotonic() >= before + 0.29

    def test_a_renewed_lease_lasts_from_then_on(self, leases: SupportsLeases) -> None:
        lease, until = _renewed(leases)
        name = lease.name

        while time.monotonic() < until + 0.1:
            assert leases.acquire(name, "two", seconds=_LONG) is None
        assert leases.renew(lease, seconds=_EXPIRED), "it is still held, so it can be renewed, also for a shorter time"
        assert _given(leases, name, "two").holder == "two"

    def test_what_has_expired_cannot_be_renewed_even_if_nobody_took_it(self, leases: SupportsLeases) -> None:
        lease = _given(leases, _a_name(), seconds=_EXPIRED)

        assert not leases.renew(lease, seconds=_LONG)

    def test_whoever_lost_a_lease_can_neither_renew_nor_release_that_of_the_next(self, leases: SupportsLeases) -> None:
        name = _a_name()
        lost = _given(leases, name, "one", seconds=_EXPIRED)
        held = _given(leases, name, "one")

        assert not leases.renew(lost, seconds=_EXPIRED)
        leases.release(lost)

        assert leases.acquire(name, "two", seconds=_LONG) is None
        assert leases.renew(held, seconds=_LONG)

    def test_what_was_given_back_cannot_be_renewed(self, leases: SupportsLeases) -> None:
        lease = _given(leases, _a_name())
        leases.release(lease)
        leases.release(lease)

        assert not leases.renew(lease, seconds=_LONG)

    @pytest.mark.parametrize(
        ("field", "value"), [("holder", "two"), ("epoch", 1 << 40), ("slot", 1), ("name", "another")]
    )
    def test_a_lease_that_was_never_given_opens_nothing(
        self, leases: SupportsLeases, field: str, value: object
    ) -> None:
        name = _a_name()
        fields = msgspec.structs.asdict(_given(leases, name))
        made_up = Lease(**{**fields, field: value})

        assert not leases.renew(made_up, seconds=_EXPIRED)
        leases.release(made_up)

        assert leases.acquire(name, "two", seconds=_LONG) is None

    @pytest.mark.parametrize("ends", ["released", "expired"])
    def test_each_new_holder_of_a_slot_has_a_higher_epoch(self, leases: SupportsLeases, ends: str) -> None:
        name = _a_name()
        epochs = []
        for _ in range(5):
            lease = _given(leases, name, seconds=_EXPIRED if ends == "expired" else _LONG)
            epochs.append(lease.epoch)
            if ends == "released":
                leases.release(lease)

        assert epochs == sorted(set(epochs))

    def test_threads_that_race_never_hold_more_than_there_are_slots(self, leases: SupportsLeases) -> None:
        race = _Race(leases, slots=2)

        with ThreadPoolExecutor(8) as threads:
            list(threads.map(race.take_turns, [20] * 8))

        assert race.most <= 2
        assert len(race.epochs) == len(set(race.epochs)) == 160

    def test_another_connection_sees_what_is_held(
        self, leases: SupportsLeases, another: Callable[[], SupportsLeases]
    ) -> None:
        other, name = another(), _a_name()
        held = _given(leases, name, "one")

        assert other.acquire(name, "two", seconds=_LONG) is None
        assert other.renew(held, seconds=_LONG)
        leases.release(held)
        assert _given(other, name, "two").epoch > held.epoch

    def test_connections_that_race_never_hold_more_than_there_are_slots(
        self, leases: SupportsLeases, another: Callable[[], SupportsLeases]
    ) -> None:
        race, others = _Race(leases, slots=2), [another() for _ in range(3)]

        with ThreadPoolExecutor(4) as threads:
            list(threads.map(race.take_turns, [20] * 4, [leases, *others]))

        assert race.most <= 2
        assert len(race.epochs) == len(set(race.epochs)) == 80

    @pytest.mark.parametrize("call", ["acquire", "renew", "release"])
    def test_a_closed_backend_gives_and_takes_no_leases(self, leases: SupportsLeases, call: str) -> None:
        lease = _given(leases, _a_name())
        calls: dict[str, Callable[[], object]] = {
            "acquire": lambda: leases.acquire(_a_name(), "one", seconds=_LONG),
            "renew": lambda: leases.renew(lease, seconds=_LONG),
            "release": lambda: leases.release(lease),
        }
        assert isinstance(leases, Backend)
        leases.close()

        with pytest.raises(BackendError):
            calls[call]()


class _Race:
    """Threads that take turns in holding a lease, and how many held one at the same time."""

    def __init__(self, leases: SupportsLeases, *, slots: int) -> None:
        self._leases = leases
        self._slots = slots
        self._name = _a_name()
        self._lock = threading.Lock()
        self._now = 0
        self.most = 0
        self.epochs: list[int] = []

    def take_turns(self, turns: int, leases: SupportsLeases | None = None) -> None:
        leases = leases or self._leases
        for _ in range(turns):
            while (lease := leases.acquire(self._name, "one of many", seconds=_LONG, slots=self._slots)) is None:
                # Let the others go on, so that one of them gives back what it holds.
                time.sleep(0)
            with self._lock:
                self._now += 1
                self.most = max(self.most, self._now)
                self.epochs.append(lease.epoch)
            # Hold it for a moment, in which whoever gets one too many is seen.
            time.sleep(0.001)
            with self._lock:
                self._now -= 1
            leases.release(lease)
