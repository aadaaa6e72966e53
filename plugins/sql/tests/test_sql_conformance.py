# SPDX-License-Identifier: Apache-2.0
"""Does the backend ``sql`` behave as every backend does?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from strongroom.testing import BackendTests
from strongroom_sql.backend import SQLBackend

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from strongroom import Backend


class TestSQLBackend(BackendTests):
    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return f"sqlite:///{tmp_path}/strongroom.db"

    @pytest.fixture
    def backend(self, url: str) -> Iterator[Backend]:
        with SQLBackend(url) as backend:
            yield backend

    @pytest.fixture
    def reopen(self, url: str, backend: Backend) -> Iterator[Callable[[], Backend]]:
        opened = []

        def reopen() -> Backend:
            backend.close()
            opened.append(SQLBackend(url))
            return opened[-1]

        yield reopen
        for again in opened:
            again.close()
