# SPDX-License-Identifier: Apache-2.0
"""Who waits for a storage that hangs, and how long?"""

from __future__ import annotations

import threading

import pytest

from strongroom._patience import Patience, wait_for
from strongroom._storage_errors import retrying
from strongroom.errors import TransientStorageError


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_patience_ends_some_time_after_the_last_sign_of_life() -> None:
    clock = Clock()
    patience = Patience(60, clock)
    clock.now += 50
    patience.renew()
    clock.now += 50

    assert patience.left == 10
    clock.now += 50
    assert patience.left == 0


def test_patience_that_was_lost_does_not_come_back() -> None:
    patience = Patience(60, Clock())

    patience.lose()
    patience.renew(extra=100)

    assert patience.left == 0


def test_what_comes_in_time_is_returned_or_raised() -> None:
    assert wait_for(lambda: 42, Patience(60)) == 42
    with pytest.raises(ZeroDivisionError):
        wait_for(lambda: 1 // 0, Patience(60))


def test_what_hangs_is_given_up() -> None:
    patience = Patience(0.01)
    end = threading.Event()

    with pytest.raises(TimeoutError):
        wait_for(end.wait, patience)

    assert patience.left == 0
    end.set()


def test_what_moves_is_waited_for_longer_than_what_does_not() -> None:
    clock = Clock()
    patience = Patience(60, clock)

    def slow() -> str:
        for _ in range(10):
            clock.now += 50
            patience.renew()
        return "done"

    assert wait_for(slow, patience) == "done"


def test_nothing_is_tried_again_once_patience_has_ended() -> None:
    tries: list[int] = []

    def fail() -> None:
        tries.append(1)
        raise TransientStorageError("place", OSError())

    with pytest.raises(TransientStorageError):
        retrying(fail, recover=lambda: None, patient=lambda: len(tries) < 2, pause=lambda _: None)

    assert len(tries) == 2
