# SPDX-License-Identifier: Apache-2.0
"""Does `strongroom doctor` find what is wrong, whatever else is wrong, and say what to do without telling a secret?"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from .terminal import Done, Terminal

PASSWORD = "hunter2-correct-horse"
NAMES = ["settings", "home", "keys", "plugins", "egress", "storage", "backend", "outbox", "clock"]

# What each of these plugins does, somebody's real one did.
PLUGIN = """
import threading
import time

import strongroom
from strongroom._memory_backend import MemoryBackend


class Theirs(MemoryBackend):
    id = "theirs"

    def __init__(self, url):
        super().__init__()
        self.url = url


class Plain(Theirs):
    pass


class Quotes(Theirs):
    def runs(self, *, prefix="", limit=20):
        raise {error}(f"cannot reach {{self.url}}")


class Hangs(Theirs):
    def runs(self, *, prefix="", limit=20):
        threading.Event().wait()


class Late(Theirs):
    def trial(self, envelope):
        return envelope

    def clock(self):
        return time.time() - 3600


class Keeps(Late):
    def trial(self, envelope):
        self.append([envelope])
        return envelope

    def clock(self):
        return time.time()


class Changes(Keeps):
    def trial(self, envelope):
        return type(envelope)(*(getattr(envelope, field) for field in envelope.__struct_fields__[:-2]), b"x", "")


class Forgetful(strongroom.Serializer):
    id = "theirs"

    def dump(self, value, sink):
        sink.write(b"x")

    def load(self, source):
        return "x"


@strongroom.hookimpl
def strongroom_register(register):
    register.backend("theirs", {backend})
    register.serializer(Forgetful())
"""
VETO = """
import strongroom


@strongroom.hookimpl
def strongroom_outgoing(document):
    raise ValueError("not today")
"""


def install(terminal: Terminal, name: str, code: str) -> None:
    """A plugin, as pip would install it."""
    terminal.write(f"{name}.py", code)
    info = terminal.folder / f"{name}-1.5.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: its-{name}\nVersion: 1.5\n")
    (info / "entry_points.txt").write_text(f"[strongroom]\n{name} = {name}\n")


def told(done: Done) -> dict[str, tuple[str, str]]:
    """What `--json` says of each check: its state and its words."""
    assert done.err == ""
    answer = json.loads(done.out)
    assert answer["ok"] is (done.code == 0)
    return {each["name"]: (each["state"], each["says"]) for each in answer["checks"]}


def only_these_are_bad(done: Done, *names: str) -> None:
    assert done.code == 1
    assert [name for name, (state, _) in told(done).items() if state in {"failed", "skipped"}] == list(names)


def test_a_new_home_is_well_and_has_no_key_and_no_run_afterwards(terminal: Terminal) -> None:
    for _ in range(2):
        done = terminal.call("doctor", "--json")

        assert done.code == 0
        assert {name: state for name, (state, _) in told(done).items()} == dict.fromkeys(NAMES, "ok")
    assert not (terminal.home / "keyring.toml").exists()
    assert not list((terminal.home / "results").iterdir())
    assert terminal.call("runs").out.startswith("there are no runs yet")


def test_a_home_that_was_used_is_well_and_stays_as_it_is(copy_of_lived: Terminal) -> None:
    def files() -> set[Path]:
        # Those beside the database come and go with each connection.
        return {path for path in copy_of_lived.home.rglob("*") if not path.name.startswith("strongroom.db-")}

    before, runs = files(), copy_of_lived.call("runs", "--json").out

    done = copy_of_lived.call("doctor")

    assert done.code == 0
    assert done.lines[-1] == "all is well: nothing failed"
    assert files() == before
    assert copy_of_lived.call("runs", "--json").out.replace(" ", "") == runs.replace(" ", "")
    assert copy_of_lived.call("verify", "last").code == 0


def test_each_setting_is_there_with_who_set_it_and_without_a_password(terminal: Terminal) -> None:
    url = f"postgresql://me:{PASSWORD}@localhost:1/db?sslmode=disable"
    terminal.write(
        "strongroom.toml",
        f'[storage."s3://bucket"]\nkey = "AKIA{PASSWORD}"\nclient_kwargs = {{ token = "{PASSWORD}" }}\n'
        f'[masked]\npatterns = ["{PASSWORD}[0-9]"]\n[limits]\ndb = 2\n[egress]\nstrict = true\n',
    )

    short = terminal.call("doctor", STRONGROOM_BACKEND_URL=url)
    full = terminal.call("doctor", "--json", STRONGROOM_BACKEND_URL=url)

    assert PASSWORD not in short.out + short.err + full.out + full.err
    shown = {each["setting"]: (each["value"], each["origin"]) for each in json.loads(full.out)["settings"]}
    file = str(terminal.folder / "strongroom.toml")
    assert shown["backend.url"] == ("postgresql://me:***@localhost:1/db?***", "STRONGROOM_BACKEND_URL")
    assert shown["storage.s3://bucket"] == ("client_kwargs, key", file)
    assert shown["masked.patterns"] == ("1 of them", file)
    assert shown["limits.db"] == ("2", file)
    assert shown["egress.strict"] == ("true", file)
    assert shown["results.serializer"] == ("auto", "default")
    rows = {line.split()[0] for line in short.lines if line}
    assert {"backend.url", "storage.s3://bucket", "egress.strict"} <= rows
    assert "results.serializer" not in rows


def test_a_database_that_does_not_answer_is_the_only_thing_that_fails(terminal: Terminal) -> None:
    done = terminal.call("doctor", "--json", STRONGROOM_BACKEND_URL=f"postgresql://me:{PASSWORD}@127.0.0.1:1/db")

    only_these_are_bad(done, "backend")
    assert "check that it runs, and host, database, user and password of backend.url" in told(done)["backend"][1]
    assert PASSWORD not in done.out


def test_postgresql_is_tried_and_left_as_it_was(terminal: Terminal, postgresql_url: str) -> None:
    done = terminal.call("doctor", "--json", STRONGROOM_BACKEND_URL=postgresql_url)

    assert done.code == 0
    assert "a canary was written, read back and undone" in told(done)["backend"][1]
    assert "the backend's clock is" in told(done)["clock"][1]
    assert "there are no runs yet" in terminal.call("runs", STRONGROOM_BACKEND_URL=postgresql_url).out


def test_a_file_that_is_no_database_is_named(terminal: Terminal) -> None:
    terminal.home.mkdir(mode=0o700)
    (terminal.home / "strongroom.db").write_bytes(b"this is no database" * 100)

    done = terminal.call("doctor", "--json")

    assert str(terminal.home / "strongroom.db") in told(done)["backend"][1]
    assert told(done)["storage"][0] == told(done)["egress"][0] == "ok"


def test_wrong_settings_are_said_and_nothing_else_is_looked_at(terminal: Terminal) -> None:
    done = terminal.call("doctor", "--json", STRONGROOM_RESULTS_STORRAGE="x")

    only_these_are_bad(done, *NAMES)
    assert "did you mean STRONGROOM_RESULTS_STORAGE?" in told(done)["settings"][1]
    assert not terminal.home.exists()


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda file: file.chmod(0o644), "chmod 600"),
        (lambda file: file.write_text("version = 1"), "restore it from a backup"),
        (lambda file: file.unlink(), "restore it from a backup"),
    ],
)
def test_keys_that_cannot_be_used_are_said_and_what_needs_none_is_well(
    copy_of_lived: Terminal, spoil: object, says: str
) -> None:
    assert callable(spoil)
    spoil(copy_of_lived.home / "keyring.toml")

    done = copy_of_lived.call("doctor", "--json")

    only_these_are_bad(done, "keys")
    assert says in told(done)["keys"][1]


def test_keys_that_are_in_no_file_are_tried_where_they_are(copy_of_lived: Terminal) -> None:
    file = copy_of_lived.home / "keyring.toml"
    given = {"STRONGROOM_KEYS_SOURCE": "environment", "STRONGROOM_KEYRING": file.read_text()}
    file.unlink()

    well = told(copy_of_lived.run("doctor", "--json", **given))["keys"]
    missing = copy_of_lived.run("doctor", "--json", STRONGROOM_KEYS_SOURCE="environment")

    assert well[0] == "ok"
    assert "from the variable STRONGROOM_KEYRING" in well[1]
    only_these_are_bad(missing, "keys")
    assert not file.exists()


@pytest.mark.parametrize(
    ("mode", "state", "says"),
    [(0o755, "failed", "chmod -R go="), (0o777, "failed", "others may write"), (0o700, "ok", "for you alone")],
)
def test_a_home_that_others_see_into_is_said(copy_of_lived: Terminal, mode: int, state: str, says: str) -> None:
    (copy_of_lived.home / "strongroom.db").chmod(0o644)
    copy_of_lived.home.chmod(mode)

    found = told(copy_of_lived.call("doctor", "--json"))

    assert found["home"][0] == state
    assert says in found["home"][1]


@pytest.mark.parametrize("left", ["heads.d", "heads.d/*", "outbox"])
def test_whatever_a_run_left_open_to_others_is_said(copy_of_lived: Terminal, left: str) -> None:
    copy_of_lived.home.chmod(0o755)
    place = next(copy_of_lived.home.glob(left))
    place.chmod(0o755)

    found = told(copy_of_lived.call("doctor", "--json"))

    assert found["home"][0] == "failed"
    assert f"others may read {place}" in found["home"][1]


def test_a_home_where_there_is_a_file_is_said(terminal: Terminal) -> None:
    terminal.home.write_text("")

    found = told(terminal.call("doctor", "--json"))

    assert found["home"] == ("failed", f"{terminal.home} is no folder; remove it, or set STRONGROOM_HOME to a folder")
    assert found["plugins"][0] == found["egress"][0] == "ok"


def test_storage_that_cannot_be_written_is_named(terminal: Terminal) -> None:
    (terminal.folder / "taken").write_text("")

    done = terminal.call("doctor", "--json", STRONGROOM_RESULTS_STORAGE="taken")

    only_these_are_bad(done, "storage")
    assert "taken" in told(done)["storage"][1]


def test_storage_of_a_kind_that_needs_more_says_what_to_install(terminal: Terminal) -> None:
    done = terminal.call("doctor", "--json", STRONGROOM_RESULTS_STORAGE="nosuch://bucket/results")

    only_these_are_bad(done, "storage")
    assert "nosuch" in told(done)["storage"][1]


def test_a_required_plugin_that_is_missing_lets_nothing_out(terminal: Terminal) -> None:
    done = terminal.call("doctor", "--json", STRONGROOM_EGRESS_REQUIRE="nosuch")

    only_these_are_bad(done, "egress", "backend")
    assert "egress.require names it, and nothing leaves without it; install it" in told(done)["egress"][1]


def test_a_loosened_policy_is_a_warning(terminal: Terminal) -> None:
    done = terminal.call("doctor", "--json", STRONGROOM_EGRESS_MESSAGE="clear")

    assert done.code == 0
    assert told(done)["egress"] == (
        "warning",
        "the settings let out more than the defaults do: message (clear, by STRONGROOM_EGRESS_MESSAGE)",
    )


def test_memory_for_a_backend_is_a_warning(terminal: Terminal) -> None:
    done = terminal.call("doctor", "--json", STRONGROOM_BACKEND_ID="memory")

    assert done.code == 0
    assert told(done)["backend"][0] == "warning"
    assert "pip install strongroom-sql" in told(done)["backend"][1]


def test_a_broken_plugin_and_one_that_lets_nothing_out_are_named(terminal: Terminal) -> None:
    install(terminal, "broken", "raise RuntimeError('nothing works')")
    install(terminal, "veto", VETO)

    done = terminal.run("doctor", "--json")

    only_these_are_bad(done, "plugins", "egress", "backend")
    assert told(done)["plugins"][1] == (
        "the plugin 'broken' is broken and was left out: RuntimeError: nothing works; "
        "install another version of its-broken, or remove it"
    )
    assert told(done)["egress"][1].startswith("a plugin did not let a document")


def test_a_plugin_that_is_not_allowed_is_not_loaded(terminal: Terminal) -> None:
    install(terminal, "broken", "open('loaded', 'w')")

    done = terminal.run("doctor", "--json", STRONGROOM_PLUGINS_ALLOW="json,sql,cli")

    assert done.code == 0
    assert told(done)["plugins"] == ("ok", "cli, json, sql")
    assert not (terminal.folder / "loaded").exists()


@pytest.mark.parametrize("error", ["ValueError", "strongroom.errors.BackendError"])
def test_a_plugin_that_quotes_its_url_tells_no_password(terminal: Terminal, error: str) -> None:
    install(terminal, "theirs", PLUGIN.format(error=error, backend="Quotes"))

    done = terminal.run(
        "doctor", "--json", STRONGROOM_BACKEND_ID="theirs", STRONGROOM_BACKEND_URL=f"theirs://me:{PASSWORD}@host"
    )

    only_these_are_bad(done, "backend")
    assert PASSWORD not in done.out


@pytest.mark.parametrize(
    ("backend", "name", "says"),
    [
        ("Hangs", "backend", "no answer within 10 seconds"),
        ("Late", "clock", r"the backend's clock is 3(599|600|601)\.\d s behind; set the clocks"),
        ("Keeps", "backend", "keeps what was only tried"),
        ("Changes", "backend", "gave back something else"),
    ],
)
def test_a_backend_that_does_not_do_what_it_should_is_the_only_thing_that_fails(
    terminal: Terminal, backend: str, name: str, says: str
) -> None:
    install(terminal, "theirs", PLUGIN.format(error="ValueError", backend=backend))

    done = terminal.run("doctor", "--json", "--seconds", "10", STRONGROOM_BACKEND_ID="theirs")

    only_these_are_bad(done, name)
    assert re.search(says, told(done)[name][1])


def test_a_backend_without_a_trial_is_only_asked(terminal: Terminal) -> None:
    install(terminal, "theirs", PLUGIN.format(error="ValueError", backend="Plain"))

    done = terminal.run("doctor", "--json", STRONGROOM_BACKEND_ID="theirs")

    assert told(done)["backend"] == (
        "ok",
        "the backend 'theirs' answers; it offers no trial, so nothing was written to it",
    )


def test_storage_that_gives_back_something_else_is_said(terminal: Terminal) -> None:
    install(terminal, "theirs", PLUGIN.format(error="ValueError", backend="Plain"))

    done = terminal.run("doctor", "--json", STRONGROOM_RESULTS_SERIALIZER="theirs")

    only_these_are_bad(done, "storage")
    assert "gave back something else than was written" in told(done)["storage"][1]


def test_half_of_it_being_broken_the_other_half_is_looked_at_and_fits_the_screen(copy_of_lived: Terminal) -> None:
    (copy_of_lived.home / "keyring.toml").chmod(0o644)
    (copy_of_lived.folder / "taken").write_text("")
    url = f"postgresql://me:{PASSWORD}@127.0.0.1:1/db"
    broken = {"STRONGROOM_RESULTS_STORAGE": "taken", "STRONGROOM_BACKEND_URL": url}

    seen = copy_of_lived.see("doctor", **broken)
    plain = copy_of_lived.see("doctor", NO_COLOR="1", **broken)
    piped = copy_of_lived.call("doctor", **broken)

    assert seen.code == plain.code == piped.code == 1
    assert "3 of 9 checks failed" in seen.plain
    long_words = len(os.fspath(copy_of_lived.folder)) > 40
    assert all(len(line) <= 80 or long_words for line in seen.plain.splitlines())
    assert re.search(r"\x1b\[[0-9;]*31m", seen.out)
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]m", plain.out)
    assert "\x1b" not in piped.out
    states = [line.split()[1] for line in piped.lines[:9]]
    assert states == ["ok", "ok", "failed", "ok", "ok", "failed", "failed", "ok", "ok"]
    assert PASSWORD not in seen.out + plain.out + piped.out + piped.err
