# SPDX-License-Identifier: Apache-2.0
"""Is everything there that a run needs, and does it work?"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.text import Text

from strongroom.errors import SettingsError
from strongroom.project import Project
from strongroom_cli._checks import CHECKS, Check, checked
from strongroom_cli._errors import FAILED, printable
from strongroom_cli._output import Output, print_json
from strongroom_cli._shown_settings import shown_settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from strongroom_cli._shown_settings import Shown

__all__ = ["doctor"]

_STYLES = {"ok": "green", "warning": "yellow", "failed": "red", "skipped": "dim"}


def doctor(*, seconds: float, as_json: bool) -> None:
    """Check each thing by itself, for *seconds* at most, and say what is wrong and what to do.

    Raises:
        SystemExit: something is.
    """
    shown: Sequence[Shown] = ()
    try:
        project = Project.open()
    except SettingsError as exc:
        checks = [Check("settings", "failed", str(exc)), *(_skipped(name) for name in CHECKS)]
    else:
        shown = shown_settings(project)
        checks = [_of_settings(shown), *(checked(name, project, seconds) for name in CHECKS)]
    is_well = all(check.state != "failed" for check in checks)
    if as_json:
        print_json({"ok": is_well, "checks": [asdict(each) for each in checks], "settings": [*map(asdict, shown)]})
    else:
        _print(checks, shown)
    if not is_well:
        raise SystemExit(FAILED)


def _skipped(name: str) -> Check:
    return Check(name, "skipped", "nobody knows where to look before the settings are right")


def _of_settings(shown: Sequence[Shown]) -> Check:
    given = sum(each.origin != "default" for each in shown)
    origins = sorted({each.origin for each in shown} - {"default"})
    if not given:
        return Check("settings", "ok", "all of them are the defaults")
    return Check("settings", "ok", f"{given} given, in {', '.join(origins)}; the others are the defaults")


def _print(checks: Sequence[Check], shown: Sequence[Shown]) -> None:
    output = Output()
    for check in checks:
        head = Text(f"{check.name:9}").append(f"{check.state:8}", style=_STYLES[check.state])
        _line(output, head, printable(check.says))
    given = [(each.setting, each.value, each.origin) for each in shown if each.origin != "default"]
    if given:
        output.line()
        output.table(("setting", "value", "from"), given)
    bad = sum(check.state == "failed" for check in checks)
    output.line()
    output.line(f"{bad} of {len(checks)} checks failed" if bad else "all is well: nothing failed")


def _line(output: Output, head: Text, says: str) -> None:
    """*head* and *says* beside it, in as many lines as that takes, one below the other."""
    indent = " " * len(head.plain)
    lines = Text(says).wrap(output.console, max(output.width - len(indent), 20))
    for number, line in enumerate(lines):
        line.rstrip()
        output.line(head.append_text(line) if number == 0 else Text(indent).append_text(line))
