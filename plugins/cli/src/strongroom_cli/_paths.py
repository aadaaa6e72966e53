# SPDX-License-Identifier: Apache-2.0
"""How is a place written so that it is short, and can still be pasted?"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

__all__ = ["local_path", "short_path"]


def short_path(path: str | Path) -> str:
    """*path* as it is called from the working directory, or else from the user's home, if it lies below one of them."""
    for folder, prefix in ((Path.cwd(), ""), (Path.home(), "~/")):
        if Path(path).is_relative_to(folder):
            return f"{prefix}{Path(path).relative_to(folder)}"
    return str(path)


def local_path(url: str) -> str:
    """The path that a ``file:`` URL means, short; any other URL as it is."""
    parts = urlsplit(url)
    return short_path(unquote(parts.path)) if parts.scheme == "file" else url
