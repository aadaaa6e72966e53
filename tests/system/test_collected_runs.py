# SPDX-License-Identifier: Apache-2.0
"""Does collecting garbage spare all that somebody refers to, while runs are started, killed and resumed?"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

# 400 rounds, a few to a home: every round looks at all runs that there are.
HOMES, ROUNDS = (10, 40) if os.environ.get("STRONGROOM_TEST_LONG") else (1, 3)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(4, 4 + HOMES))
def test_what_a_state_refers_to_is_never_deleted_and_what_nobody_does_is(tmp_path: Path, seed: int) -> None:
    program = Path(__file__).with_name("collected_runs.py")
    environment = {**os.environ, "STRONGROOM_HOME": str(tmp_path / "home")}

    done = subprocess.run(
        [sys.executable, "-B", str(program), str(ROUNDS), str(seed)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=540,
    )

    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["runs"] > 1
    assert (found["open"], found["left"], found["leftovers"]) == ([], [], 0)
