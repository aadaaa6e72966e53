# SPDX-License-Identifier: Apache-2.0
"""Did every tox environment that should have run really run its commands, and did they succeed?

Usage: verdict.py FOLDER [--untested] ENVIRONMENT...

FOLDER has what tox reports, one file for each time that it ran, in the order of their names.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

__all__ = ["complaint", "main"]


def complaint(report: object) -> str:
    """What is wrong with an environment, given what tox reports of it; empty if nothing is."""
    if not isinstance(report, dict):
        return "did not run"
    if not report.get("test"):
        return "ran no test: its packages could not be installed; can the registry of Python packages be reached?"
    codes = [command["retcode"] for command in (*report.get("setup", ()), *report["test"])]
    if any(codes) or not report.get("result", {}).get("success"):
        return f"failed, exit codes {codes}"
    return ""


def main(folder: str, *environments: str) -> int:
    """Print one line for each environment and one for all; 0 if all succeeded. Or those only that ran no test."""
    reports: dict[str, dict[str, object]] = {}
    for file in sorted(Path(folder).glob("*.json")):
        reports |= json.loads(file.read_text())["testenvs"]
    if environments[:1] == ("--untested",):
        print(*(name for name in environments[1:] if not reports.get(name, {}).get("test")), sep="\n", end="")
        return 0
    complaints = {name: complaint(reports.get(name)) for name in environments}
    for name, wrong in complaints.items():
        print(f"ci: {name} {wrong or 'succeeded'}")
    bad = sorted(name for name, wrong in complaints.items() if wrong)
    if bad or not environments:
        print(f"ci: FAILED: {', '.join(bad) or 'nothing was asked for'}")
        return 1
    print(f"ci: all {len(environments)} environments succeeded")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
