# SPDX-License-Identifier: Apache-2.0
"""Does a long command say on the terminal how far it is, and nowhere else?"""

from __future__ import annotations

import io
import itertools
import sys

import pytest

from strongroom_cli._counting import Counting


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_on_a_terminal_it_counts_now_and_then_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    ticks = itertools.count(0, 0.05)

    with Counting("records checked", lambda: next(ticks)) as counting:
        for _ in range(20):
            counting.step()

    first, *more = screen.getvalue().lstrip("\r").split("\r")
    assert first == "4 records checked"
    assert 2 <= len(more) <= 6
    assert more[-1] == "\x1b[K"


def test_it_makes_room_for_what_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)

    with Counting("records looked at", itertools.count().__next__) as counting:
        counting.step()
        counting.clear()
        counting.clear()

    assert screen.getvalue() == "\r1 records looked at\r\x1b[K"


def test_it_says_of_how_many_where_that_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)

    with Counting("records", itertools.count().__next__, total=3) as counting:
        counting.step()

    assert screen.getvalue() == "\r1 of 3 records\r\x1b[K"


def test_what_is_quick_or_looked_at_by_nobody_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    for screen, clock in ((Screen(), lambda: 0.0), (io.StringIO(), itertools.count().__next__)):
        monkeypatch.setattr(sys, "stderr", screen)

        with Counting("records checked", clock) as counting:
            counting.step("a key")

        assert screen.getvalue() == ""
