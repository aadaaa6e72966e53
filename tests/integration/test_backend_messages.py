# SPDX-License-Identifier: Apache-2.0
"""Do our backends say what is wrong with what they refuse? Those of other people only have to refuse it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from strongroom._memory_backend import MemoryBackend
from strongroom._plugins import installed_plugins
from strongroom.abc import Backend, Envelope
from strongroom.errors import BackendError


def in_memory(_: Path) -> Backend:
    return MemoryBackend()


def in_a_file(folder: Path) -> Backend:
    return installed_plugins(None).backend("sql", f"sqlite:///{folder / 'x.db'}")


@pytest.fixture(params=[in_memory, in_a_file])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backend]:
    make: Callable[[Path], Backend] = request.param
    with make(tmp_path) as backend:
        yield backend


def an_envelope(sequence: int, sealed: bytes = b"x") -> Envelope:
    return Envelope("a" * 32, "", -1, sequence, "state" if sequence else "run", "f", "", 1, 0, sealed)


def test_what_is_missing_forked_or_too_late_is_named(backend: Backend) -> None:
    backend.append([an_envelope(0)])

    with pytest.raises(BackendError, match="is missing, and 2 was to be kept; nothing of the batch was kept"):
        backend.append([an_envelope(2)])
    with pytest.raises(BackendError, match="another document is already number 0"):
        backend.append([an_envelope(0, b"y")])
    backend.close()
    with pytest.raises(BackendError, match="is closed"):
        backend.runs()
