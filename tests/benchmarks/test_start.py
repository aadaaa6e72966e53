# SPDX-License-Identifier: Apache-2.0
"""How long does one wait for `import strongroom` and for `strongroom --help`? Budgets: 100 ms and 400 ms."""

from __future__ import annotations

import subprocess
import sys

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

pytestmark = pytest.mark.benchmark(group="start")


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("python alone", ["-c", "pass"]),
        ("import strongroom", ["-c", "import strongroom"]),
        ("strongroom --help", ["-m", "strongroom_cli", "--help"]),
        ("strongroom --version", ["-m", "strongroom_cli", "--version"]),
    ],
)
def test_start(benchmark: BenchmarkFixture, name: str, command: list[str]) -> None:
    benchmark.pedantic(
        subprocess.run, args=([sys.executable, *command],), kwargs={"check": True, "capture_output": True}, rounds=15
    )
    benchmark.extra_info["what"] = name
    benchmark.extra_info["ms"] = round(benchmark.stats.stats.min * 1e3)
