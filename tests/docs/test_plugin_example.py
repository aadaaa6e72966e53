# SPDX-License-Identifier: Apache-2.0
"""Does the example of a plugin work as a plugin?"""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from strongroom._plugins import Plugins
from strongroom.hookspecs import PROJECT

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "strongroom-msgpack"


@pytest.fixture
def plugins(monkeypatch: pytest.MonkeyPatch) -> Plugins:
    """The plugins that the example's own pyproject.toml declares."""
    declared = tomllib.loads((EXAMPLE / "pyproject.toml").read_text(encoding="utf-8"))["project"]["entry-points"]
    monkeypatch.syspath_prepend(str(EXAMPLE / "src"))
    return Plugins(EntryPoint(name, value, PROJECT) for name, value in declared[PROJECT].items())


def test_its_serializer_is_found_under_its_id(plugins: Plugins) -> None:
    serializer = plugins.serializer("msgpack")

    assert serializer.loads(serializer.dumps({"a": [1, None]})) == {"a": [1, None]}


def test_its_conformance_tests_pass() -> None:
    environment = {**os.environ, "PYTHONPATH": str(EXAMPLE / "src")}

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(EXAMPLE / "tests")],
        cwd=EXAMPLE,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )

    assert done.returncode == 0, done.stdout + done.stderr
