# SPDX-License-Identifier: Apache-2.0
"""Does the table of storages in the docs say what `docs/storages.json` says, which the tests of each storage check?"""

from __future__ import annotations

import json
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"
COLUMNS = {
    "storage": "storage",
    "install": "install",
    "server": "tested against",
    "listed": "can be listed",
    "part": "a part can be read",
    "replaced": "a result is replaced",
    "reader": "who is reading it then",
    "create": "create only if absent",
}


def table() -> str:
    rows = json.loads((DOCS / "storages.json").read_text(encoding="utf-8")).values()
    lines = ["| " + " | ".join(COLUMNS.values()) + " |", "|---" * len(COLUMNS) + "|"]
    lines += ["| " + " | ".join(row.get(name, "-") for name in COLUMNS) + " |" for row in rows]
    return "\n".join(line.replace("|  |", "| |").replace("|  |", "| |") for line in lines)


def test_the_table_of_storages_says_what_was_found_of_each() -> None:
    page = (DOCS / "howto" / "storage.md").read_text(encoding="utf-8")

    assert table() in page, "put this in its place:\n" + table()
