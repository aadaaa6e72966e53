# SPDX-License-Identifier: Apache-2.0
"""Do `strongroom egress explain` and `diff` say what leaves, and who says so?"""

from __future__ import annotations

import json
from pathlib import Path

from .terminal import Terminal


def test_each_field_is_explained_with_its_origin(terminal: Terminal) -> None:
    done = terminal.call("egress", "explain", "--json", STRONGROOM_EGRESS_MESSAGE="drop")

    told = {rule["field"]: rule for rule in json.loads(done.out)}

    assert told["message"] == {"field": "message", "disposition": "drop", "origin": "STRONGROOM_EGRESS_MESSAGE"}
    assert told["tags"] == {"field": "tags", "disposition": "seal", "origin": "default"}
    assert told["run_id"]["disposition"] == "clear"


def test_the_table_has_a_line_for_each_field(terminal: Terminal) -> None:
    lines = [line.split() for line in terminal.call("egress", "explain").lines]

    assert ["message", "seal", "default"] in lines
    assert ["at", "clear", "fixed"] in lines


def test_only_what_differs_from_another_file_is_told(terminal: Terminal, tmp_path: Path) -> None:
    other = tmp_path / "other.toml"
    other.write_text("[egress]\ntags = 'drop'\nmessage = 'token'\n")

    done = terminal.call("egress", "diff", str(other), STRONGROOM_EGRESS_MESSAGE="token")
    told = terminal.call("egress", "diff", str(other), "--json", STRONGROOM_EGRESS_MESSAGE="token")

    assert [line.split() for line in done.lines[1:]] == [["tags", "seal", "drop", "default"]]
    assert json.loads(told.out)[0]["there"] == "drop"


def test_a_file_that_is_not_there_is_one_clear_line(terminal: Terminal) -> None:
    assert "there is no file" in terminal.call("egress", "diff", "absent.toml").err
