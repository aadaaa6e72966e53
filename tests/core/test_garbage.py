# SPDX-License-Identifier: Apache-2.0
"""Listing, deleting, checking, and collecting the garbage of a result store, without any plugin."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import BinaryIO

import msgspec
import pytest

from strongroom._garbage import MARK, Marks
from strongroom._local_storage import LocalStorage
from strongroom._plugins import Plugins
from strongroom.errors import DamagedError, ReferencesError
from strongroom.keyring import Key, Keyring
from strongroom.results import Entry, Garbage, ResultStore, RunReferences
from strongroom.testing._executor_tasks import Literal

RUN, OTHER = "a" * 32, "b" * 32
NOW = time.time_ns() // 1000
DAY = 86_400_000_000


@dataclass
class Uses:
    """What somebody says is in use."""

    runs: list[RunReferences] = field(default_factory=list)
    busy: bool = False

    def __iter__(self) -> Iterator[RunReferences]:
        return iter(self.runs)

    @contextmanager
    def turn(self, storage: str, key: str) -> Iterator[bool]:
        yield not self.busy


ENDED = RunReferences(RUN, frozenset(), goes_on=False)


@pytest.fixture
def store(tmp_path: Path) -> ResultStore:
    return a_store(tmp_path / "results")


def a_store(folder: Path | str, clock: Callable[[], int] = time.time_ns) -> ResultStore:
    keyring = Keyring([Key(bytes(32))])
    return ResultStore(folder, serializer=Literal(), keyring=keyring, allow=(), plugins=Plugins({}), clock=clock)


def of(run: str, number: int = 0) -> str:
    return f"runs/{run}/{number:032x}"


def age(store: ResultStore, days: float = 3.0) -> None:
    """Let all that lies in *store* be so much older."""
    for path in Path(store.locate("")).rglob("*"):
        if path.is_file():
            before = path.stat().st_mtime
            os.utime(path, (before, before - days * 86400))


def keys(store: ResultStore) -> set[str]:
    return {entry.key for entry in store.list() if entry.key != "garbage/mark"}


def test_a_list_names_all_that_is_there_without_opening_it(store: ResultStore) -> None:
    receipt = store.write([1], "a/b/c")
    store.write([1], "d")

    assert keys(store) == {"a/b/c", "d"}
    assert [(entry.key, entry.size) for entry in store.list("a")] == [("a/b/c", receipt.size)]


def test_what_is_deleted_is_gone_and_deleting_it_twice_is_no_error(store: ResultStore) -> None:
    store.write([1], "key")

    store.delete("key")
    store.delete("key")

    assert not store.exists("key")


def test_checking_reports_on_every_record_and_stops_at_none(store: ResultStore) -> None:
    for key in ("a", "b", "c"):
        store.write("x" * 3_000_000, key)
    path = Path(store.locate("b"))
    path.write_bytes(path.read_bytes().replace(b"xxx", b"xyx", 1))
    Path(store.locate("d")).write_bytes(b"no record")

    found = {each.key: each for each in store.verify()}

    assert {key for key, each in found.items() if isinstance(each.problem, DamagedError)} == {"b", "d"}
    assert found["a"].metadata is not None
    assert found["a"].metadata.chain == "literal"


@pytest.mark.parametrize("damage", [slice(0, -1), slice(1, None), slice(0, 40)])
def test_checking_finds_what_reading_would_find(store: ResultStore, damage: slice) -> None:
    path = Path(store.locate(store.write("value", "key").key))
    path.write_bytes(path.read_bytes()[damage])

    for look in (store.check, store.read):
        with pytest.raises(DamagedError):
            look("key")


def test_a_record_that_is_cut_in_its_end_is_damaged_wherever_it_lies() -> None:
    store = a_store("memory://cut")
    store.write("value", "key")
    (source, size) = store._storage.open("key")
    with source:
        data = source.read(size)
    line = data.index(b"\n") + 1

    for length in (line, line + 10, size - 1):
        with store._storage.create("key") as sink:
            sink.write(data[:length])
        for look in (store.check, store.read):
            with pytest.raises(DamagedError):
                look("key")


def test_a_record_of_another_keyring_does_not_pass(store: ResultStore) -> None:
    store.write("value", "key")
    stranger = ResultStore(store.url, keyring=Keyring([Key(b"1" * 32)]), allow=(), plugins=Plugins({}))

    with pytest.raises(DamagedError):
        stranger.check("key")


def test_what_no_state_refers_to_goes_with_the_second_collection_that_finds_it_so(store: ResultStore) -> None:
    store.write(1, of(RUN, 1))
    store.write(2, of(RUN, 2))
    age(store)
    uses = Uses([RunReferences(RUN, frozenset({of(RUN, 2)}), goes_on=False)])
    told: list[Garbage] = []

    first = store.collect_garbage(uses)
    second = store.collect_garbage(uses, tell=told.append)

    assert (first.deleted, first.marked) == (0, 1)
    assert (second.deleted, second.marked) == (1, 0)
    assert [(each.key, each.reason) for each in told] == [(of(RUN, 1), "unused")]
    assert second.size == told[0].size > 0
    assert keys(store) == {of(RUN, 2)}


def test_without_references_nothing_is_deleted_that_could_be_in_use_and_marks_stay(store: ResultStore) -> None:
    store.write(1, of(RUN))
    age(store)
    store.collect_garbage(Uses([ENDED]))

    alone = store.collect_garbage()

    assert (alone.deleted, alone.marked) == (0, 1)
    assert keys(store) == {of(RUN)}
    assert store.collect_garbage(Uses([ENDED])).deleted == 1


def test_a_result_that_nobody_refers_to_need_not_have_expired(store: ResultStore) -> None:
    store.write(1, of(RUN), expires=NOW + 3 * DAY)
    age(store)
    store.collect_garbage(Uses([ENDED]))

    assert store.collect_garbage(Uses([ENDED])).deleted == 1


def test_where_the_storage_does_not_say_how_old_a_record_is_its_first_line_does(
    store: ResultStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    walk = LocalStorage.walk
    silent = lambda *folder: (msgspec.structs.replace(entry, modified=None) for entry in walk(*folder))  # noqa: E731
    monkeypatch.setattr(LocalStorage, "walk", silent)
    monkeypatch.setattr(LocalStorage, "leftovers", lambda _: iter([Entry("half", 4, None)]))
    store.write(1, of(RUN, 1))
    a_store(store.url, clock=lambda: (NOW - 3 * DAY) * 1000).write(1, of(RUN, 2))

    assert [store.collect_garbage(Uses([ENDED])).deleted for _ in range(3)] == [0, 1, 0]
    assert keys(store) == {of(RUN, 1)}


def test_what_is_no_record_is_counted_and_left_alone(store: ResultStore) -> None:
    path = Path(store.locate(store.write(1, of(RUN)).key))
    path.write_bytes(b"something else")
    age(store)

    found = store.collect_garbage(Uses([ENDED]))

    assert (found.deleted, found.marked, found.damaged) == (0, 0, 1)


def test_what_is_young_is_not_even_marked(store: ResultStore) -> None:
    store.write(1, of(RUN))

    assert store.collect_garbage(Uses([ENDED])).marked == 0


def test_what_was_written_again_since_it_was_marked_is_marked_again(store: ResultStore) -> None:
    store.write(1, of(RUN))
    age(store)
    store.collect_garbage(Uses([ENDED]))

    store.write(2, of(RUN))
    again = store.collect_garbage(Uses([ENDED]), grace=timedelta(0))

    assert (again.deleted, again.marked) == (0, 1)


def test_a_run_that_can_be_gone_on_with_uses_all_that_it_wrote(store: ResultStore) -> None:
    store.write(1, of(RUN))
    store.write(1, of(RUN, 2), expires=NOW - 10 * DAY)
    age(store)
    uses = Uses([RunReferences(RUN, frozenset(), goes_on=True)])

    for _ in range(3):
        assert store.collect_garbage(uses).deleted == 0


def test_what_is_left_alone_for_a_handler_that_alone_knows_its_references_is_counted(store: ResultStore) -> None:
    store.write(1, of(RUN, 1))
    store.write(1, of(RUN, 2))
    store.write(1, of(OTHER))
    age(store)
    opaque = RunReferences(RUN, frozenset({of(RUN, 1)}), goes_on=True, opaque=True)
    paused = RunReferences(OTHER, frozenset(), goes_on=True)

    collected = store.collect_garbage(Uses([opaque, paused]))

    assert (collected.deleted, collected.marked, collected.opaque) == (0, 0, 1)


def test_runs_that_the_record_does_not_know_are_left_alone_unless_nobody_else_is_there(store: ResultStore) -> None:
    store.write(1, of(OTHER))
    age(store)

    for _ in range(2):
        assert (store.collect_garbage(Uses([ENDED])).deleted, store.collect_garbage(Uses([ENDED])).unknown) == (0, 1)
    store.collect_garbage(Uses([ENDED]), only_user=True)
    assert store.collect_garbage(Uses([ENDED]), only_user=True).deleted == 1


def test_what_another_user_of_the_storage_has_marked_stays_marked(store: ResultStore) -> None:
    store.write(1, of(RUN))
    store.write(1, of(OTHER))
    age(store)
    others = Uses([RunReferences(OTHER, frozenset(), goes_on=False)])
    store.collect_garbage(others)
    store.collect_garbage(Uses([ENDED]))

    assert store.collect_garbage(others).deleted == 1
    assert keys(store) == {of(RUN)}


@pytest.mark.parametrize(
    "key", ["report", "results/" + "0" * 32, f"runs/{RUN}/report", f"cache/{RUN}/any", f"my/{of(RUN)}"]
)
def test_what_has_a_name_of_its_own_and_what_is_cached_is_no_garbage(store: ResultStore, key: str) -> None:
    store.write(1, key)
    age(store)

    for _ in range(2):
        assert store.collect_garbage(Uses([ENDED]), only_user=True).deleted == 0
    assert keys(store) == {key}


def test_what_has_expired_goes_at_once_but_not_before_the_grace_is_over(store: ResultStore) -> None:
    store.write(1, "cache/long-ago", expires=NOW - 3 * DAY)
    store.write(1, "cache/just-now", expires=NOW - 1000)
    store.write(1, "cache/not-yet", expires=NOW + 3 * DAY)
    age(store)

    assert store.collect_garbage().deleted == 1
    assert keys(store) == {"cache/just-now", "cache/not-yet"}


def test_what_is_written_anew_while_its_turn_is_waited_for_stays(store: ResultStore) -> None:
    store.write(1, "cache/key", expires=NOW - 3 * DAY)
    age(store)

    class Slow(Uses):
        @contextmanager
        def turn(self, storage: str, key: str) -> Iterator[bool]:
            store.write(2, key, expires=NOW + 3 * DAY)
            yield True

    assert store.collect_garbage(Slow()).deleted == 0
    assert store.read("cache/key").result == 2


def test_a_mark_of_a_time_that_is_still_to_come_is_no_mark(store: ResultStore) -> None:
    store.write(1, of(RUN))
    age(store)
    store._with(Marks()).write({of(RUN): NOW + 3 * DAY}, MARK)

    found = store.collect_garbage(Uses([ENDED]))

    assert (found.deleted, found.marked) == (0, 1)


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "{",
        '{"\udcff": 1}',
        '{"a": -1}',
        f'{{"a": {1 << 63}}}',
        f'{{"a": {"9" * 30}}}',
        '{"a": "1"}',
        "[" * 99_999,
    ],
)
def test_marks_that_are_none_are_taken_for_no_marks_and_written_anew(store: ResultStore, text: str) -> None:
    class Malformed(Marks):
        def dump(self, value: object, sink: BinaryIO) -> None:
            sink.write(text.encode(errors="surrogateescape"))

    store.write(1, of(RUN))
    age(store)
    store._with(Malformed()).write(None, MARK)

    assert store.collect_garbage(Uses([ENDED])).marked == 1
    assert store._with(Marks()).read(MARK).result.keys() == {of(RUN)}


def test_what_has_expired_stays_for_a_run_that_can_be_gone_on_with(store: ResultStore) -> None:
    store.write(1, "cache/key", expires=NOW - 3 * DAY)
    age(store)

    going_on, over = (RunReferences(RUN, frozenset({"cache/key"}), goes_on=each) for each in (True, False))

    assert store.collect_garbage(Uses([going_on])).deleted == 0
    assert store.collect_garbage(Uses([over], busy=True)).deleted == 0
    assert store.collect_garbage(Uses([over])).deleted == 1


def test_an_expiry_that_is_not_authentic_deletes_nothing(store: ResultStore) -> None:
    path = Path(store.locate(store.write(1, "cache/key", expires=NOW + 3 * DAY).key))
    path.write_bytes(path.read_bytes().replace(str(NOW + 3 * DAY).encode(), str(NOW - 3 * DAY).encode()))
    age(store)

    found = store.collect_garbage(Uses())

    assert (found.deleted, found.damaged) == (0, 1)
    assert keys(store) == {"cache/key"}


def test_what_killed_writers_left_behind_is_swept_when_it_is_old(store: ResultStore) -> None:
    store.write(1, "folder/key")
    old, foreign = (Path(store.locate(f"folder/{name}")) for name in (f".key.{'0' * 16}.tmp", ".mine"))
    old.write_bytes(b"half")
    foreign.write_bytes(b"not ours")
    age(store)
    young = old.with_name(f".key.{'1' * 16}.tmp")
    young.write_bytes(b"half")

    found = store.collect_garbage()

    assert (found.deleted, found.size) == (1, 4)
    assert not old.exists()
    assert young.exists()
    assert foreign.exists()


def test_a_dry_run_tells_and_changes_nothing(store: ResultStore) -> None:
    store.write(1, "cache/key", expires=NOW - 3 * DAY)
    store.write(1, of(RUN))
    leftover = Path(store.locate(f"cache/.key.{'0' * 16}.tmp"))
    leftover.write_bytes(b"half")
    age(store)
    told: list[Garbage] = []

    found = store.collect_garbage(Uses([ENDED]), dry_run=True, tell=told.append)

    assert [each.reason for each in told] == ["leftover", "expired"]
    assert (found.deleted, found.marked) == (2, 1)
    assert leftover.exists()
    assert {entry.key for entry in store.list()} == {"cache/key", of(RUN)}


def test_whoever_watches_is_told_what_is_looked_at_and_what_is_deleted(store: ResultStore) -> None:
    store.write(1, of(RUN))
    store.write(1, "mine")
    age(store)
    store.collect_garbage(Uses([ENDED]))
    watched: list[str] = []

    store.collect_garbage(Uses([ENDED]), watch=watched.append)

    assert sorted(watched) == ["mine", of(RUN), of(RUN)]


def test_when_it_is_not_known_what_is_in_use_nothing_that_could_be_is_deleted(store: ResultStore) -> None:
    store.write(1, "cache/key", expires=NOW - 3 * DAY)
    store.write(1, of(RUN))
    age(store)
    store.collect_garbage(Uses([ENDED, RunReferences(OTHER, frozenset({"cache/key"}), goes_on=True)]))

    class Unknown(Uses):
        def __iter__(self) -> Iterator[RunReferences]:
            yield ENDED
            raise ReferencesError(OTHER, "a document does not open")

    with pytest.raises(ReferencesError, match="no garbage is collected"):
        store.collect_garbage(Unknown())

    assert keys(store) == {"cache/key", of(RUN)}


def test_marks_that_were_tampered_with_are_no_marks(store: ResultStore) -> None:
    store.write(1, of(RUN))
    age(store)
    store.collect_garbage(Uses([ENDED]))
    mark = Path(store.locate("garbage/mark"))
    mark.write_bytes(mark.read_bytes().replace(b"runs/", b"RUNS/"))

    found = store.collect_garbage(Uses([ENDED]))

    assert (found.deleted, found.marked) == (0, 1)


def test_a_clock_that_is_ahead_of_the_storage_makes_nothing_old(store: ResultStore) -> None:
    store.write(1, of(RUN))
    store.write(1, "cache/key", expires=NOW)
    ahead = a_store(store.url, clock=lambda: time.time_ns() + 100 * DAY * 1000)

    for _ in range(2):
        found = ahead.collect_garbage(Uses([ENDED]))
        assert (found.deleted, found.marked) == (0, 0)


def test_a_clock_that_is_behind_the_storage_makes_nothing_old(store: ResultStore) -> None:
    store.write(1, of(RUN))
    age(store)
    behind = a_store(store.url, clock=lambda: (NOW - 10 * DAY) * 1000)

    for _ in range(2):
        found = behind.collect_garbage(Uses([ENDED]))
        assert (found.deleted, found.marked) == (0, 0)


def test_garbage_of_other_file_systems_is_collected_too() -> None:
    store = a_store("memory://garbage-of-a-test")
    store.write(1, of(RUN))
    store.write(1, "cache/key", expires=NOW - 3 * DAY)

    store.collect_garbage(Uses([ENDED]), grace=timedelta(0))
    store.collect_garbage(Uses([ENDED]), grace=timedelta(0))

    assert keys(store) == set()
