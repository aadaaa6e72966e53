# SPDX-License-Identifier: Apache-2.0
"""A ctrl-C comes between two steps of a run, and not into the middle of one."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING

import pytest

from strongroom import Flow, task
from strongroom._interrupts import Interrupts
from strongroom._memory_backend import MemoryBackend
from strongroom._outbox import Straight

if TYPE_CHECKING:
    from collections.abc import Sequence

    from strongroom import Envelope


def interrupt() -> None:
    signal.raise_signal(signal.SIGINT)


def test_an_interrupt_waits_for_the_end_of_what_it_may_not_come_into() -> None:
    seen = []

    def steps(interrupts: Interrupts) -> None:
        with interrupts.held_off():
            with interrupts.held_off():
                interrupt()
            seen.append("inner")
            interrupt()
            seen.append("outer")
        seen.append("too late")

    with Interrupts() as interrupts, pytest.raises(KeyboardInterrupt):
        steps(interrupts)

    assert seen == ["inner", "outer"]


def test_outside_of_that_it_comes_at_once() -> None:
    with Interrupts() as interrupts:
        with interrupts.held_off():
            pass
        with pytest.raises(KeyboardInterrupt):
            interrupt()


def test_whoever_was_to_hear_of_it_before_hears_of_it() -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: heard.append(number))
    try:
        with Interrupts() as interrupts:
            with interrupts.held_off():
                interrupt()
                assert heard == []
            assert heard == [signal.SIGINT]
        interrupt()
        assert len(heard) == 2
    finally:
        signal.signal(signal.SIGINT, before)


def test_what_a_task_puts_in_its_place_stays() -> None:
    before = signal.getsignal(signal.SIGINT)

    with Interrupts():
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    signal.signal(signal.SIGINT, before)


def test_an_interrupt_that_nobody_was_to_hear_of_stays_unheard() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Interrupts() as interrupts, interrupts.held_off():
            interrupt()
    finally:
        signal.signal(signal.SIGINT, before)


def test_another_thread_holds_nothing_off() -> None:
    def hold() -> None:
        with Interrupts() as own:
            own.hold()
            interrupts.hold()

    with Interrupts() as interrupts:
        thread = threading.Thread(target=hold)
        thread.start()
        thread.join()
        with pytest.raises(KeyboardInterrupt):
            interrupt()


@pytest.mark.parametrize("moment", range(7))
def test_an_interrupt_while_a_document_is_sent_leaves_no_gap(moment: int, monkeypatch: pytest.MonkeyPatch) -> None:
    put, left = Straight.put, [moment]

    def interrupting(self: Straight, envelope: Envelope) -> None:
        put(self, envelope)
        left[0] -= 1
        if left[0] == -1:
            interrupt()

    monkeypatch.setattr(Straight, "put", interrupting)
    backend = MemoryBackend()
    with Flow("f", result_handler="json", persist_result=True) as flow:
        last = task(lambda x: x + 1, name="second")(task(lambda: 1, name="first")())

    with pytest.raises(KeyboardInterrupt):
        flow.run(backend=backend)
    (run_id,) = backend.runs()
    rows = list(backend.read(run_id))
    if rows[-1].type == "Success":
        return  # it came too late to stop anything

    assert rows[-1].type == "Cancelled"
    for place in {(row.task, row.map_index) for row in rows}:
        assert _sequences(rows, place) == list(range(len(_sequences(rows, place))))
    assert flow.resume(run_id, backend=backend).result[last].result == 2  # type: ignore[index]


def _sequences(rows: Sequence[Envelope], place: tuple[str, int]) -> list[int]:
    return [row.sequence for row in rows if (row.task, row.map_index) == place]
