# SPDX-License-Identifier: Apache-2.0
"""What do very many tasks take: a flow of 100,000, with its memory, and a map of 10,000 children?

Budgets: 1 GiB for all of the process, and 1.3 times the time per task of a flow of 1,000, to build and to run it; and
100 us for a child of a map. The flow has a process of its own, whose peak is the kernel's count.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from strongroom import Flow, task

from . import floor

pytestmark = pytest.mark.benchmark(group="very many tasks")

PEAK_BUDGET = 1 << 30
GROWTH = 1.3
CHILD_BUDGET_US = 100
# Times the floor of a recorded task, as in test_flow_run.py.
MOST_OF_A_CHILD = 6.0
SMALL, LARGE = 1_000, 100_000
CHILDREN = 10_000

FLOW = """
import json, resource, sys, time
from strongroom import Flow, task

@task
def one():
    return 1

@task
def add(x):
    return x + 1

def us_per_task(shape, size):
    start, cpu_start = time.perf_counter(), time.process_time()
    with Flow(shape) as flow:
        first = last = one()
        for _ in range(size - 1):
            last = add(last if shape == "chain" else first)
    assert flow.run().is_successful()
    return (time.perf_counter() - start) / size * 1e6, (time.process_time() - cpu_start) / size * 1e6

shape, small, large = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
us_per_task(shape, 10)
# As many tasks in small runs as in the large one, half of them before it, and the mean of them: whatever else the
# machine does meets both.
half = large // small // 2
before = [us_per_task(shape, small) for _ in range(half)]
at_large, cpu_at_large = us_per_task(shape, large)
seen = [*before, *(us_per_task(shape, small) for _ in range(half))]
at_small, cpu_at_small = (sum(each) / len(seen) for each in zip(*seen))
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps({"small": at_small, "large": at_large, "growth": cpu_at_large / cpu_at_small, "peak": peak}))
"""


def run_flow(shape: str) -> dict[str, float]:
    command = [sys.executable, "-c", FLOW, shape, str(SMALL), str(LARGE)]
    return dict(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the peak is counted in other units")
@pytest.mark.parametrize("shape", ["chain", "fan-out"])
def test_a_flow_of_100000_tasks(benchmark: BenchmarkFixture, shape: str) -> None:
    seen = benchmark.pedantic(run_flow, args=(shape,), rounds=1)
    # The processor's time, which others on the machine change less than the clock's, and seldom three times.
    growth = seen["growth"]
    for _ in range(2):
        growth = growth if growth <= GROWTH else run_flow(shape)["growth"]

    benchmark.extra_info["us per task, built and run, of 1,000"] = round(seen["small"], 1)
    benchmark.extra_info["us per task, built and run, of 100,000"] = round(seen["large"], 1)
    benchmark.extra_info["processor's time per task, 100,000 over 1,000"] = round(growth, 2)
    benchmark.extra_info["peak MiB"] = round(seen["peak"] / (1 << 20))
    assert seen["peak"] <= PEAK_BUDGET
    assert growth <= GROWTH


@task
def numbers(size: int) -> list[int]:
    return list(range(size))


@task
def add(x: int) -> int:
    return x + 1


def us_per_child(size: int, clock: Callable[[], float] = time.perf_counter) -> float:
    with Flow("map") as flow:
        add.map(numbers(size))
    start = clock()
    assert flow.run().is_successful()
    return (clock() - start) / size * 1e6


def test_a_map_of_10000_children(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    us_per_child(10)
    # In turns, so that whatever else the machine does meets both.
    pairs = [(us_per_child(SMALL), us_per_child(CHILDREN)) for _ in range(3)]
    least = min(floor.cpu_seconds(SMALL, tmp_path) for _ in range(3)) / SMALL * 1e6
    ratio = min(us_per_child(CHILDREN, time.process_time) for _ in range(3)) / least

    benchmark.pedantic(us_per_child, args=(SMALL,), rounds=1)

    few, many = (min(pair[side] for pair in pairs) for side in (0, 1))
    benchmark.extra_info["us per child, of 1,000"] = round(few, 1)
    benchmark.extra_info["us per child, of 10,000"] = round(many, 1)
    benchmark.extra_info["budget"] = CHILD_BUDGET_US
    benchmark.extra_info["processor's time over the floor"] = round(ratio, 2)
    assert ratio <= MOST_OF_A_CHILD
