# SPDX-License-Identifier: Apache-2.0
"""Do never more tasks with a tag run at once than its limit allows, and does the rest wait without harm?"""

from __future__ import annotations

import contextlib
import functools
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strongroom import Envelope, Flow, State, _running, context, states, task, unmapped
from strongroom import _limits as limits_module
from strongroom._leases import open_leases
from strongroom._memory_backend import MemoryBackend
from strongroom.abc import Backend, Lease
from strongroom.errors import (
    BackendError,
    BackendUnavailableError,
    DefinitionError,
    HandlerError,
    NotResumableError,
    SettingsError,
)
from strongroom.project import Project

LONG = 600.0


class Counter:
    """How many are inside, and how many were at most."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.now = self.most = 0

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        with self._lock:
            self.now += 1
            self.most = max(self.most, self.now)
        try:
            yield
        finally:
            with self._lock:
                self.now -= 1


class Watched(MemoryBackend):
    """A backend that counts how often a lease was asked for, and whose heartbeats can be waited for."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(clock)
        self.asked: list[str] = []
        self.renewals = threading.Semaphore(0)

    def acquire(self, name: str, holder: str, *, seconds: float, slots: int = 1) -> Lease | None:
        self.asked.append(name)
        return super().acquire(name, holder, seconds=seconds, slots=slots)

    def renew(self, lease: Lease, *, seconds: float) -> bool:
        renewed = super().renew(lease, seconds=seconds)
        self.renewals.release()
        return renewed

    def is_free(self, tag: str, slots: int = 1) -> bool:
        lease = super().acquire(token(tag), "somebody else", seconds=LONG, slots=slots)
        if lease is not None:
            self.release(lease)
        return lease is not None

    def take(self, tag: str) -> Lease:
        """Hold what *tag* stands for, as another process would."""
        lease = super().acquire(token(tag), "another process", seconds=LONG)
        assert lease is not None
        return lease


@pytest.fixture
def backend() -> Watched:
    return Watched()


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    return lambda text: monkeypatch.setenv("STRONGROOM_LIMITS", text)


def token(tag: str) -> str:
    return Project.open().keyring.token("limit", tag)


def types(backend: Backend, slug: str, map_index: int = -1) -> list[str]:
    (run_id,) = backend.runs()
    return [each.type for each in backend.read(run_id, task=slug) if each.map_index == map_index]


def when_queued(call: Callable[[], object]) -> Callable[[object, State, State], None]:
    """A state handler that calls *call* when a task is queued."""

    def handler(_: object, old: State, new: State) -> None:
        if new.is_queued():
            call()

    return handler


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_as_many_run_at_once_as_the_limit_allows_and_never_more(
    limits: Callable[[str], None], backend: Watched, limit: int
) -> None:
    limits(f"db={limit}")
    counter, together = Counter(), threading.Barrier(limit)

    @task(tags=["db"])
    def work(x: int) -> int:
        with counter.inside():
            together.wait(60)
        return x

    with Flow("f", result_handler="json") as f:
        for number in range(6):
            work(number)

    assert f.run(backend=backend, executor="threads").is_successful()
    assert counter.most == limit
    assert backend.is_free("db", limit)


def test_children_of_a_mapped_task_are_limited_too(limits: Callable[[str], None], backend: Watched) -> None:
    limits("db=2")
    counter = Counter()

    @task(tags=["db"])
    def work(x: int, y: int) -> int:
        with counter.inside():
            return x + y

    with Flow("f", result_handler="json") as f:
        mapped = work.map(list(range(50)), unmapped(1))

    state = f.run(backend=backend, executor="threads")

    assert state.result[mapped].result == list(range(1, 51))  # type: ignore[index]
    assert counter.most <= 2


@settings(max_examples=20)
@given(
    tags=st.lists(st.sets(st.sampled_from("abc")), max_size=12),
    numbers=st.fixed_dictionaries({tag: st.integers(1, 3) for tag in "ab"}),
)
def test_any_mixture_of_tags_comes_to_an_end_within_all_limits(tags: list[set[str]], numbers: dict[str, int]) -> None:
    counters = {tag: Counter() for tag in "abc"}

    @task
    def first() -> None:
        pass

    def work() -> None:
        with contextlib.ExitStack() as stack:
            for tag in context.task_tags:
                stack.enter_context(counters[tag].inside())

    with Flow("f") as f:
        start = first()
        for each in tags:
            task(work, name="work", tags=each)(upstream_tasks=[start])

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STRONGROOM_LIMITS", ",".join(f"{tag}={number}" for tag, number in numbers.items()))
        assert f.run(backend=MemoryBackend(), executor="threads").is_successful()

    assert all(counters[tag].most <= number for tag, number in numbers.items())


def test_a_task_over_the_limit_is_queued_and_that_is_recorded_once(
    limits: Callable[[str], None], backend: Watched
) -> None:
    limits("db=1")
    queued = threading.Event()

    @task(tags=["db"])
    def first() -> bool:
        return queued.wait(60)

    @task(tags=["db"], state_handlers=[when_queued(queued.set)])
    def second() -> None:
        assert context.task_run_count == 1

    with Flow("f") as f:
        first()
        second()

    assert f.run(backend=backend, executor="threads").is_successful()
    assert types(backend, "first") == ["Running", "Success"]
    assert types(backend, "second") == ["Queued", "Running", "Success"]
    (run_id,) = backend.runs()
    assert [each.run_count for each in backend.read(run_id, task="second")] == [0, 1, 1]


@pytest.mark.parametrize("executor", ["sync", "threads"])
def test_a_slot_that_another_process_holds_is_waited_for_without_holding_up_the_rest(
    limits: Callable[[str], None], backend: Watched, executor: str
) -> None:
    limits("db=1")
    lease, events = backend.take("db"), []

    @task(tags=["db"])
    def limited() -> None:
        events.append("limited")

    @task
    def free() -> None:
        backend.release(lease)
        events.append("free")

    with Flow("f") as f:
        limited()
        free()

    assert f.run(backend=backend, executor=executor).is_successful()
    assert events == ["free", "limited"]


def test_a_slot_that_this_process_frees_is_used_at_once(
    limits: Callable[[str], None], backend: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits("db=1")
    monkeypatch.setattr(limits_module, "_LONGEST_PAUSE", LONG)
    monkeypatch.setattr(limits_module, "_FIRST_PAUSE", LONG)

    with Flow("f") as f:
        for _ in range(5):
            task(lambda: None, name="work", tags=["db"])()

    assert f.run(backend=backend, executor="threads").is_successful()


def test_many_that_wait_ask_no_more_often_than_one(
    limits: Callable[[str], None], backend: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits("db=1")
    monkeypatch.setattr(limits_module, "_LONGEST_PAUSE", LONG)
    monkeypatch.setattr(limits_module, "_FIRST_PAUSE", LONG)
    all_wait, asked = threading.Semaphore(0), []

    @task(tags=["db"])
    def first() -> None:
        for _ in range(100):
            assert all_wait.acquire(timeout=60)
        asked.append(len(backend.asked))

    @task(tags=["db"], state_handlers=[when_queued(all_wait.release)])
    def work() -> None:
        pass

    with Flow("f") as f:
        first()
        for _ in range(100):
            work()

    assert f.run(backend=backend, executor="threads").is_successful()
    # For the run, for the first one, for all others together.
    assert asked[0] == 3
    # Each is given one lease, and after that somebody may have asked in vain.
    assert 100 <= len(backend.asked) - asked[0] <= 230


def test_a_queued_task_carries_its_inputs_as_references(limits: Callable[[str], None], backend: Watched) -> None:
    limits("db=1")
    seen: list[State] = []
    lease = backend.take("db")

    def watch(_: object, old: State, new: State) -> None:
        if new.is_queued():
            seen.append(new)
            backend.release(lease)

    @task
    def one() -> int:
        return 1

    @task(tags=["db"], state_handlers=[watch])
    def add(x: int, y: int) -> int:
        return x + y

    with Flow("f", result_handler="json") as f:
        last = add(one(), y=10)
    before = datetime.now(UTC)

    state = f.run(backend=backend)

    assert state.result[last].result == 11  # type: ignore[index]
    (queued,) = seen
    assert isinstance(queued, states.Queued)
    assert queued.state.is_pending()
    assert queued.message == "waits for its turn: limits.db = 1"
    assert before < queued.start_time < datetime.now(UTC) + timedelta(seconds=1)
    assert queued.cached_inputs["x"].serialized


def test_a_task_whose_inputs_cannot_be_kept_for_the_queue_fails(
    limits: Callable[[str], None], backend: Watched
) -> None:
    limits("db=1")
    backend.take("db")

    @task
    def one() -> object:
        return object()

    @task(tags=["db"])
    def use(x: object) -> None:
        pass

    with Flow("f", result_handler="json") as f:
        last = use(one())
        after = task(lambda x: x, name="after")(last)

    result = f.run(backend=backend).result
    assert isinstance(result, dict)
    assert isinstance(result[last].result, HandlerError)
    assert isinstance(result[after], states.TriggerFailed)


def test_a_state_handler_may_decide_against_the_queue(limits: Callable[[str], None], backend: Watched) -> None:
    limits("db=1")
    backend.take("db")

    def skip(_: object, old: State, new: State) -> State | None:
        return states.Skipped("not worth waiting for") if new.is_queued() else None

    with Flow("f") as f:
        limited = task(lambda: 1, name="limited", tags=["db"], state_handlers=[skip])()
        after = task(lambda: 2, name="after", skip_on_upstream_skip=False)(upstream_tasks=[limited])

    result = f.run(backend=backend).result
    assert isinstance(result, dict)
    assert result[limited].is_skipped()
    assert result[after].result == 2


def test_who_needs_two_limits_holds_both_or_none(limits: Callable[[str], None], backend: Watched) -> None:
    limits("a=1,b=1")
    lease, held = backend.take("b"), []

    def look() -> None:
        held.append((backend.is_free("a"), backend.is_free("b")))
        backend.release(lease)

    @task(tags=["b", "other", "a"], state_handlers=[when_queued(look)])
    def both() -> None:
        held.append((backend.is_free("a"), backend.is_free("b")))

    with Flow("f") as f:
        both()

    assert f.run(backend=backend).is_successful()
    assert held == [(True, False), (False, False)]
    assert backend.is_free("a")
    assert backend.is_free("b")


def test_whoever_waits_for_its_next_try_holds_no_slot(
    limits: Callable[[str], None], backend: Watched, go_on: threading.Event
) -> None:
    limits("db=1")
    queued, events = threading.Event(), []

    @task(tags=["db"], max_retries=1, retry_delay=timedelta(seconds=0.1))
    def again() -> None:
        events.append(f"again {context.task_run_count}")
        assert queued.wait(60)
        if context.task_run_count == 1:
            raise ValueError

    @task(tags=["db"], state_handlers=[when_queued(queued.set)])
    def other() -> None:
        events.append("other")
        go_on.set()

    with Flow("f") as f:
        again()
        other()

    assert f.run(backend=backend, executor="threads").is_successful()
    assert events == ["again 1", "other", "again 2"]


def test_a_retry_that_is_queued_goes_on_as_that_retry(limits: Callable[[str], None], backend: Watched) -> None:
    limits("db=1")
    counts: list[int] = []
    leases: list[Lease] = []
    once = iter([1])

    def take(_: object, old: State, new: State) -> None:
        if new.is_queued():
            backend.release(leases.pop())

    @task(tags=["db"], max_retries=1, retry_delay=timedelta(0), state_handlers=[take])
    def again() -> None:
        counts.append(context.task_run_count)
        if len(counts) == 1:
            raise ValueError

    original = backend.release

    def release(lease: Lease) -> None:
        original(lease)
        if lease.name == token("db"):
            leases.extend(backend.take("db") for _ in once)

    backend.release = release  # type: ignore[method-assign]  # another process is quicker
    with Flow("f") as f:
        again()

    assert f.run(backend=backend).is_successful()
    assert counts == [1, 2]
    assert types(backend, "again") == ["Running", "Failed", "Retrying", "Queued", "Running", "Success"]


@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt])
def test_a_task_gives_its_slot_back_however_it_ends(
    limits: Callable[[str], None], backend: Watched, error: type[BaseException]
) -> None:
    limits("db=1")

    @task(tags=["db"])
    def fail() -> None:
        raise error

    with Flow("f") as f:
        fail()

    with contextlib.suppress(KeyboardInterrupt):
        f.run(backend=backend)
    assert backend._leases == {}


def test_a_run_that_is_stopped_while_tasks_wait_gives_everything_back(
    limits: Callable[[str], None], backend: Watched
) -> None:
    limits("db=1")
    backend.take("db")

    @task
    def stop() -> None:
        raise KeyboardInterrupt

    with Flow("f") as f:
        task(lambda: 1, name="limited", tags=["db"])()
        stop()

    with pytest.raises(KeyboardInterrupt):
        f.run(backend=backend)
    assert [lease.holder for lease, _ in backend._leases.values()] == ["another process"]


def test_a_lease_that_is_lost_while_the_task_runs_is_said_and_the_result_counts(
    limits: Callable[[str], None], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    limits("db=1")
    backend = Watched(clock=lambda: 0.0)  # so that nothing is lost for any other reason, however busy this machine is
    monkeypatch.setattr(_running, "open_leases", functools.partial(open_leases, seconds=0.03))

    @task(tags=["db"])
    def work() -> int:
        (mine,) = [lease for lease, _ in list(backend._leases.values()) if lease.name == token("db")]
        assert MemoryBackend.renew(backend, mine, seconds=0)
        # What was renewed before that does not count, however many rounds there were on a busy machine.
        while backend.renewals.acquire(blocking=False):
            pass
        # Both of a round that had begun, both of the next one; by then that it is lost was noticed.
        for _ in range(6):
            assert backend.renewals.acquire(timeout=60)
        return 7

    with Flow("f") as f:
        one = work()

    with caplog.at_level(logging.WARNING, "strongroom"):
        state = f.run(backend=backend)

    assert state.result[one].result == 7  # type: ignore[index]
    (warning,) = [record.getMessage() for record in caplog.records]
    assert warning.startswith("the task 'work' lost its place under a concurrency limit while it ran")


class Plain(Backend):
    """A backend that offers no leases."""

    id = "plain"

    def __init__(self) -> None:
        self._kept = MemoryBackend()
        self.append = self._kept.append  # type: ignore[method-assign]
        self.runs = self._kept.runs  # type: ignore[method-assign]
        self.read = self._kept.read  # type: ignore[method-assign]

    def append(self, envelopes: Sequence[Envelope]) -> None:
        raise NotImplementedError

    def runs(self, *, prefix: str = "", limit: int = 20) -> Sequence[str]:
        raise NotImplementedError

    def read(self, run_id: str, *, task: str | None = None) -> Iterator[Envelope]:
        raise NotImplementedError

    def close(self) -> None:
        self._kept.close()


def test_a_limit_needs_a_backend_with_leases_and_nothing_runs_without(limits: Callable[[str], None]) -> None:
    limits("db=1,api=2")
    plain, ran = Plain(), []
    with Flow("f") as f:
        task(lambda: ran.append(1), name="work", tags=["db"])()

    with pytest.raises(SettingsError, match=r"limits\.db holds for the task 'work'.* use the backend 'sql'"):
        f.run(backend=plain)

    assert ran == []
    assert plain.runs() == []


def test_a_flow_without_limited_tasks_runs_on_any_backend(limits: Callable[[str], None]) -> None:
    limits("db=1")
    with Flow("f") as f:
        task(lambda: 1, name="work", tags=["other"])()

    assert f.run(backend=Plain()).is_successful()


def test_without_limited_tasks_the_run_itself_is_the_only_lease(
    limits: Callable[[str], None], backend: Watched
) -> None:
    limits("db=1")
    with Flow("f") as f:
        for _ in range(5):
            task(lambda: 1, name="work", tags=["other"])()

    f.run(backend=backend)

    assert len(backend.asked) == 1


def test_the_backend_sees_no_tag(limits: Callable[[str], None], backend: Watched) -> None:
    limits("canary=1")
    with Flow("f") as f:
        task(lambda: 1, name="work", tags=["canary"])()

    f.run(backend=backend)

    (run_id,) = backend.runs()
    assert len(backend.asked) == 2
    assert not any("canary" in name or run_id in name for name in backend.asked)


class Away(Watched):
    """A backend that is out of reach the first times that it is asked for a limit."""

    times = 3

    def acquire(self, name: str, holder: str, *, seconds: float, slots: int = 1) -> Lease | None:
        if name == token("db") and self.times:
            self.times -= 1
            raise BackendUnavailableError("it is away")
        return super().acquire(name, holder, seconds=seconds, slots=slots)


def test_a_backend_that_is_away_for_a_while_makes_tasks_wait(limits: Callable[[str], None]) -> None:
    limits("db=1")
    away = Away()
    with Flow("f") as f:
        task(lambda: 1, name="work", tags=["db"])()

    assert f.run(backend=away).is_successful()
    assert types(away, "work") == ["Queued", "Running", "Success"]


def test_a_backend_that_stays_away_ends_the_run(limits: Callable[[str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    limits("db=1")
    monkeypatch.setattr(limits_module, "_PATIENCE", 0.0)
    with Flow("f") as f:
        task(lambda: 1, name="work", tags=["db"])()

    with pytest.raises(BackendUnavailableError, match="it is away"):
        f.run(backend=Away())


def test_a_run_that_goes_on_cannot_be_resumed(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = Watched(clock=lambda: 0.0)
    monkeypatch.setattr(_running, "open_leases", functools.partial(open_leases, seconds=0.2))

    @task
    def meddle() -> str:
        try:
            f.resume(context.run_id, backend=backend)
        except NotResumableError as exc:
            return exc.reason
        return ""

    with Flow("f") as f:
        one = meddle()

    state = f.run(backend=backend)

    assert state.result[one].result == "it is running; wait for its end, or stop its process"  # type: ignore[index]
    assert backend._leases == {}


def test_a_run_begins_although_the_backend_cannot_give_its_lease(caplog: pytest.LogCaptureFixture) -> None:
    class NoLeases(MemoryBackend):
        def acquire(self, name: str, holder: str, *, seconds: float, slots: int = 1) -> Lease | None:
            raise BackendUnavailableError("it is away")

    with Flow("f") as f:
        task(lambda: 1, name="work")()

    assert f.run(backend=NoLeases()).is_successful()
    assert "could not be marked as running" in caplog.text


def test_a_run_that_could_not_begin_holds_nothing(backend: Watched) -> None:
    with Flow("f") as f:
        task(lambda: 1, name="work")()

    with pytest.raises((BackendError, DefinitionError, LookupError)):
        f.run(backend=backend, executor="no-such-executor")

    assert backend._leases == {}
    assert backend.runs() == []
