# SPDX-License-Identifier: Apache-2.0
"""Which plugins are installed, and what do they bring?"""

from __future__ import annotations

from dataclasses import asdict

from rich.text import Text

from strongroom.project import Project
from strongroom_cli._errors import printable
from strongroom_cli._output import Output, print_json

__all__ = ["plugins"]


def plugins(*, as_json: bool) -> None:
    """Print all installed plugins, those that are broken or not allowed included."""
    found = Project.open().plugins.info()
    if as_json:
        print_json([asdict(info) for info in found])
        return
    rows = [
        (
            info.name,
            info.version or "-",
            info.distribution or "-",
            Text(printable(info.error), style="red") if info.error else ", ".join((*info.ids, *info.hooks)) or "-",
        )
        for info in found
    ]
    Output().table(("plugin", "version", "distribution", "brings"), rows)
