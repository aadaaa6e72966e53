# SPDX-License-Identifier: Apache-2.0
"""Do the commands work on each storage as on a folder, and say in one line what is wrong with one?"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest

from strongroom._place import as_place
from strongroom.project import Project

from . import servers

FLOW = """
from strongroom import Flow, task

@task(persist_result=True, result_serializer="json")
def numbers() -> list[int]:
    return [1, 2, 3]

with Flow("remote") as flow:
    numbers()
"""
SECRETS = (servers.PASSWORD, "canary", "testing", "Y2FuYXJ5", "Eby8vdM02xNO", "right")


def as_toml(value: object) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{name} = {as_toml(item)}" for name, item in value.items()) + " }"
    return json.dumps(value)


def set_up(*places: object) -> str:
    """Settings that open these places; returns the URL of the first, where results go."""
    found = [as_place(place) for place in places]
    lines = [f'[results]\nstorage = "{found[0].url}"\nserializer = "json"']
    for place in found:
        lines += [f'[storage."{place.url}"]', *(f"{name} = {as_toml(value)}" for name, value in place.options.items())]
    Path("strongroom.toml").write_text("\n".join(lines))
    return found[0].url


def strongroom(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "strongroom_cli", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        # Libraries warn of much that is not ours to mend, and this command shows no warnings.
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )


def told(*arguments: str) -> Any:  # noqa: ANN401
    done = strongroom(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return json.loads(done.stdout)


def refused(*arguments: str) -> str:
    """The one line that such a command says."""
    done = strongroom(*arguments)
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("strongroom: error: ")
    assert not any(secret in line for secret in SECRETS)
    return line


def test_what_a_run_has_left_is_read_listed_verified_and_collected(server: servers.Server, where: Any) -> None:  # noqa: ANN401
    if server.kind == "memory":
        pytest.skip("what one process has in memory, no other can see")
    set_up(where)
    Path("flow.py").write_text(FLOW)
    assert strongroom("run", "flow.py").returncode == 0
    Project.open().store().write("of no use", "cache/old", expires=1)

    assert told("read", "last", "numbers") == [1, 2, 3]
    assert {each["chain"] for each in told("store", "ls")} == {"json"}
    assert told("store", "verify")["records"] == 2
    would = told("store", "gc", "--grace=0", "--dry-run")
    assert [each["key"] for each in would["deleted"]] == ["cache/old"]
    assert told("store", "gc", "--grace=0")["deleted"] == would["deleted"]
    assert told("store", "verify", "runs")["records"] == 1


def test_wrong_credentials_are_said_in_one_line(server: servers.Server) -> None:
    if server.stranger is None:
        pytest.skip("this server asks for no credentials")
    set_up(server.stranger(uuid.uuid4().hex))

    for command in ("ls", "verify", "gc"):
        assert "access was denied" in refused("store", command)


def test_a_missing_bucket_is_said_in_one_line(server: servers.Server) -> None:
    if server.missing is None:
        pytest.skip("this storage has no buckets")
    set_up(server.missing)

    for command in ("ls", "verify"):
        assert "there is no such bucket or container" in refused("store", command)
    assert "is not there" in refused("store", "gc")


def test_an_option_whose_variable_is_not_set_is_named(server: servers.Server, where: Any) -> None:  # noqa: ANN401
    place = as_place(where)
    if not place.options:
        pytest.skip("this storage needs no options")
    set_up((place.url, {"password": {"env": "NOBODY_HAS_SET_THIS"}}))

    done = strongroom("store", "ls")

    assert done.returncode == 2
    assert "the variable NOBODY_HAS_SET_THIS, which is not set" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_server_that_is_gone_is_said_in_one_line(mortal: servers.Server) -> None:
    if mortal.kind in {"azure", "gcs"}:
        pytest.skip("its library goes on trying for the whole minute; test_faults has less patience")
    set_up(mortal.place("results"))
    mortal.kill()

    assert "trying again may help" in refused("store", "verify")
