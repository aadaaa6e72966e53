# SPDX-License-Identifier: Apache-2.0
"""What does a program take that is started for it, as users start it?"""

from __future__ import annotations

import os
import resource
import subprocess
import sys


def run(command: list[str]) -> tuple[float, str]:
    """Run Python with *command*; the seconds that the processor took for it, and what it printed."""
    # As it is installed: with its bytecode, which the variable would keep from being written.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, *command], check=True, capture_output=True, text=True, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done.stdout
