# SPDX-License-Identifier: Apache-2.0
"""What does it take to write and read an array of 200 MB? At most 8 MiB above it to write, and 1.1 of it to read.

Each measurement has a process of its own, whose peak is the kernel's count (``VmHWM``), reset before it begins.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

pytestmark = [
    pytest.mark.benchmark(group="a 200 MB array"),
    pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux counts the peak like this"),
]

SIZE = 200_000_000
WRITE_BUDGET = 8 << 20
READ_BUDGET = 1.1

PROLOGUE = """
import json, sys, time
from pathlib import Path

import numpy as np
from strongroom import ResultStore

def resident(name):
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024

def reset():
    Path("/proc/self/clear_refs").write_text("5")

chain, size = sys.argv[1], int(sys.argv[2])
store = ResultStore("results", serializer=chain)
store.write(np.arange(1000.0), "warm")
store.read("warm").result
"""
WRITE = """
array = np.random.default_rng(1).random(size // 8)
before = resident("VmRSS"); reset(); start = time.perf_counter()
store.write(array, "array")
took = time.perf_counter() - start
peak = resident("VmHWM") - before
import os
start = time.perf_counter()
with open("raw", "wb", buffering=0) as file:
    file.write(array.data)
    os.fsync(file.fileno())
raw = time.perf_counter() - start
print(json.dumps({"bytes above the array": peak, "MB/s": size / took / 1e6, "of a raw write": raw / took}))
"""
READ = """
before = resident("VmRSS"); reset(); start = time.perf_counter()
array = store.read("array").result
took = time.perf_counter() - start
assert array.shape == (size // 8,)
assert array[:5].tolist() == np.random.default_rng(1).random(5).tolist()
print(json.dumps({"peak over size": (resident("VmHWM") - before) / size, "MB/s": size / took / 1e6}))
"""


def run(code: str, chain: str) -> dict[str, float]:
    command = [sys.executable, "-c", PROLOGUE + code, chain, str(SIZE)]
    return dict(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))


@pytest.mark.parametrize("chain", ["auto", "pickle", "compressed/arrow"])
def test_write_and_read(benchmark: BenchmarkFixture, chain: str) -> None:
    written = benchmark.pedantic(run, args=(WRITE, chain), rounds=1)
    read = run(READ, chain)
    benchmark.extra_info["chain"] = chain
    benchmark.extra_info["write"] = {key: round(value, 2) for key, value in written.items()}
    benchmark.extra_info["read"] = {key: round(value, 2) for key, value in read.items()}

    assert written["bytes above the array"] <= WRITE_BUDGET
    assert read["peak over size"] <= READ_BUDGET
