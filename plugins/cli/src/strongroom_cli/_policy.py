# SPDX-License-Identifier: Apache-2.0
"""What may leave, by which rule, and what would change with other settings?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from strongroom.project import Project
from strongroom_cli._errors import CommandError
from strongroom_cli._output import Output, print_json

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["diff", "explain"]


def explain(*, as_json: bool) -> None:
    """Print each field of documents, what happens to it on its way out, and who says so."""
    rules = Project.open().policy.rules.values()
    if as_json:
        print_json(
            [{"field": rule.field, "disposition": rule.disposition.value, "origin": rule.origin} for rule in rules]
        )
        return
    Output().table(
        ("field", "leaves", "because of"),
        [(rule.field, rule.disposition.value, rule.origin if rule.can_change else "fixed") for rule in rules],
    )


def diff(file: Path, *, as_json: bool) -> None:
    """Print the fields that would leave in another way with the settings in *file* and no others.

    Raises:
        CommandError: there is no such file.
    """
    if not file.is_file():
        raise CommandError(f"there is no file {file}")
    here, there = Project.open().policy.rules, Project.of_file(file).policy.rules
    changed = [field for field, rule in here.items() if rule.disposition is not there[field].disposition]
    if as_json:
        print_json(
            [
                {
                    "field": field,
                    "here": here[field].disposition.value,
                    "there": there[field].disposition.value,
                    "origin": here[field].origin,
                }
                for field in changed
            ]
        )
        return
    output = Output()
    if not changed:
        output.line(f"with {file} everything would leave in the same way")
        return
    output.table(
        ("field", "here", "there", "here because of"),
        [
            (field, here[field].disposition.value, there[field].disposition.value, here[field].origin)
            for field in changed
        ],
    )
