# SPDX-License-Identifier: Apache-2.0
"""Does the backend ``sql`` behave as every backend does?"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from strongroom.testing import BackendTests, LeaseTests
from strongroom_sql.backend import SQLBackend
from strongroom_sql.postgresql import PostgreSQLBackend

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


class TestLeasesInSQL(LeaseTests):
    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return f"sqlite:///{tmp_path}/strongroom.db"

    @pytest.fixture
    def leases(self, url: str) -> Iterator[SQLBackend]:
        with SQLBackend(url) as backend:
            yield backend

    @pytest.fixture
    def another(self, url: str, leases: SQLBackend) -> Iterator[Callable[[], SQLBackend]]:
        with ExitStack() as opened:
            yield lambda: opened.enter_context(SQLBackend(url))


class TestPostgreSQLBackend(BackendTests):
    @pytest.fixture
    def backend(self, postgresql_url: str) -> Iterator[Backend]:
        with PostgreSQLBackend(postgresql_url) as backend:
            yield backend

    @pytest.fixture
    def reopen(self, postgresql_url: str, backend: Backend) -> Iterator[Callable[[], Backend]]:
        with ExitStack() as opened:

            def reopen() -> Backend:
                backend.close()
                return opened.enter_context(PostgreSQLBackend(postgresql_url))

            yield reopen


class TestLeasesInPostgreSQL(LeaseTests):
    @pytest.fixture
    def leases(self, postgresql_url: str) -> Iterator[PostgreSQLBackend]:
        with PostgreSQLBackend(postgresql_url) as backend:
            yield backend

    @pytest.fixture
    def another(self, postgresql_url: str, leases: PostgreSQLBackend) -> Iterator[Callable[[], PostgreSQLBackend]]:
        with ExitStack() as opened:
            yield lambda: opened.enter_context(PostgreSQLBackend(postgresql_url))
