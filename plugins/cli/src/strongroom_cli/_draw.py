# SPDX-License-Identifier: Apache-2.0
"""What does a flow in a file look like?"""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING

from strongroom_cli._errors import FAILED, CommandError
from strongroom_cli._load import load_flow

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["draw"]

_MERMAID = frozenset({".mmd", ".mermaid"})


def draw(target: str, *, mermaid: bool, out: Path | None, with_traceback: bool) -> None:
    """Print the flow that *target* means as a text that is drawn elsewhere, or write it or its picture to *out*.

    Nothing is run but the file itself.

    Raises:
        CommandError: there is no such flow, or *out* cannot be written.
    """
    # Only the drawing goes to standard output, whatever the user's code prints.
    with contextlib.redirect_stdout(sys.stderr):
        flow = load_flow(target, with_traceback=with_traceback)
    as_mermaid = mermaid or (out is not None and out.suffix.lower() in _MERMAID)
    try:
        if out is None:
            sys.stdout.write(flow.to_mermaid() if as_mermaid else flow.visualize())
        elif as_mermaid:
            out.write_text(flow.to_mermaid(), encoding="utf-8")
        else:
            flow.visualize(out)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError) as exc:
        raise CommandError(f"{out} cannot be written: {exc.strerror}", FAILED) from exc
