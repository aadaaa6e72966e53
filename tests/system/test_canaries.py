# SPDX-License-Identifier: Apache-2.0
"""Does anything of the user's get into the backend's files in clear? Random secrets, one in every place, say no.

That a secret is not found would be worth nothing if the scanner were blind, or if the secret never got near a document:
`test_scanner.py` shows that the one is not so, and runs without sealing, here, that the other is not.
"""

from __future__ import annotations

import base64
import json
import os
import pickle
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from functools import partial
from pathlib import Path

import psycopg
import pytest

from strongroom import Backend, Envelope, Flow, Keyring, Parameter, _leases, _running, cancel_run, context
from strongroom._leases import open_leases
from strongroom._policy import FIELDS, allowed
from strongroom.documents import Disposition
from strongroom.errors import BackendUnavailableError
from strongroom.project import Project

from . import databases
from .canaries import KINDS, SHORT_TEXTS, Canary, make
from .leaky_ends import cancelled, down
from .leaky_flows import flows
from .leaky_parts import Plugin, a_task
from .scanner import Finding, Scanner
from .seals import is_open, seal_nothing
from .surfaces import ROUNDS, SURFACES, Told, pairs
from .test_hostile_commands import Called

Pair = tuple[str, str]

LONG = bool(os.environ.get("STRONGROOM_TEST_LONG"))
FEW = ROUNDS if LONG else 2
ONE = ROUNDS if LONG else 1
STATES = {
    *("Running", "Success", "Cached", "Mapped", "Skipped", "Failed", "TriggerFailed", "ValidationFailed", "TimedOut"),
    *("Retrying", "Paused", "Looped", "Cancelled"),
}


@Backend.register
class Down:
    """A backend that cannot be reached for the first few times that something is sent to it."""

    def __init__(self, inner: Backend, times: int) -> None:
        self.inner = inner
        self.times = times

    def append(self, envelopes: list[Envelope]) -> None:
        self.times -= 1
        if self.times >= 0:
            raise BackendUnavailableError("it is down")
        self.inner.append(envelopes)

    def __getattr__(self, name: str) -> object:
        return getattr(self.inner, name)


class Ran:
    """The flows were run, again and again, with secrets of their own each time; all that the backend has is kept."""

    def __init__(
        self,
        home: Path,
        look: Callable[[Path], databases.Seen],
        rounds: int,
        executor: str = "sync",
        *,
        with_trouble: bool = True,
    ) -> None:
        self.home = home
        self.told = [Told(number) for number in range(rounds)]
        project = Project.open()
        with closing(project.open_backend()) as backend:
            for number, told in enumerate(self.told):
                self._run(told, backend, executor, project, home / "results" / f"round {number}")
                if with_trouble:
                    run_without_backend(told, backend, executor)
            if with_trouble:
                self._die()
                self._be_cancelled(backend)
            self.types = {document.type for run in backend.runs(limit=10_000) for document in backend.read(run)}
            self.while_open = look(home / "results" / "while open")
        self.afterwards = look(home / "results" / "afterwards")
        self.secrets = {pair: canary.secret for told in self.told for pair, canary in told.named()}

    def _run(self, told: Told, backend: Backend, executor: str, project: Project, folder: Path) -> None:
        project.plugins.add("leaky", Plugin(told))
        # Whoever runs a task with this tag holds a lease for it.
        settings = Path("strongroom.toml")
        settings.write_text(f"[limits]\n{json.dumps(told.text('tag'), ensure_ascii=False)} = 1\n")
        try:
            with context({told.text("context key"): told["context value"]}):
                for flow, parameters in flows(told, folder):
                    with suppress(KeyboardInterrupt):
                        flow.run(parameters, executor=executor, backend=backend)
                    if flow.name == "waits":
                        flow.resume(backend.runs(limit=1)[0], backend=backend)
        finally:
            project.plugins.remove("leaky")
            settings.unlink()

    def _die(self) -> None:
        seal = "open" if is_open() else "sealed"
        done = subprocess.run(
            [sys.executable, "-m", f"{__package__}.leaky_death", seal],
            input=pickle.dumps(self.told),
            capture_output=True,
            check=True,
            cwd=Path(__file__).parents[len(__package__.split("."))],
        )
        assert done.stdout.split() == [b"9", b"0"] * len(self.told), done.stderr.decode()

    def _be_cancelled(self, backend: Backend) -> None:
        """Cancel a run of each round from outside, and let the doctor look at all that is there."""
        with pytest.MonkeyPatch.context() as patch:
            # Its heart beats ten times in a second, and no busy machine loses its lease.
            patch.setattr(_running, "open_leases", partial(open_leases, seconds=60.0))
            patch.setattr(_leases, "_BEATS", 600)
            for told in self.told:
                with ThreadPoolExecutor(1) as pool:
                    flow, parameters = cancelled(told, partial(pool.submit, cancel_run, backend=backend))
                    with pytest.raises(KeyboardInterrupt):
                        flow.run(parameters, backend=backend)
            assert "a canary was written, read back and undone" in Called(["doctor", "--json"], None, patch).out

    @property
    def found(self) -> list[Finding]:
        secrets = {f"{surface} ({kind})": secret for (surface, kind), secret in self.secrets.items()}
        scanner = Scanner({**secrets, "a key": _key_of(self.home)})
        return [
            finding
            for seen in (self.while_open, self.afterwards)
            for finding in (*scanner.scan(seen.files), *scanner.scan_cells(seen.cells))
        ]

    @property
    def found_pairs(self) -> set[Pair]:
        found = {finding.canary for finding in self.found}
        return {(surface, kind) for surface, kind in self.secrets if f"{surface} ({kind})" in found}


def _key_of(home: Path) -> bytes:
    """The one key of a home, which nobody but its owner has."""
    (entry,) = tomllib.loads((home / "keyring.toml").read_text())["keys"].values()
    return base64.b64decode(entry["secret"])


def run_without_backend(told: Told, backend: Backend, executor: str) -> None:
    """Run a flow while the backend cannot be reached."""
    flow, parameters = down(told)
    flow.run(parameters, executor=executor, backend=Down(backend, times=2))  # type: ignore[arg-type]


Runs = Callable[..., Ran]


@pytest.fixture
def run(isolated: Path) -> Runs:
    """Runs everything with the record in SQLite."""
    return lambda rounds, **more: Ran(isolated, lambda into: databases.sqlite(isolated, into), rounds, **more)


@pytest.fixture
def statements_logged(postgresql_url: str) -> Iterator[psycopg.Connection]:
    """A PostgreSQL that writes each statement, with all its parameters, into its log."""
    with psycopg.connect(postgresql_url, autocommit=True) as connection:
        for setting in ("log_statement = 'all'", "log_parameter_max_length = -1"):
            connection.execute(f"ALTER SYSTEM SET {setting}".encode())
        connection.execute("SELECT pg_reload_conf()")
        yield connection
        connection.execute("ALTER SYSTEM RESET ALL")
        connection.execute("SELECT pg_reload_conf()")


@pytest.fixture
def run_in_postgresql(
    isolated: Path, monkeypatch: pytest.MonkeyPatch, postgresql_url: str, statements_logged: psycopg.Connection
) -> Runs:
    """Runs everything with the record in PostgreSQL."""
    monkeypatch.setenv("STRONGROOM_BACKEND_URL", postgresql_url)
    return lambda rounds, **more: Ran(
        isolated, lambda _: databases.postgresql(statements_logged, isolated), rounds, **more
    )


@pytest.fixture
def without_masks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sealing alone is to do: the plugin that blots secrets out is not there."""
    others = "arrow,cli,compressed,encrypted,json,pickle,processes,sql"
    monkeypatch.setenv("STRONGROOM_PLUGINS_ALLOW", others)


@pytest.fixture
def strict(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRONGROOM_EGRESS_STRICT", "true")
    monkeypatch.setenv("STRONGROOM_EGRESS_LOGS", "seal")


@pytest.fixture
def all_in_clear(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every field leaves in clear that can, and sealing does nothing."""
    for field in FIELDS:
        if Disposition.CLEAR in allowed(field):
            monkeypatch.setenv(f"STRONGROOM_EGRESS_{field.upper()}", "clear")
    monkeypatch.setenv("STRONGROOM_EGRESS_LOGS", "seal")
    for name, instead in zip(("seal", "open"), seal_nothing(), strict=True):
        monkeypatch.setattr(Keyring, name, instead)


def test_there_are_enough_surfaces_and_types_of_values() -> None:
    assert len(SURFACES) >= 60
    assert len(pairs(ROUNDS)) == sum(len(surface.kinds) for surface in SURFACES.values())
    assert {kind for _, kind in pairs(1)} == set(KINDS)


@pytest.mark.long
def test_no_secret_is_in_the_files_of_sqlite(run: Runs, without_masks: None) -> None:
    ran = run(FEW)

    assert not ran.found
    assert {"strongroom.db", "strongroom.db-wal"} <= set(ran.while_open.files)
    assert ran.types >= STATES


@pytest.mark.long
def test_no_secret_is_in_the_files_of_sqlite_under_strict_and_with_sealed_logs(run: Runs, strict: None) -> None:
    ran = run(FEW, executor="threads")

    assert not ran.found
    assert any(".kind" in where and cell == b"log" for where, cell in ran.afterwards.cells.items())


@pytest.mark.long
def test_no_secret_is_in_the_tables_logs_and_statements_of_postgresql(
    run_in_postgresql: Runs, without_masks: None
) -> None:
    ran = run_in_postgresql(ONE)

    assert not ran.found
    assert b"INSERT INTO strongroom.documents" in ran.afterwards.files["log"]
    assert any(name.startswith("pg_wal/") for name in ran.afterwards.files)
    assert ran.types >= STATES


@pytest.mark.long
@pytest.mark.skipif(not LONG, reason="a part of what the two tests before it look at: STRONGROOM_TEST_LONG=1")
def test_no_secret_is_in_postgresql_under_strict_and_with_sealed_logs(run_in_postgresql: Runs, strict: None) -> None:
    assert not run_in_postgresql(ONE).found


@pytest.mark.long
def test_in_clear_what_a_document_tells_is_found_in_sqlite_and_nothing_else(run: Runs, all_in_clear: None) -> None:
    ran = run(FEW)

    assert_nearly_all(ran.found_pairs, FEW)


@pytest.mark.long
def test_in_clear_what_a_document_tells_is_found_in_postgresql_and_nothing_else(
    run_in_postgresql: Runs, all_in_clear: None
) -> None:
    ran = run_in_postgresql(ONE)

    assert_nearly_all(ran.found_pairs, ONE)


def assert_nearly_all(found: set[Pair], rounds: int) -> None:
    """Everything that a document or a log tells was found, but for passwords in URLs, which a plugin blots out."""
    told = {pair for pair in pairs(rounds) if SURFACES[pair[0]].shows != "nowhere"}
    masked = {pair for pair in told if pair[1] == "URL"}
    extra = sorted(found - told)
    assert not extra, f"{extra} shows, and {sorted(told - found)} does not"
    assert len(found - masked) >= 0.95 * len(told - masked), sorted(told - masked - found)


def test_no_secret_is_in_the_outbox_while_the_backend_stays_away(isolated: Path, without_masks: None) -> None:
    assert not found_in(*run_and_leave_waiting(isolated))


def test_in_clear_what_a_document_tells_is_found_in_the_outbox(isolated: Path, all_in_clear: None) -> None:
    canaries, seen = run_and_leave_waiting(isolated)

    # The exception has the type of value that a mask blots out.
    planted = {f"{what} while the backend is down" for what in ("log line", "parameter", "state message")}
    assert names_of(found_in(canaries, seen)) == planted


def run_and_leave_waiting(home: Path) -> tuple[Mapping[str, Canary], databases.Seen]:
    """What was planted in a run whose documents all wait, and the files that they wait in."""
    told = Told(0)
    flow, parameters = down(told)
    with closing(Project.open().open_backend()) as backend:
        flow.run(parameters, backend=Down(backend, times=10**9))  # type: ignore[arg-type]
        assert not backend.runs()
    waiting = databases.waiting(home)
    assert waiting
    return told.canaries, databases.Seen(waiting, {})


@pytest.mark.parametrize("how", ["token", "drop"])
def test_a_token_and_nothing_at_all_show_no_secret(
    run: Runs, monkeypatch: pytest.MonkeyPatch, without_masks: None, how: str
) -> None:
    for field in FIELDS:
        if Disposition(how) in allowed(field):
            monkeypatch.setenv(f"STRONGROOM_EGRESS_{field.upper()}", how)

    assert not run(1, with_trouble=False).found


def test_what_is_not_sent_is_where_it_belongs(
    run: Runs, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    ran = run(1, with_trouble=False)

    (told,) = ran.told
    records = {str(path): path.read_bytes() for path in ran.home.rglob("*") if is_record(path)}
    kept = {name: told.canaries[name] for name in ("result that is kept", "result kept in the document")}
    assert names_of(found_in(kept, databases.Seen(records, {}))) >= {"result that is kept"}
    assert told.text("log line") in caplog.text
    assert told.text("printed line") in capfd.readouterr().out
    # And no cache key or input that is compared is in the name or the first line of a record.
    names = ("cache_key", "cache_key_fn", "input that is compared", "input of a cached task", "key of a transaction")
    shown = {path: path.encode() + b"\n" + data.split(b"\n")[0] for path, data in records.items()}
    assert sum("/cache/" in path for path in shown) >= len(names)
    assert not found_in({name: told.canaries[name] for name in names}, databases.Seen(shown, {}))


@pytest.mark.parametrize(("strict", "seen"), [("false", {"flow", "task", "parameter"}), ("true", set())])
@pytest.mark.parametrize("kind", SHORT_TEXTS)
def test_names_that_the_code_gives_leave_in_clear_unless_the_policy_is_strict(
    isolated: Path, monkeypatch: pytest.MonkeyPatch, strict: str, seen: set[str], kind: str
) -> None:
    monkeypatch.setenv("STRONGROOM_EGRESS_STRICT", strict)
    names = {what: make(kind) for what in ("flow", "task", "parameter")}
    with Flow(str(names["flow"])) as flow:
        a_task(lambda x: x, name=str(names["task"]))(Parameter(str(names["parameter"]), default=1))

    flow.run()

    shown = databases.sqlite(isolated, isolated / "results")
    assert names_of(found_in(names, shown)) == seen


def found_in(canaries: Mapping[str, Canary], seen: databases.Seen) -> list[Finding]:
    scanner = Scanner({name: canary.secret for name, canary in canaries.items()})
    return [*scanner.scan(seen.files), *scanner.scan_cells(seen.cells)]


def names_of(findings: list[Finding]) -> set[str]:
    return {finding.canary for finding in findings}


def is_record(path: Path) -> bool:
    return path.is_file() and path.read_bytes().startswith(b"strongroom/1 ")
