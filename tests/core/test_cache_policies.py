# SPDX-License-Identifier: Apache-2.0
"""Cache policies: what they are made of, whatever the order, and what they refuse."""

from __future__ import annotations

import pickle
from functools import reduce
from operator import add

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom import task
from strongroom._memory_backend import MemoryBackend
from strongroom.caching import (
    DEFAULT,
    FLOW_PARAMETERS,
    INPUTS,
    NO_CACHE,
    RUN_ID,
    TASK_SOURCE,
    CachePolicy,
    IsolationLevel,
)
from strongroom.errors import DefinitionError

SIMPLE = st.sampled_from([INPUTS, TASK_SOURCE, FLOW_PARAMETERS, RUN_ID, NO_CACHE, INPUTS - "a", INPUTS - "b"])


@given(st.lists(SIMPLE, min_size=1), st.randoms())
def test_the_order_in_which_policies_are_added_does_not_matter(policies: list[CachePolicy], random: object) -> None:
    shuffled = list(policies)
    random.shuffle(shuffled)  # type: ignore[attr-defined]

    assert reduce(add, shuffled) == reduce(add, policies)
    assert hash(reduce(add, shuffled)) == hash(reduce(add, policies))


def test_an_input_may_be_left_out_before_or_after_adding() -> None:
    assert INPUTS - "a" + TASK_SOURCE == TASK_SOURCE + INPUTS - "a" == (TASK_SOURCE - "a") + INPUTS
    assert INPUTS - "a" - "b" == INPUTS - "b" - "a" != INPUTS - "a"


def test_the_default_is_inputs_source_and_run() -> None:
    assert DEFAULT == RUN_ID + TASK_SOURCE + INPUTS
    assert len({INPUTS, TASK_SOURCE, FLOW_PARAMETERS, RUN_ID, NO_CACHE, DEFAULT}) == 6


def test_no_cache_adds_nothing() -> None:
    assert INPUTS + NO_CACHE == NO_CACHE + INPUTS == INPUTS
    assert not NO_CACHE
    assert not NO_CACHE - "a"
    assert INPUTS


def test_a_policy_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        INPUTS.parts = frozenset()  # type: ignore[misc]


@pytest.mark.parametrize("policy", [INPUTS, DEFAULT - "a", INPUTS.configure(isolation_level="SERIALIZABLE")])
def test_a_policy_reaches_another_process(policy: CachePolicy) -> None:
    assert pickle.loads(pickle.dumps(policy)) == policy


def test_configuring_keeps_what_is_not_given() -> None:
    policy = INPUTS.configure(key_storage="/a").configure(isolation_level="SERIALIZABLE")

    assert (policy.key_storage, policy.isolation_level) == ("/a", IsolationLevel.SERIALIZABLE)
    assert policy.parts == INPUTS.parts
    assert (policy + TASK_SOURCE).key_storage == "/a"


def test_policies_that_are_kept_in_different_places_cannot_be_added() -> None:
    with pytest.raises(DefinitionError, match="key_storage; configure their sum"):
        INPUTS.configure(key_storage="/a") + TASK_SOURCE.configure(key_storage="/b")


def test_a_key_storage_is_a_place() -> None:
    with pytest.raises(DefinitionError, match="key_storage: "):
        INPUTS.configure(key_storage=3)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"isolation_level": "REPEATABLE_READ"}, "one of READ_COMMITTED, SERIALIZABLE"),
        ({"lock_manager": object()}, "acquire, renew and release"),
    ],
)
def test_what_a_policy_cannot_be_configured_with_is_refused(arguments: dict[str, object], reason: str) -> None:
    with pytest.raises(DefinitionError, match=reason):
        INPUTS.configure(**arguments)  # type: ignore[arg-type]


def test_whatever_offers_leases_is_a_lock_manager() -> None:
    manager = MemoryBackend()

    assert INPUTS.configure(lock_manager=manager).lock_manager is manager


@pytest.mark.parametrize("other", [1, "a", None])
def test_only_policies_are_added(other: object) -> None:
    with pytest.raises(TypeError):
        INPUTS + other  # type: ignore[operator]


@pytest.mark.parametrize("other", [1, INPUTS, None])
def test_only_names_are_left_out(other: object) -> None:
    with pytest.raises(TypeError):
        INPUTS - other  # type: ignore[operator]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"cache_policy": "INPUTS"}, "made of the policies in strongroom.caching, not a str"),
        ({"cache_policy": INPUTS - "y"}, "leaves out 'y', which is no input of it"),
        ({"cache_policy": INPUTS, "cache_key": "mine"}, "give one of them"),
    ],
)
def test_a_task_refuses_a_policy_that_cannot_be_its_own(arguments: dict[str, object], reason: str) -> None:
    with pytest.raises(DefinitionError, match=reason):
        task(**arguments)(lambda x: x)  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("arguments", "cached", "keeps"),
    [
        ({"cache_policy": INPUTS}, True, True),
        ({"cache_policy": NO_CACHE}, False, None),
        ({"cache_policy": INPUTS, "persist_result": False}, False, False),
        ({"cache_policy": NO_CACHE, "persist_result": True}, False, True),
        ({}, False, None),
    ],
)
def test_a_policy_turns_persistence_on_unless_the_task_says_no(
    arguments: dict[str, object], cached: bool, keeps: bool | None
) -> None:
    made = task(**arguments)(lambda x: x)  # type: ignore[call-overload]

    assert (made.is_cached, made.asks_for_persistence) == (cached, keeps)
