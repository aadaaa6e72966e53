# SPDX-License-Identifier: Apache-2.0
"""A run that is stopped at a random moment is resumed, repeats nothing that was kept, and ends as if undisturbed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROUNDS = int(os.environ.get("STRONGROOM_TEST_KILLS", "200"))
SEED = int(os.environ.get("STRONGROOM_TEST_SEED", "1"))


@pytest.mark.parametrize(("how", "rounds"), [("SIGKILL", ROUNDS), ("SIGINT", ROUNDS // 5)])
def test_stopped_runs_are_resumed(tmp_path: Path, how: str, rounds: int) -> None:
    program = [sys.executable, str(Path(__file__).with_name("killed_runs.py")), str(rounds), str(SEED), how]

    done = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=540)

    assert done.returncode == 0, done.stderr[-20_000:]
    counts = json.loads((tmp_path / "counts.json").read_text())
    done_rounds = sum(counts.values())
    assert max(1, rounds // 10) <= done_rounds <= rounds
    # Were most of them stopped too early or too late, this would say little.
    assert counts.get("resumed", 0) >= done_rounds // 5
