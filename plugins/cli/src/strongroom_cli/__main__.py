# SPDX-License-Identifier: Apache-2.0
"""What does ``python -m strongroom_cli`` start?"""

from __future__ import annotations

from strongroom_cli import main

__all__: list[str] = []

if __name__ == "__main__":
    main()
