# SPDX-License-Identifier: Apache-2.0
"""Which arguments and options do several commands have?"""

from __future__ import annotations

from typing import Annotated, TypeAlias

import typer

__all__ = ["AsJSON", "Prefix", "RunArgument", "Storage", "Traceback"]

RunArgument: TypeAlias = Annotated[str, typer.Argument(metavar="RUN", help="An id, the beginning of one, or 'last'.")]
AsJSON: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Traceback: TypeAlias = Annotated[bool, typer.Option("--traceback", help="Show where errors come from.")]
Prefix: TypeAlias = Annotated[str, typer.Argument(metavar="[FOLDER]", help="Only what lies below it, such as runs.")]
Storage: TypeAlias = Annotated[
    str | None, typer.Option(metavar="URL", help="Another storage than that of the settings.", show_default=False)
]
