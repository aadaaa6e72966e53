# SPDX-License-Identifier: Apache-2.0
"""What does a trivial task cost, its states sealed and recorded in SQLite? Budget: 100 us, the same at any size.

What is judged here are ratios to what was measured in the same minute: times depend on the machine.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from strongroom import Flow, Task, task

from . import floor

pytestmark = pytest.mark.benchmark(group="a trivial task")

BUDGET_US = 100
GROWTH = 1.3
# Times the floor.
MOST = 6.0


@task
def one() -> int:
    return 1


@task
def add(x: int) -> int:
    return x + 1


def chain(size: int) -> Flow:
    with Flow("chain") as flow:
        last: Task = one()
        for _ in range(size - 1):
            last = add(last)
    return flow


def fan_out(size: int) -> Flow:
    with Flow("fan-out") as flow:
        first = one()
        for _ in range(size - 1):
            add(first)
    return flow


@pytest.fixture(autouse=True)
def warm() -> None:
    """Make the home and load what is loaded once, as the first run of a process does."""
    assert chain(10).run().is_successful()


def seconds(flow: Flow) -> float:
    start = time.perf_counter()
    assert flow.run().is_successful()
    return time.perf_counter() - start


def cpu_seconds(flow: Flow) -> float:
    start = time.process_time()
    assert flow.run().is_successful()
    return time.process_time() - start


@pytest.mark.parametrize("size", [1_000, 10_000])
@pytest.mark.parametrize("shape", [chain, fan_out], ids=["chain", "fan-out"])
def test_a_trivial_task(benchmark: BenchmarkFixture, tmp_path: Path, shape: object, size: int) -> None:
    flow = shape(size)  # type: ignore[operator]
    # In turns, so that whatever else the machine does meets both.
    pairs = [(cpu_seconds(flow), floor.cpu_seconds(size, tmp_path)) for _ in range(3)]

    benchmark.pedantic(seconds, args=(flow,), rounds=5)

    cost = benchmark.stats.stats.min / size * 1e6
    ratio = min(pair[0] for pair in pairs) / min(pair[1] for pair in pairs)
    benchmark.extra_info["us per task"] = round(cost, 1)
    benchmark.extra_info["us per task, median"] = round(benchmark.stats.stats.median / size * 1e6, 1)
    benchmark.extra_info["budget"] = BUDGET_US
    benchmark.extra_info["processor's us per task"] = round(min(pair[0] for pair in pairs) / size * 1e6, 1)
    benchmark.extra_info["processor's time over the floor"] = round(ratio, 2)
    assert ratio <= MOST


@pytest.mark.parametrize("shape", [chain, fan_out], ids=["chain", "fan-out"])
def test_growth_from_1000_to_10000_tasks(benchmark: BenchmarkFixture, shape: object) -> None:
    small, large = shape(1_000), shape(10_000)  # type: ignore[operator]
    # In turns, and for as long, so that whatever else the machine does meets both.
    pairs = [(sum(cpu_seconds(small) for _ in range(10)), cpu_seconds(large)) for _ in range(3)]

    benchmark.pedantic(seconds, args=(small,), rounds=1)

    ratio = min(pair[1] for pair in pairs) / min(pair[0] for pair in pairs)
    benchmark.extra_info["processor's time per task, 10,000 over 1,000"] = round(ratio, 2)
    assert ratio <= GROWTH
