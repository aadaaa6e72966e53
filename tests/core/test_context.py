# SPDX-License-Identifier: Apache-2.0
"""Can code ask about its run, and does everybody see their own keys only?"""

from __future__ import annotations

import asyncio
import contextvars
import copy
import logging
import operator
import pickle
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone, tzinfo

import pytest

from strongroom.context import ENGINE_KEYS, Context, context, date_keys
from strongroom.errors import DefinitionError


class SummerTime(tzinfo):
    """A zone in which the 31st of March 2024 has 23 hours."""

    def utcoffset(self, time: datetime | None) -> timedelta:
        return timedelta(hours=1) + self.dst(time)

    def dst(self, time: datetime | None) -> timedelta:
        summer = time is not None and time.replace(tzinfo=None) >= datetime(2024, 3, 31, 2)  # noqa: DTZ001  # its own zone
        return timedelta(hours=1) if summer else timedelta(0)

    def tzname(self, time: datetime | None) -> str:
        return "summer time"


def _read_customer() -> object:
    return context.get("customer")


def test_outside_of_everything_the_context_has_nothing_but_a_logger() -> None:
    assert list(context) == ["logger"]
    assert context.to_dict() == {}


def test_a_key_is_an_attribute_and_an_item() -> None:
    with context(customer="abc"):
        assert context.customer == "abc"
        assert context["customer"] == "abc"
        assert context.get("customer") == "abc"
        assert "customer" in context


def test_the_block_is_handed_the_context() -> None:
    with context(customer="abc") as inside, context.use({}) as further:
        assert inside is context
        assert further is context


def test_blocks_nest_and_what_was_there_before_comes_back() -> None:
    with context(a=1, b=1):
        with context(b=2, c=2):
            assert context.to_dict() == {"a": 1, "b": 2, "c": 2}
        assert context.to_dict() == {"a": 1, "b": 1}
    assert context.to_dict() == {}


def test_what_was_there_before_comes_back_after_an_error() -> None:
    with pytest.raises(ZeroDivisionError), context(a=1):
        _ = 1 // 0

    assert context.to_dict() == {}


def test_keys_are_added_to_those_that_are_there_when_the_block_is_entered() -> None:
    block = context(b=2)

    with context(a=1), block:
        assert context.to_dict() == {"a": 1, "b": 2}


def test_a_mapping_can_be_given_for_keys_that_are_no_names() -> None:
    with context({"my-key": 1, "a": 1}, a=2):
        assert context.to_dict() == {"my-key": 1, "a": 2}


def test_use_replaces_every_key_until_the_block_ends() -> None:
    with context(a=1):
        with context.use({"task_name": "load", "b": 2}):
            assert context.to_dict() == {"task_name": "load", "b": 2}
        assert context.to_dict() == {"a": 1}


def test_the_context_can_be_unpacked_and_measured() -> None:
    with context(a=1, b=2):
        assert {**context} == {"a": 1, "b": 2, "logger": context.logger}
        assert len(context) == len(list(context)) == 3
    with context.use({"logger": None}):
        assert len(context) == len(list(context)) == 1


def test_a_missing_attribute_is_an_error_that_names_the_keys_and_no_value() -> None:
    with (
        context(b="secret-value", a=1),
        pytest.raises(AttributeError, match=r"no key 'customer'; it has a, b, logger$") as caught,
    ):
        _ = context.customer

    assert "secret-value" not in str(caught.value)


def test_a_missing_item_is_a_key_error_and_get_has_a_default() -> None:
    with pytest.raises(KeyError, match="customer"):
        _ = context["customer"]

    assert context.get("customer") is None
    assert context.get("customer", 1) == 1
    assert "customer" not in context
    assert not hasattr(context, "customer")


def test_an_attribute_is_not_assigned_and_the_error_says_what_to_do() -> None:
    with pytest.raises(AttributeError, match=r"use `with context\(customer=\.\.\.\):`"):
        context.customer = "abc"

    assert "customer" not in context


def test_an_item_is_not_assigned() -> None:
    with pytest.raises(TypeError, match="item assignment"):
        operator.setitem(context, "customer", "abc")  # type: ignore[call-overload]  # on purpose


def test_to_dict_is_a_copy() -> None:
    with context(a=1):
        context.to_dict()["a"] = 2
        assert context.a == 1


def test_a_mapping_that_changes_later_does_not_change_the_context() -> None:
    keys = {"a": 1}

    with context(keys):
        keys["a"] = 2
        assert context.a == 1


@pytest.mark.parametrize("key", sorted(ENGINE_KEYS))
def test_a_key_of_the_engine_is_refused(key: str) -> None:
    with pytest.raises(DefinitionError, match=f"the engine itself fills in the context's {key}; choose another name"):
        context({key: "mine", "free": 1})

    with pytest.raises(DefinitionError, match=key):
        context(**{key: "mine"})


def test_the_keys_of_the_engine_are_these() -> None:
    assert sorted(ENGINE_KEYS) == [
        *("date", "flow_name", "logger", "loop_count", "loop_result", "map_index", "parameters", "resume", "run_id"),
        *("scheduled_start_time", "task_full_name", "task_name", "task_run_count", "task_run_id", "task_slug"),
        *("task_tags", "today", "today_nodash", "tomorrow", "tomorrow_nodash", "yesterday", "yesterday_nodash"),
    ]


def test_the_logger_is_that_of_the_task() -> None:
    with context.use({"task_name": "load"}):
        assert context.logger is logging.getLogger("strongroom.task.load")
        assert context["logger"] is context.get("logger") is context.logger


def test_outside_of_tasks_the_logger_is_that_of_strongroom() -> None:
    assert context.logger is logging.getLogger("strongroom")


def test_a_logger_is_made_only_when_somebody_asks_for_it() -> None:
    name = "strongroom.task.nobody asks for mine"

    with context.use({"task_name": "nobody asks for mine"}):
        context.to_dict()
        repr(context)
        list(context)
        assert name not in logging.Logger.manager.loggerDict
        _ = context.logger
        assert name in logging.Logger.manager.loggerDict


def test_a_logger_that_was_put_there_is_used() -> None:
    mine = logging.getLogger("mine")

    with context.use({"task_name": "load", "logger": mine}):
        assert context.logger is mine


def test_a_repr_shows_keys_and_never_values() -> None:
    with context(token="secret-value", a=1):
        assert repr(context) == "<Context: a, logger, token>"


def test_a_thread_does_not_see_the_keys_of_another() -> None:
    inside, done = threading.Event(), threading.Event()

    def hold() -> None:
        with context(customer="theirs"):
            inside.set()
            done.wait(60)

    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(hold)
        assert inside.wait(60)
        assert "customer" not in context
        done.set()
        held.result()


def test_a_copied_context_carries_the_keys_to_a_thread() -> None:
    with ThreadPoolExecutor(1) as pool, context(customer="abc"):
        assert pool.submit(contextvars.copy_context().run, _read_customer).result() == "abc"


def test_asyncio_tasks_start_with_the_keys_of_their_maker_and_keep_their_own() -> None:
    async def work(name: str, turn: asyncio.Barrier) -> tuple[object, object]:
        with context(name=name):
            await turn.wait()
            return context.customer, context.name

    async def both() -> Sequence[tuple[object, object]]:
        turn = asyncio.Barrier(2)
        with context(customer="abc"):
            return await asyncio.gather(work("one", turn), work("other", turn))

    assert tuple(asyncio.run(both())) == (("abc", "one"), ("abc", "other"))


def test_keys_are_carried_to_another_process_by_hand() -> None:
    there = (
        "import pickle, sys; from strongroom.context import context as c; k = pickle.load(sys.stdin.buffer)\n"
        "print(c.get('customer'))\n"
        "with c.use(k): print(c.customer)"
    )

    with context(customer="abc"):
        keys = pickle.dumps(context.to_dict())
    answer = subprocess.run([sys.executable, "-c", there], input=keys, capture_output=True, check=True)

    assert answer.stdout.split() == [b"None", b"abc"]


def test_a_reference_to_the_context_survives_pickling_and_copying() -> None:
    with context(token="secret-value"):
        data = pickle.dumps(context)

    assert b"secret-value" not in data
    assert pickle.loads(data) is context
    assert copy.copy(context) is copy.deepcopy(context) is context


def test_there_is_nothing_to_set_on_the_context_object_itself() -> None:
    assert not hasattr(context, "__dict__")
    assert isinstance(context, Context)


def test_dates_are_given_with_and_without_dashes() -> None:
    now = datetime(2024, 2, 29, 12, 30, tzinfo=UTC)

    assert date_keys(now) == {
        "date": now,
        "today": "2024-02-29",
        "today_nodash": "20240229",
        "yesterday": "2024-02-28",
        "yesterday_nodash": "20240228",
        "tomorrow": "2024-03-01",
        "tomorrow_nodash": "20240301",
    }


def test_days_are_those_of_the_given_time_zone() -> None:
    keys = date_keys(datetime(2024, 3, 30, 12, 30, tzinfo=UTC).astimezone(timezone(timedelta(hours=14))))

    assert (keys["yesterday"], keys["today"], keys["tomorrow"]) == ("2024-03-30", "2024-03-31", "2024-04-01")


def test_tomorrow_is_the_next_day_also_when_it_is_shorter() -> None:
    late = datetime(2024, 3, 30, 23, 30, tzinfo=SummerTime())

    assert late.astimezone(UTC) + timedelta(days=1) == datetime(2024, 4, 1, 0, 30, tzinfo=SummerTime()).astimezone(UTC)
    assert date_keys(late)["tomorrow"] == "2024-03-31"


def test_a_time_without_a_zone_has_no_day() -> None:
    with pytest.raises(DefinitionError, match="knows its time zone"):
        date_keys(datetime(2024, 2, 29, 12))  # noqa: DTZ001  # on purpose


def test_the_date_keys_belong_to_the_engine() -> None:
    assert date_keys(datetime(2024, 2, 29, tzinfo=UTC)).keys() <= ENGINE_KEYS
