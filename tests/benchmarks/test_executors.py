# SPDX-License-Identifier: Apache-2.0
"""What does it cost to run a trivial task elsewhere, and what do dask's schedulers, which record nothing, take?

One graph of 1,000 tasks: one first, and all others wait for that one. Ratios are to the executor ``sync``.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from strongroom import Executor, SyncExecutor, ThreadExecutor

from .test_flow_run import add, fan_out, one

pytestmark = pytest.mark.benchmark(group="executors: 1,000 trivial tasks")

SIZE = 1_000
ROUNDS = 3


def with_executor(make: Callable[[], Executor], size: int) -> Callable[[], object]:
    flow = fan_out(size)
    return lambda: flow.run(executor=make())


def with_processes(size: int) -> Callable[[], object]:
    executor = pytest.importorskip("strongroom_processes.executor")
    return with_executor(lambda: executor.ProcessExecutor(2), size)


def with_dask(scheduler: str, size: int) -> Callable[[], object]:
    dask = pytest.importorskip("dask")
    first = dask.delayed(one.run)()
    graph = [first, *(dask.delayed(add.run)(first) for _ in range(size - 1))]
    return lambda: dask.compute(*graph, scheduler=scheduler, optimize_graph=False)


WAYS: dict[str, Callable[[int], Callable[[], object]]] = {
    "sync": lambda size: with_executor(SyncExecutor, size),
    "threads": lambda size: with_executor(lambda: ThreadExecutor(2), size),
    "processes": with_processes,
    "dask, synchronous": lambda size: with_dask("synchronous", size),
    "dask, threaded": lambda size: with_dask("threads", size),
}


def seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


@pytest.mark.parametrize("way", WAYS)
def test_a_thousand_trivial_tasks(benchmark: BenchmarkFixture, way: str) -> None:
    here, there, start = WAYS["sync"](SIZE), WAYS[way](SIZE), WAYS[way](3)
    seconds(here)
    seconds(start)
    # In turns, so that whatever else the machine does meets all.
    rounds = [(seconds(here), seconds(there), seconds(start)) for _ in range(ROUNDS)]

    benchmark.pedantic(there, rounds=1)

    best_here, best_there, best_start = (min(times) for times in zip(*rounds, strict=True))
    benchmark.extra_info["time over sync"] = round(best_there / best_here, 2)
    benchmark.extra_info["us per task, without the start"] = round((best_there - best_start) / SIZE * 1e6, 1)


def test_a_worker_process_starts_and_ends(benchmark: BenchmarkFixture) -> None:
    executor = pytest.importorskip("strongroom_processes.executor")

    def start() -> None:
        with executor.ProcessExecutor(1) as opened:
            opened.submit(int).result()

    benchmark.pedantic(start, rounds=ROUNDS, warmup_rounds=1)
