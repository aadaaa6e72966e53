# SPDX-License-Identifier: Apache-2.0
"""Is a large value written and read in the memory that it has already?"""

from __future__ import annotations

import subprocess
import sys

import pytest

MIB = 1 << 20

# An interpreter of its own, whose high-water mark is the value's: whatever more is needed, raises it.
PROGRAM = """
import gc, io, mmap, resource, sys
import numpy as np, pandas as pd, polars as pl, pyarrow as pa
from strongroom_arrow import ArrowIPC

UNIT = 1 if sys.platform == "darwin" else 1 << 10

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

def mark():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * UNIT

def write(small, large):
    ArrowIPC().dump(small, Sink())
    before = mark()
    ArrowIPC().dump(large, Sink())
    return mark() - before

def read(small, large):
    sink = Sink()
    ArrowIPC().dump(large, sink)
    memory = mmap.mmap(-1, sink.size)
    ArrowIPC().dump(large, Sink(memory))
    ArrowIPC().loads(ArrowIPC().dumps(small))
    before = mark()
    keep = ArrowIPC().load(Source(memory))
    return mark() - before

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
        "pl.DataFrame({'s': ['some text that is long'] * 2_000_000})",
    ],
)
def test_writing_takes_no_more_than_8_mib_on_top_of_the_value(value: str) -> None:
    assert extra(f"write(({value})[:5], {value})") < 8 * MIB


@pytest.mark.parametrize("value", ["np.ones(N)", "pa.table({'a': np.ones(N)})"])
def test_reading_from_memory_takes_none_on_top_of_it(value: str) -> None:
    assert extra(f"read(({value})[:5], {value})") < 4 * MIB
