# SPDX-License-Identifier: Apache-2.0
"""Are fingerprints the same in every process, in every version of Python, and tomorrow?

The files under ``tests/vectors/fingerprint`` were written once. What they stand for is beside them.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from strongroom._fingerprint import canonical
from strongroom.testing import vector

FOLDER = Path(__file__).parents[1] / "vectors" / "fingerprint"
NAME = "values"


def load() -> ModuleType:
    """The module, under a name that does not depend on where it lies."""
    spec = importlib.util.spec_from_file_location(NAME, FOLDER / f"{NAME}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[NAME] = module
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.modules[NAME]
    return module


@pytest.fixture
def values(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = load()
    # The source of a class is found by way of its module.
    monkeypatch.setitem(sys.modules, NAME, module)
    return module


@pytest.mark.parametrize("name", load().VALUES)
def test_a_fingerprint_is_what_it_was(name: str, values: ModuleType) -> None:
    now = canonical(values.VALUES[name])

    assert vector(FOLDER / f"{name.replace(' ', '-')}.bin", lambda: now) == now


PRINT = """
import sys
sys.path.insert(0, sys.argv[1])
import values
from strongroom._fingerprint import canonical
print({name: canonical(value).hex() for name, value in values.VALUES.items()})
"""


def test_a_fingerprint_is_the_same_in_a_process_that_hashes_differently(values: ModuleType) -> None:
    said = {
        subprocess.run(
            [sys.executable, "-c", PRINT, str(FOLDER)],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONDONTWRITEBYTECODE": "1"},
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()
        for seed in ("1", "2")
    }

    assert said == {str({name: canonical(value).hex() for name, value in values.VALUES.items()})}
