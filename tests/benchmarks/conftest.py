# SPDX-License-Identifier: Apache-2.0
"""What did each benchmark find, beside the times that pytest-benchmark prints by itself?"""

from __future__ import annotations

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

_FOUND = pytest.StashKey[dict[str, dict[str, object]]]()


@pytest.fixture(autouse=True)
def found(request: pytest.FixtureRequest, benchmark: BenchmarkFixture) -> None:
    """Remember what the test will say of itself, whether or not it passes."""
    request.config.stash.setdefault(_FOUND, {})[request.node.name] = benchmark.extra_info


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print it, a line for each figure."""
    found = config.stash.get(_FOUND, {})
    if not found:
        return
    terminalreporter.section("what was found")
    for test, told in found.items():
        terminalreporter.line(test)
        for name, value in told.items():
            shown = f"{value:,.2f}".removesuffix(".00") if isinstance(value, float) else value
            terminalreporter.line(f"    {name}: {shown}")
