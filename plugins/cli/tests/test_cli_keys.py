# SPDX-License-Identifier: Apache-2.0
"""Can the keys be looked at and rotated, and does everything that was there stay readable?"""

from __future__ import annotations

import json
import re

import pytest

from strongroom.results import ResultStore

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
    assert again.lines == [f"0 records brought to the key {done['primary']}"]
    assert terminal.run("read", "last", "table").out == before.out
    assert before.code == 0


def test_a_damaged_result_is_named_and_left_alone(copy_of_lived: Terminal) -> None:
    place = next(path for path in (copy_of_lived.home / "results").rglob("*") if path.is_file())
    damaged = place.read_bytes()[:-1] + b"\0"
    place.write_bytes(damaged)

    done = copy_of_lived.run("keys", "rotate", "--rewrite")

    assert done.code == 1
    assert done.out.count(place.name) == 1
    assert "1 left as they are" in done.out
    assert place.read_bytes() == damaged


def test_a_rewriting_that_is_interrupted_says_how_far_it_is_and_goes_on(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert terminal.call("run", "flows.py:good", "rows=4").code == 0
    rewrite, keys = ResultStore.rewrite, list[str]()

    def interrupted(store: ResultStore, key: str) -> bool:
        keys.append(key)
        if len(keys) == 2:
            raise KeyboardInterrupt
        return rewrite(store, key)

    with monkeypatch.context() as patch:
        patch.setattr(ResultStore, "rewrite", interrupted)
        stopped = terminal.call("keys", "rotate", "--rewrite")
    primary = shown(terminal)["primary"]
    done = json.loads(terminal.call("keys", "rewrite", "--json").out)

    assert (stopped.code, stopped.out) == (130, "")
    assert stopped.err == (
        f"strongroom: interrupted: 1 record brought to the key {primary}, which seals; "
        "`strongroom keys rewrite` goes on\n"
    )
    assert (done["primary"], done["problems"]) == (primary, [])
    assert done["rewritten"] >= 1
    assert terminal.call("store", "verify").code == 0


def test_a_result_that_is_deleted_before_its_turn_is_no_problem(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert terminal.call("run", "flows.py:good", "rows=4").code == 0
    rewrite, keys = ResultStore.rewrite, list[str]()

    def deleted(store: ResultStore, key: str) -> bool:
        keys.append(key)
        if len(keys) == 1:
            store.delete(key)
        return rewrite(store, key)

    monkeypatch.setattr(ResultStore, "rewrite", deleted)
    done = terminal.call("keys", "rotate", "--rewrite", "--json")

    assert done.code == 0
    assert json.loads(done.out)["problems"] == []
    assert json.loads(done.out)["rewritten"] == len(keys) - 1 > 0


def test_keys_in_the_environment_are_used_and_shown_without_their_secrets(copy_of_lived: Terminal) -> None:
    text = (copy_of_lived.home / "keyring.toml").read_text()
    secrets = secrets_of(copy_of_lived)
    (copy_of_lived.home / "keyring.toml").unlink()
    given = {"STRONGROOM_KEYS_SOURCE": "environment", "STRONGROOM_KEYRING": text}

    shown_there = copy_of_lived.run("keys", "show", **given)

    assert shown_there.lines[-1] == "from the variable STRONGROOM_KEYRING"
    for arguments in (["keys", "show", "--json"], ["show", "last"], ["run", "flows.py:good"], ["verify", "last"]):
        done = copy_of_lived.run(*arguments, **given)
        assert done.code == 0
        assert not [secret for secret in secrets if secret in done.out + done.err]
    assert not (copy_of_lived.home / "keyring.toml").exists()
    without = copy_of_lived.run("show", "last", STRONGROOM_KEYS_SOURCE="environment")
    assert without.code == 1
    assert without.err.count("\n") == 1
    assert "set it to the text of a keyring.toml" in without.err


def test_keys_in_a_place_that_cannot_be_written_are_not_rotated_and_the_way_out_works(terminal: Terminal) -> None:
    assert terminal.run("keys", "show").code == 0
    path = terminal.home / "keyring.toml"
    text = path.read_text()
    aside = terminal.folder / "aside"
    aside.mkdir()
    path.rename(aside / "keyring.toml")

    refused = terminal.run("keys", "rotate", STRONGROOM_KEYS_SOURCE="environment", STRONGROOM_KEYRING=text)

    assert refused.code == 2
    assert refused.err.count("\n") == 1
    assert "STRONGROOM_KEYS_SOURCE=file STRONGROOM_HOME=DIR" in refused.err
    assert not path.exists()
    rotated = terminal.run("keys", "rotate", STRONGROOM_KEYS_SOURCE="file", STRONGROOM_HOME=str(aside))
    assert rotated.code == 0
    newer = {"STRONGROOM_KEYS_SOURCE": "environment", "STRONGROOM_KEYRING": (aside / "keyring.toml").read_text()}
    assert len(json.loads(terminal.run("keys", "show", "--json", **newer).out)["keys"]) == 2


def test_no_key_is_made_for_a_rewriting_in_a_storage_that_cannot_be_looked_into(terminal: Terminal) -> None:
    before = shown(terminal)
    terminal.write("a-file", "")

    for place in ("ftp://user:secret@127.0.0.1/results", "a-file"):
        refused = terminal.call("keys", "rotate", "--rewrite", "--storage", place)
        assert refused.code != 0
        assert refused.err.count("\n") == 1

    assert shown(terminal) == before


def test_a_key_that_does_not_seal_yet_rewrites_nothing(terminal: Terminal) -> None:
    done = terminal.run("keys", "rotate", "--stage", "--rewrite")

    assert done.code == 2
    assert "exclude each other" in done.err


def test_a_key_that_nothing_needs_is_removed(terminal: Terminal) -> None:
    old = shown(terminal)["primary"]
    terminal.call("keys", "rotate")

    done = terminal.call("keys", "retire", old[:6])

    assert (done.code, done.lines[0]) == (0, f"the key {old} is gone")
    assert done.lines[1].startswith("no record in ")
    assert done.lines[1].endswith("/results needed it; no other storage was looked at")
    assert done.lines[2].startswith("a process that began before the rotation still seals with it")
    assert [key["use"] for key in shown(terminal)["keys"]] == ["seals and opens"]
    assert old not in (terminal.home / "keyring.toml").read_text()


def test_a_key_that_records_and_documents_need_stays(terminal: Terminal) -> None:
    assert terminal.call("run", "flows.py:good").code == 0
    old = shown(terminal)["primary"]
    terminal.call("keys", "rotate")
    before = (terminal.home / "keyring.toml").read_bytes()

    for force in ([], ["--force"]):
        refused = terminal.call("keys", "retire", old, *force)
        assert refused.code == 1
        assert refused.err.count("\n") == 1
        assert "strongroom keys rewrite" in refused.err
        assert "documents of 1 run, which stay as they were sent" in refused.err
    found = json.loads(terminal.call("keys", "retire", old, "--json").out)

    assert found["retired"] is False
    assert (found["runs"], list(found["records"].values())) == (1, [2])
    assert found["documents"] > 10
    assert (terminal.home / "keyring.toml").read_bytes() == before


def test_documents_are_given_up_by_force_only_and_results_are_still_read(terminal: Terminal) -> None:
    assert terminal.call("run", "flows.py:good").code == 0
    old = shown(terminal)["primary"]
    terminal.call("keys", "rotate", "--rewrite")
    refused = terminal.call("keys", "retire", old)
    assert refused.code == 1
    assert "records" not in refused.err
    key = json.loads(terminal.call("store", "ls", "--json").out)[0]["key"]

    done = terminal.call("keys", "retire", old, "--force")

    assert done.code == 0
    assert "what nobody can ever open again: " in done.out
    assert terminal.call("store", "verify").code == 0
    assert key in terminal.call("store", "ls").out
    assert terminal.call("run", "flows.py:good").code == 0
    assert terminal.call("read", "last", "table").code == 0


def test_records_in_a_storage_of_a_tasks_own_are_found(terminal: Terminal) -> None:
    terminal.write(
        "own.py",
        "from pathlib import Path\nfrom strongroom import Flow, task\n"
        "@task(result_storage=Path('own'), result_serializer='json')\ndef kept():\n    return 1\n"
        "with Flow('own') as flow:\n    kept()\n",
    )
    assert terminal.call("run", "own.py").code == 0
    old = shown(terminal)["primary"]
    terminal.call("keys", "rotate")

    found = json.loads(terminal.call("keys", "retire", old, "--json").out)

    (place,) = found["records"]
    assert place.endswith("/own")
    assert [url.rpartition("/")[2] for url in found["storages"]] == ["results", "own"]
    assert terminal.call("keys", "rewrite", "--storage", "own").code == 0
    assert json.loads(terminal.call("keys", "retire", old, "--json").out)["records"] == {}


WRAPPED = """
from strongroom import Flow, ResultStore, signals, task
from strongroom._handlers import StoredHandler
from strongroom_encrypted.uri import EncryptedURI
from strongroom_masked.uri import MaskedURI

own = StoredHandler(ResultStore("own", serializer="json"))

@task(persist_result=True, result_handler=EncryptedURI(MaskedURI(own)))
def kept():
    return 1

@task
def waits(number):
    raise signals.PAUSE("not yet")

with Flow("wrapped") as flow:
    waits(kept())
"""


def test_records_behind_handlers_that_wrap_another_one_are_found(terminal: Terminal) -> None:
    terminal.write("wrapped.py", WRAPPED)
    terminal.call("run", "wrapped.py")
    old = shown(terminal)["primary"]
    terminal.call("keys", "rotate")

    found = json.loads(terminal.call("keys", "retire", old, "--json").out)

    assert [place.rpartition("/")[2] for place in found["records"]] == ["own"]
    assert found["opaque"] == []


def test_documents_with_a_reference_that_an_older_key_has_sealed_need_it(terminal: Terminal) -> None:
    terminal.write("wrapped.py", WRAPPED)
    terminal.call("run", "wrapped.py")
    old = shown(terminal)["primary"]
    terminal.call("keys", "rotate")
    before = json.loads(terminal.call("keys", "retire", old, "--json").out)["documents"]

    # It pauses again, and hands on the reference that it was given.
    terminal.call("resume", "last", "wrapped.py")

    assert json.loads(terminal.call("keys", "retire", old, "--json").out)["documents"] > before


def test_a_key_stays_unless_forced_where_a_handler_alone_knows_where_results_lie(terminal: Terminal) -> None:
    terminal.write(
        "private.py",
        "from strongroom import Flow, Keyring, task\nfrom strongroom.keyring import Key\n"
        "from strongroom_encrypted.uri import EncryptedURI\n"
        "@task(persist_result=True, result_handler=EncryptedURI(keyring=Keyring([Key(bytes(32))])))\n"
        "def kept():\n    return 1\n"
        "with Flow('private') as flow:\n    kept()\n",
    )
    old = shown(terminal)["primary"]
    terminal.call("keys", "rotate")
    assert terminal.call("run", "private.py").code == 0

    refused = terminal.call("keys", "retire", old)
    assert refused.code == 1
    assert "handlers that alone can tell have kept with it (encrypted-uri)" in refused.err
    assert "--storage" in refused.err
    assert json.loads(terminal.call("keys", "retire", old, "--json").out)["retired"] is False

    done = terminal.call("keys", "retire", old, "--force")

    assert done.code == 0
    assert done.lines[-1] == "where results lie that these handlers keep is known to them only: encrypted-uri"


def test_the_key_that_seals_and_one_that_is_not_there_are_refused(terminal: Terminal) -> None:
    primary = shown(terminal)["primary"]

    seals, missing = terminal.call("keys", "retire", primary), terminal.call("keys", "retire", "zz")

    assert seals.code == missing.code == 2
    assert "strongroom keys rotate" in seals.err
    assert "no key begins with 'zz'" in missing.err
    assert shown(terminal)["primary"] == primary
