# SPDX-License-Identifier: Apache-2.0
"""Which storages are tested here? Those of `STRONGROOM_TEST_STORAGE`, such as s3; without it, folders and memory."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from . import servers

CHOSEN = os.environ.get("STRONGROOM_TEST_STORAGE", "local")
KINDS = servers.FACTORS.get(CHOSEN, (CHOSEN,))


def start(kind: str, factory: pytest.TempPathFactory) -> servers.Server:
    """A server of *kind*, or a reason why there is none: enough for a laptop, and not enough for CI."""
    problem = ""
    # The port that one is given may be another's by the time that it listens.
    for _ in range(3):
        try:
            found = _start(kind, factory.mktemp(kind))
        except servers.CannotStartError as exc:
            problem = f"{kind}: {exc}"
        else:
            found.kind = kind
            return found
    if os.environ.get("CI"):
        pytest.fail(problem)
    pytest.skip(problem)


def _start(kind: str, folder: Path) -> servers.Server:
    if kind == "memory":
        return servers.Server(0, lambda name: f"memory://{name}")
    if kind == "local":
        return servers.Server(0, lambda name: folder / name)
    before = len(servers.STARTED)
    try:
        return {**servers.STARTS, **servers.READ_ONLY}[kind](folder)
    except BaseException:
        for process in servers.STARTED[before:]:
            process.kill()
            process.wait()
        raise


@pytest.fixture(scope="session", params=[kind for kind in KINDS if kind not in servers.READ_ONLY])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.Server]:
    """A server that all tests share."""
    found = start(request.param, tmp_path_factory)
    yield found
    found.kill()


@pytest.fixture
def where(server: servers.Server) -> object:
    """An empty place."""
    return server.place(uuid.uuid4().hex)


@pytest.fixture(params=[kind for kind in KINDS if kind in servers.STARTS])
def mortal(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.Server]:
    """A server that the test may kill."""
    found = start(request.param, tmp_path_factory)
    yield found
    found.kill()


@pytest.fixture(params=[kind for kind in KINDS if kind in servers.READ_ONLY])
def reading(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.Server]:
    """A server that can be read only."""
    found = start(request.param, tmp_path_factory)
    yield found
    found.kill()
