# SPDX-License-Identifier: Apache-2.0
"""Is nothing that is referred to ever deleted, whatever runs do while garbage is collected, at whichever step of it?

Here hypothesis chooses what happens between any two steps of a collection, and finds the shortest story that goes
wrong. `tests/system/test_collected_runs.py` has real runs, processes and kills, in the order that chance gives them.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from strongroom._plugins import Plugins
from strongroom.keyring import Key, Keyring
from strongroom.results import ResultStore, RunReferences
from strongroom.testing._executor_tasks import Literal

LONG = bool(os.environ.get("STRONGROOM_TEST_LONG"))
DAY = 86_400_000_000
GRACE = timedelta(hours=1)
SLOTS, CACHED = range(3), range(2)
# Nothing here crashes, so that no disk has to keep it; to wait for one takes longer than all the rest.
IN_MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
# What may happen, and what has to be chosen for it.
STEPS = {
    "begin": ("is_known",),
    "keep": ("number", "slot", "dies"),
    "go_on": ("number", "slot"),
    "end": ("number",),
    "cache": ("number", "cached"),
    "hit": ("number", "cached"),
    "expire": ("cached",),
    "age": (),
    "leave": ("slot",),
    "collect": (),
}
WORK = sorted(STEPS.keys() - {"begin", "collect"})


@dataclass
class Run:
    """What the record says of a run."""

    is_known: bool
    goes_on: bool = True
    keys: set[str] = field(default_factory=set)


class Interrupted:
    """A storage in which something may happen before each step."""

    def __init__(self, storage: Any, between: Callable[[], None]) -> None:  # noqa: ANN401
        self._storage = storage
        self._between = between

    def __getattr__(self, name: str) -> object:
        self._between()
        return getattr(self._storage, name)

    def walk(self, prefix: str = "") -> Iterator[object]:
        # In one order, or the same choices would not tell the same story again.
        for entry in sorted(self._storage.walk(prefix), key=lambda each: str(each.key)):
            yield entry
            self._between()

    def leftovers(self) -> Iterator[object]:
        yield from sorted(self._storage.leftovers(), key=lambda each: str(each.key))


class Collecting(RuleBasedStateMachine):
    """Runs that write, refer, stop, are resumed and end; results that are cached and expire; collections meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="collected-", dir=IN_MEMORY))
        self.runs: dict[str, Run] = {}
        self.expired: set[str] = set()
        self.turns: set[str] = set()
        self.depth = self.dead = 0
        self.draw: Callable[[st.SearchStrategy[Any]], Any] | None = None
        self.store = self.open()

    def teardown(self) -> None:
        try:
            self.what_nobody_refers_to_goes_in_the_end()
        finally:
            shutil.rmtree(self.folder)

    def what_nobody_refers_to_goes_in_the_end(self) -> None:
        for _ in range(3):
            self.age()
            self.collect()
        self.all_that_is_referred_to_is_there()
        over = {run_id for run_id, run in self.runs.items() if run.is_known and not run.goes_on}
        used = {key for run in self.runs.values() for key in run.keys}
        left = {entry.key for entry in self.store.list("runs")}
        assert {key for key in left if key.split("/")[1] in over} <= used
        assert list(self.folder.rglob(".*")) == []

    def open(self) -> ResultStore:
        keyring = Keyring([Key(bytes(32))])
        return ResultStore(self.folder, serializer=Literal(), keyring=keyring, allow=(), plugins=Plugins({}))

    # What the runs do. Each is one step of theirs: whatever comes in between comes between two of these.

    def begin(self, *, is_known: bool) -> None:
        self.runs[f"{len(self.runs):032x}"] = Run(is_known)

    def keep(self, number: int, slot: int, *, dies: bool) -> None:
        """A task keeps its result and refers to it, unless its process dies before that."""
        run_id, run = self.pick(number)
        if not run.goes_on:
            return
        key = f"runs/{run_id}/{slot:032x}"
        self.store.write(slot, key)
        if not dies:
            run.keys.add(key)

    def go_on(self, number: int, slot: int) -> None:
        """A run is resumed, finds what was kept, and refers to it without writing it again."""
        run_id, run = self.pick(number)
        key = f"runs/{run_id}/{slot:032x}"
        if run.goes_on and self.store.exists(key):
            run.keys.add(key)

    def end(self, number: int) -> None:
        self.pick(number)[1].goes_on = False

    def cache(self, number: int, cached: int) -> None:
        """A task writes a cached result anew, as soon as it is its turn."""
        _, run = self.pick(number)
        key = f"cache/{cached}"
        if run.goes_on and key not in self.turns:
            self.store.write(cached, key, expires=time.time_ns() // 1000 + 10 * DAY)
            self.expired.discard(key)
            run.keys.add(key)

    def hit(self, number: int, cached: int) -> None:
        """A task finds a cached result, and refers to it."""
        _, run = self.pick(number)
        key = f"cache/{cached}"
        if run.goes_on and key not in self.expired and self.store.exists(key):
            run.keys.add(key)

    def expire(self, cached: int) -> None:
        """So much time passes that a cached result has expired for longer than the grace."""
        key = f"cache/{cached}"
        # No collection lasts for longer than the grace: what a run found after the collection had asked for references
        # has not expired when it comes to the deletion.
        in_use = any(key in run.keys for run in self.runs.values() if run.is_known and run.goes_on)
        if key not in self.turns and self.store.exists(key) and not (self.depth and in_use):
            self.store.write(cached, key, expires=time.time_ns() // 1000 - 10 * DAY)
            self.age()
            self.expired.add(key)

    def age(self) -> None:
        """So much time passes that all that is there is older than the grace."""
        for path in self.folder.rglob("*"):
            if path.is_file():
                before = path.stat().st_mtime
                os.utime(path, (before - 90_000,) * 2)

    def leave(self, slot: int) -> None:
        """A writer dies in the middle."""
        folder = self.folder / "runs"
        folder.mkdir(exist_ok=True)
        self.dead += 1
        (folder / f".{slot}.{self.dead:016x}.tmp").write_bytes(b"half")

    def collect(self) -> None:
        self.depth += 1
        try:
            store = self.open()
            store._storage = Interrupted(store._storage, self.between)  # type: ignore[assignment]
            store.collect_garbage(self, grace=GRACE)
        finally:
            self.depth -= 1

    # What the collection asks for.

    def __iter__(self) -> Iterator[RunReferences]:
        for run_id, run in list(self.runs.items()):
            self.between()
            if run.is_known:
                yield RunReferences(run_id, frozenset(run.keys), goes_on=run.goes_on)

    @contextmanager
    def turn(self, storage: str, key: str) -> Iterator[bool]:
        if key in self.turns:
            yield False
            return
        self.turns.add(key)
        try:
            yield True
        finally:
            self.turns.discard(key)

    # How hypothesis leads it.

    def pick(self, number: int) -> tuple[str, Run]:
        return list(self.runs.items())[number % len(self.runs)]

    def between(self) -> None:
        """Something happens between two steps of a collection; mostly nothing, or no story would be short."""
        if self.draw is None or self.depth > 2 or self.draw(st.integers(0, 3)):
            return
        self.step(self.draw(st.sampled_from(sorted(STEPS))), self.draw)

    def step(self, name: str, draw: Callable[[st.SearchStrategy[Any]], Any]) -> None:
        choices = {
            "number": st.integers(0, 5),
            "slot": st.sampled_from(SLOTS),
            "cached": st.sampled_from(CACHED),
            "dies": st.booleans(),
            "is_known": st.booleans(),
        }
        getattr(self, name)(**{argument: draw(choices[argument]) for argument in STEPS[name]})

    @rule(is_known=st.booleans())
    def begin_a_run(self, is_known: bool) -> None:  # hypothesis calls it by name
        self.begin(is_known=is_known)

    @precondition(lambda self: self.runs)
    @rule(name=st.sampled_from(WORK), data=st.data())
    def work(self, name: str, data: st.DataObject) -> None:
        self.step(name, data.draw)

    @precondition(lambda self: self.runs)
    @rule(data=st.data(), first=st.booleans())
    def collect_some_time_later(self, data: st.DataObject, first: bool) -> None:
        if first:
            self.age()
        self.draw = data.draw
        self.collect()
        self.draw = None

    @invariant()
    def all_that_is_referred_to_is_there(self) -> None:
        for run in self.runs.values():
            for key in run.keys:
                # An expired result is held up only by runs that can still be gone on with and are known.
                if key not in self.expired or (run.goes_on and run.is_known):
                    self.store.check(key)


TestCollecting = pytest.mark.long(Collecting.TestCase)
TestCollecting.settings = settings(
    max_examples=500 if LONG else 10,
    stateful_step_count=20,
    deadline=None,
    print_blob=True,
    # A busy machine is no failure.
    suppress_health_check=[HealthCheck.too_slow],
)
