# SPDX-License-Identifier: Apache-2.0
"""What does the command ``strongroom`` start?"""

from __future__ import annotations

__all__ = ["main"]


def main() -> None:
    """Run the command line; leaves by `SystemExit` with 0, 1 for a failure, 2 for misuse or 130 for ctrl-C."""
    try:
        # This module is a plugin too, loaded in every run: whoever loads it must not pay for the commands.
        from strongroom_cli._app import start

        start()
    except KeyboardInterrupt:
        # Somebody was quicker than the imports.
        raise SystemExit(130) from None
