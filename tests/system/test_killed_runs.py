# SPDX-License-Identifier: Apache-2.0
"""A run that is killed at a random moment is resumed, repeats nothing that was kept, and ends as if undisturbed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROUNDS = int(os.environ.get("STRONGROOM_TEST_KILLS", "200"))
SEED = int(os.environ.get("STRONGROOM_TEST_SEED", "1"))


def test_killed_runs_are_resumed(tmp_path: Path) -> None:
    program = Path(__file__).with_name("killed_runs.py")

    done = subprocess.run(
        [sys.executable, program, str(ROUNDS), str(SEED)], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr[-2000:]
    counts = json.loads(done.stdout)
    assert sum(counts.values()) == ROUNDS
    # Were most kills too early or too late, this would say little.
    assert counts.get("resumed", 0) >= ROUNDS // 5
