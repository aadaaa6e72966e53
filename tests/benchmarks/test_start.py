# SPDX-License-Identifier: Apache-2.0
"""How long does one wait for `import strongroom` and for `strongroom --help`? Budgets: 100 ms and 400 ms.

What is judged is the processor's time, as a ratio to that of a Python that does nothing, which depends less on the
machine.
"""

from __future__ import annotations

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from . import programs

pytestmark = pytest.mark.benchmark(group="start")

ROUNDS = 15
ALONE = ["-c", "pass"]


def start(command: list[str]) -> float:
    """Run a command; returns the seconds that the processor took for it."""
    return programs.run(command)[0]


@pytest.mark.parametrize(
    ("name", "command", "most"),
    [
        ("import strongroom", ["-c", "import strongroom"], 10),
        ("strongroom --help", ["-m", "strongroom_cli", "--help"], 15),
        ("strongroom --version", ["-m", "strongroom_cli", "--version"], 15),
    ],
)
def test_start(benchmark: BenchmarkFixture, name: str, command: list[str], most: float) -> None:
    start(command)
    # In turns, so that whatever else the machine does meets both.
    pairs = [(start(command), start(ALONE)) for _ in range(ROUNDS)]

    benchmark.pedantic(start, args=(command,), rounds=ROUNDS)

    taken, alone = (min(pair[side] for pair in pairs) for side in (0, 1))
    benchmark.extra_info["what"] = name
    benchmark.extra_info["ms"] = round(benchmark.stats.stats.min * 1e3)
    benchmark.extra_info["processor's ms beyond python alone"] = round((taken - alone) * 1e3)
    benchmark.extra_info["times python alone"] = round(taken / alone, 1)
    assert taken <= most * alone
