# SPDX-License-Identifier: Apache-2.0
"""What does the command ``strongroom`` start?"""

from __future__ import annotations

__all__ = ["main"]


def main() -> None:
    """Run the command line; leaves by `SystemExit` with 0, 1 for a failure, 2 for misuse or 130 for ctrl-C."""
    # This module is a plugin too, and plugins are loaded in every run: whoever loads it must not pay for the commands.
    from strongroom_cli._app import start

    start()
