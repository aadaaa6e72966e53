# SPDX-License-Identifier: Apache-2.0
"""On every executor, a result handler is called in five circumstances, and in no other."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from strongroom import Flow, Parameter

from .conftest import Noting, a_task, states_of
from .doings import fails, fails_at_first, loops, pauses, retries_at_first, returns, skips

if TYPE_CHECKING:
    from collections.abc import Callable

    from strongroom.states import State


def slowly(x: object) -> object:
    """Return *x* once somebody waits in the queue, if anybody ever will."""
    flag = os.environ["STRONGROOM_TEST_QUEUED"]
    end = time.monotonic() + 60
    while flag and not Path(flag).exists() and time.monotonic() < end:
        time.sleep(0.01)
    return x


def note_queued(task: object, old: State, new: State) -> None:
    if new.is_queued() and (flag := os.environ["STRONGROOM_TEST_QUEUED"]):
        Path(flag).touch()


CIRCUMSTANCES: dict[str, tuple[Callable[..., object], dict[str, object], list[str]]] = {
    "a retry": (fails_at_first, {"max_retries": 1}, ["write up.result"]),
    "a pause": (pauses, {}, ["write up.result"]),
    "two retries": (fails, {"max_retries": 2}, ["write up.result"]),
    "a RETRY": (retries_at_first, {}, ["write up.result"]),
    "a failure that is not worth a retry": (fails, {"max_retries": 1, "retry_on": KeyError}, []),
    "checkpointing": (returns, {"checkpoint": True}, ["write down.result"]),
    "persisting": (returns, {"persist_result": True}, ["write down.result"]),
    "both": (fails_at_first, {"max_retries": 1, "persist_result": True}, ["write up.result", "write down.result"]),
    "success": (returns, {}, []),
    "failure": (fails, {}, []),
    "a skip": (skips, {}, []),
    "a loop": (loops, {}, []),
    "a failure that would be checkpointed": (fails, {"checkpoint": True}, []),
}


@pytest.mark.parametrize("executor", ["sync", "threads", "processes"])
class TestOnEveryExecutor:
    @pytest.mark.parametrize("circumstance", CIRCUMSTANCES)
    def test_only_what_has_to_survive_is_handled(self, circumstance: str, executor: str, noting: Noting) -> None:
        function, arguments, expected = CIRCUMSTANCES[circumstance]
        with Flow("flow", result_handler=noting) as flow:
            up = a_task(lambda: "value", name="up")()
            a_task(function, name="down", **arguments)(up)

        flow.run(executor=executor)

        assert noting.notes == expected

    def test_a_queue_keeps_the_inputs_of_what_waits(
        self, executor: str, noting: Noting, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("STRONGROOM_LIMITS", "one=1")
        with Flow("flow", result_handler=noting) as flow:
            up = a_task(lambda: "value", name="up")()
            first = a_task(slowly, name="first", tags=["one"], state_handlers=[note_queued])(up)
            second = a_task(slowly, name="second", tags=["one"], state_handlers=[note_queued])(up)
        # One that is done before the other asks would leave nobody to wait.
        monkeypatch.setenv("STRONGROOM_TEST_QUEUED", "" if executor == "sync" else str(tmp_path / "queued"))

        states = states_of(flow.run(executor=executor))

        assert (states[first].result, states[second].result) == ("value", "value")
        # One at a time is all that there is with sync, so nobody waits there.
        assert noting.notes == ([] if executor == "sync" else ["write up.result"])

    def test_parameters_are_not_handled_by_the_tasks_handler(self, executor: str, noting: Noting) -> None:
        with Flow("flow", result_handler=noting) as flow:
            down = a_task(returns, name="down")(Parameter("x", default=[1]))

        assert states_of(flow.run(executor=executor))[down].result == [1]
        assert noting.notes == []

    def test_caching_handles_the_output_once(self, executor: str, stored: Callable[[], list[Path]]) -> None:
        with Flow("flow") as flow:
            up = a_task(lambda: "value", name="up")()
            down = a_task(returns, name="down", cache_key="of-a-test", cache_validator=lambda *_: True)(up)

        first, second = (states_of(flow.run(executor=executor))[down] for _ in range(2))

        assert (type(first).__name__, type(second).__name__) == ("Success", "Cached")
        assert first.result == second.result == "value"
        assert len(stored()) == 1

    def test_what_is_not_run_reads_nothing(self, executor: str, noting: Noting) -> None:
        kept = {"persist_result": True, "cache_result_in_memory": False}
        with Flow("flow", result_handler=noting) as flow:
            up = a_task(lambda: "value", name="up", **kept)()
            a_task(returns, name="skipped")(up, upstream_tasks=[a_task(skips, name="skips")(0)])
            a_task(returns, name="runs")(up)

        flow.run(executor=executor)

        assert noting.notes == ["write up.result", "read up.result"]

    def test_children_are_kept_one_by_one(self, executor: str, noting: Noting) -> None:
        with Flow("flow", result_handler=noting) as flow:
            a_task(returns, name="each", persist_result=True).map([1, 2, 3])

        flow.run(executor=executor)

        assert sorted(noting.notes) == [f"write each{index}.result" for index in range(3)]
