# SPDX-License-Identifier: Apache-2.0
"""Do the commands work on each storage as on a folder, and say in one line what is wrong with one?"""

from __future__ import annotations

import io
import json
import sys
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from strongroom import Flow, task
from strongroom._place import as_place
from strongroom.project import Project
from strongroom_cli import main

from . import servers

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


@dataclass(frozen=True)
class Done:
    """What a command has left behind."""

    code: int
    out: str
    err: str


def strongroom(*arguments: str) -> Done:
    """Run the command in this process: to import the libraries of a storage takes seconds."""
    out, err = (io.TextIOWrapper(io.BytesIO(), write_through=True) for _ in range(2))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["strongroom", *arguments])
        patch.setattr(sys, "stdout", out)
        patch.setattr(sys, "stderr", err)
        with pytest.raises(SystemExit) as left:
            main()
    code = left.value.code
    return Done(code if isinstance(code, int) else 0, *(_text(stream) for stream in (out, err)))


def _text(stream: io.TextIOWrapper) -> str:
    stream.seek(0)
    return stream.read()


def told(*arguments: str) -> Any:  # noqa: ANN401
    done = strongroom(*arguments, "--json")
    assert done.code == 0, done.err
    assert done.err == ""
    return json.loads(done.out)


def refused(*arguments: str) -> str:
    """The one line that such a command says."""
    done = strongroom(*arguments)
    assert (done.code, done.out) == (1, "")
    (line,) = done.err.splitlines()
    assert line.startswith("strongroom: error: ")
    assert not any(secret in line for secret in SECRETS)
    return line


def test_what_a_run_has_left_is_read_listed_verified_and_collected(server: servers.Server, where: Any) -> None:  # noqa: ANN401
    if server.kind == "memory":
        pytest.skip("what one process has in memory, no other can see")
    set_up(where)

    @task(persist_result=True, result_serializer="json")
    def numbers() -> list[int]:
        return [1, 2, 3]

    with Flow("remote") as flow:
        numbers()
    with Project.open().open_backend() as backend:
        assert flow.run(backend=backend).is_successful()
    Project.open().store().write("of no use", "cache/old", expires=1)

    assert told("read", "last", "numbers") == [1, 2, 3]
    assert {each["chain"] for each in told("store", "ls")} == {"json"}
    assert told("store", "verify")["records"] == 2
    # Swift rounds the time of a change up to a whole second: until then the record is none that has any age.
    time.sleep(1)
    would = told("store", "gc", "--grace=0", "--dry-run")
    assert [each["key"] for each in would["deleted"]] == ["cache/old"]
    assert told("store", "gc", "--grace=0")["deleted"] == would["deleted"]
    assert told("store", "verify", "runs")["records"] == 1


def test_many_records_are_verified_at_once_and_told_in_order(server: servers.Server, where: Any) -> None:  # noqa: ANN401
    set_up(where)
    store = Project.open().store()
    for number in range(20):
        store.write(number, f"many/{number:02}")
    with store._storage.create("many/20") as file:
        file.write(b"no record")

    found = list(Project.open().store().verify("many"))

    assert sorted(each.key for each in found) == [f"many/{number:02}" for number in range(21)]
    assert [each.key for each in found] == [entry.key for entry in store.list("many")]
    assert [each.key for each in found if each.problem is not None] == ["many/20"]


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

    assert done.code == 2
    assert "the variable NOBODY_HAS_SET_THIS, which is not set" in done.err
    assert len(done.err.splitlines()) == 1


def test_a_server_that_is_gone_is_said_in_one_line(mortal: servers.Server) -> None:
    if mortal.kind in {"azure", "gcs"}:
        pytest.skip("its library goes on trying for the whole minute; test_faults has less patience")
    set_up(mortal.place("results"))
    mortal.kill()

    assert "trying again may help" in refused("store", "verify")
