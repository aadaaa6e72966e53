# SPDX-License-Identifier: Apache-2.0
"""Can the keys be looked at and rotated, and does everything that was there stay readable?"""

from __future__ import annotations

import json
import re

from .terminal import Terminal


def shown(terminal: Terminal) -> dict[str, object]:
    done = terminal.run("keys", "show", "--json")
    assert done.code == 0
    return json.loads(done.out)


def secrets_of(terminal: Terminal) -> list[str]:
    return re.findall(r'secret = "([^"]+)"', (terminal.home / "keyring.toml").read_text())


def test_keys_are_shown_without_their_secrets(terminal: Terminal) -> None:
    first = terminal.run("keys", "show")

    assert first.code == 0
    assert "seals and opens" in first.out
    assert "keyring.toml" in first.out
    for secret in secrets_of(terminal):
        assert secret not in first.out + terminal.run("keys", "show", "--json").out


def test_a_new_key_seals_and_the_old_one_goes_on_opening(copy_of_lived: Terminal) -> None:
    before = shown(copy_of_lived)["primary"]

    done = copy_of_lived.run("keys", "rotate")

    assert done.code == 0
    after = shown(copy_of_lived)
    assert [key["use"] for key in after["keys"]] == ["seals and opens", "opens"]
    assert after["keys"][1]["id"] == before
    for secret in secrets_of(copy_of_lived):
        assert secret not in done.out
    for arguments in (["runs"], ["show", "last"], ["run", "flows.py:good"]):
        assert copy_of_lived.run(*arguments).code == 0


def test_a_key_is_staged_before_it_seals(terminal: Terminal) -> None:
    first = shown(terminal)["primary"]

    staged = json.loads(terminal.run("keys", "rotate", "--stage", "--json").out)
    waiting = shown(terminal)
    rotated = json.loads(terminal.run("keys", "rotate", "--json").out)

    assert staged["primary"] == waiting["primary"] == first
    assert [key["use"] for key in waiting["keys"]] == ["opens, waits to seal", "seals and opens"]
    assert rotated == {"added": staged["added"], "primary": staged["added"]}
    assert len(shown(terminal)["keys"]) == 2


def test_stored_results_are_rewritten_and_still_read(terminal: Terminal) -> None:
    assert terminal.run("run", "flows.py:good", "rows=4").code == 0
    before = terminal.run("read", "last", "table")

    done = json.loads(terminal.run("keys", "rotate", "--rewrite", "--json").out)
    again = terminal.run("keys", "rewrite")

    assert done["rewritten"] >= 2
    assert done["problems"] == []
    assert done["primary"] == done["added"] == shown(terminal)["primary"]
    assert again.out.strip().endswith("now: 0")
    assert terminal.run("read", "last", "table").out == before.out
    assert before.code == 0


def test_a_damaged_result_is_named_and_left_alone(copy_of_lived: Terminal) -> None:
    place = next(path for path in (copy_of_lived.home / "results").rglob("*") if path.is_file())
    damaged = place.read_bytes()[:-1] + b"\0"
    place.write_bytes(damaged)

    done = copy_of_lived.run("keys", "rotate", "--rewrite")

    assert done.code == 1
    assert place.name in done.out
    assert "1 left as they are" in done.out
    assert place.read_bytes() == damaged


def test_a_key_that_does_not_seal_yet_rewrites_nothing(terminal: Terminal) -> None:
    done = terminal.run("keys", "rotate", "--stage", "--rewrite")

    assert done.code == 2
    assert "exclude each other" in done.err
