# SPDX-License-Identifier: Apache-2.0
"""Is a large value written and read in the memory that it has already?"""

from __future__ import annotations

import subprocess
import sys

import pytest

MIB = 1 << 20

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux forgets a high-water mark when asked")

# It runs in an interpreter of its own, where nothing else moves the mark.
PROGRAM = """
import io, mmap
import numpy as np, pandas as pd, polars as pl, pyarrow as pa
from strongroom_arrow import ArrowIPC

class Sink(io.RawIOBase):
    def __init__(self, memory=None):
        self.memory, self.size = memory, 0
    def writable(self):
        return True
    def write(self, data):
        if self.memory is not None:
            self.memory[self.size:self.size + len(data)] = data
        self.size += len(data)
        return len(data)

class Source(io.RawIOBase):
    def __init__(self, memory):
        self.memory = memory
    def getbuffer(self):
        return memoryview(self.memory)

def first(value):
    # A small value of the same kind, so that what is imported for it is not counted.
    if type(value) is list:
        return [first(each) for each in value]
    return first(value["t"]) if type(value) is dict else value[:5]

def peak(reset):
    if reset:
        # What it took to make the value is not the question.
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) << 10 for line in file if line.startswith("VmHWM"))

def write(small, large):
    ArrowIPC().dump(small, Sink())
    before = peak(reset=True)
    ArrowIPC().dump(large, Sink())
    return peak(reset=False) - before

def read(small, large):
    sink = Sink()
    ArrowIPC().dump(large, sink)
    memory = mmap.mmap(-1, sink.size)
    ArrowIPC().dump(large, Sink(memory))
    ArrowIPC().loads(ArrowIPC().dumps(small))
    before = peak(reset=True)
    keep = ArrowIPC().load(Source(memory))
    return peak(reset=False) - before

N = 80_000_000 // 8
"""


def extra(what: str) -> int:
    """How many bytes more than before it took to do *what*."""
    program = f"{PROGRAM}\nprint({what})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.parametrize(
    "value",
    [
        "np.ones(N)",
        "np.ones((3200, 3200))[:, ::-1]",
        "pa.table({'a': np.ones(N)})",
        "pa.table({'s': pa.array(['some text'] * 2_000_000, pa.large_string())}).slice(1)",
        "pd.DataFrame({'a': np.arange(N)})",
        "pd.DataFrame({'s': pd.Series(['some text that is long' * 10] * 400_000, dtype=object)})",
        "pd.DataFrame({'s': pd.Series(['some text that is long' * 10] * 400_000, dtype='string[python]')})",
        "pd.DataFrame({'c': pd.Categorical.from_codes(np.zeros(3 * N, 'i1'), ['a', 'b'])})",
        "pd.DataFrame(np.zeros((N, 10), bool))",
        "[np.ones(N // 2), {'t': pa.table({'a': np.ones(N // 2)})}]",
        "pl.DataFrame({'s': ['some text that is long'] * 2_000_000})",
    ],
)
def test_writing_takes_no_more_than_8_mib_on_top_of_the_value(value: str) -> None:
    assert extra(f"write(first({value}), {value})") < 8 * MIB


@pytest.mark.parametrize("value", ["np.ones(N)", "pa.table({'a': np.ones(N)})", "[np.ones(N)]"])
def test_reading_from_memory_takes_none_on_top_of_it(value: str) -> None:
    assert extra(f"read(first({value}), {value})") < 4 * MIB
