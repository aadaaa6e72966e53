# SPDX-License-Identifier: Apache-2.0
"""Does each thing that a run needs work, whatever the others do?

No check relies on another one. Storage and backend are tried with a key of the moment, so that they are looked at even
where the project's keys cannot be used, and so that to look makes none.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, TypeAlias
from urllib.parse import unquote, urlsplit

from strongroom.abc import SupportsTrial
from strongroom.errors import NotFoundError, StrongroomError
from strongroom.keyring import Key, KeyFile, Keyring, bind
from strongroom.project import Project
from strongroom.secret import known_secrets
from strongroom_cli._output import duration, size
from strongroom_cli._paths import local_path
from strongroom_cli._shown_settings import HIDDEN, secrets_in

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from strongroom import Backend
    from strongroom.project import Waiting
    from strongroom.results import ResultStore

__all__ = ["CHECKS", "Check", "checked"]

_State: TypeAlias = Literal["ok", "warning", "failed", "skipped"]
_Look: TypeAlias = Callable[[Project], tuple[_State, str]]

# Leases go by the backend's clock and expiry by ours: seconds do no harm, minutes may.
_MOST_SECONDS = 60.0
_FOLDER = "doctor"
_EXPIRES = 3600
_OTHERS, _OTHERS_WRITE = 0o077, 0o022


@dataclass(frozen=True, slots=True)
class Check:
    """What was found out about one thing."""

    name: str
    state: _State
    says: str
    """What is the matter, and what to do if it is not well."""


def checked(name: str, project: Project, seconds: float) -> Check:
    """Look at *name* for *seconds* at most. Whatever goes wrong is in the answer, and no secret of the settings is."""
    found: list[tuple[_State, str]] = []
    # A thread, since libraries wait for what does not answer as long as they like.
    thread = threading.Thread(target=lambda: found.append(_looked(CHECKS[name], project)), daemon=True)
    thread.start()
    thread.join(seconds)
    late: tuple[_State, str] = (
        "failed",
        f"no answer within {seconds:g} seconds; see whether it can be reached, or give it more --seconds",
    )
    state, says = found[0] if found else late
    return Check(name, state, _without_secrets(says, project))


def _looked(look: _Look, project: Project) -> tuple[_State, str]:
    try:
        return look(project)
    except StrongroomError as exc:
        return "failed", str(exc)
    except OSError as exc:
        return "failed", f"{exc.strerror or type(exc).__name__}: {exc.filename or 'no file'}; see to its permissions"
    except Exception as exc:  # plugins and libraries are called; what they say may be anything, and a secret too
        return "failed", f"{type(exc).__name__} was raised by what is installed for it; see `strongroom plugins`"


def _without_secrets(text: str, project: Project) -> str:
    # Messages hold none by contract; but what says them may be anybody's plugin.
    for secret in sorted(secrets_in(project) | known_secrets(), key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    return text


def _home(project: Project) -> tuple[_State, str]:
    home = project.home
    if not home.exists():
        return "ok", f"{home} is not there yet; the first run makes it, for you alone"
    if problem := _unusable(home, home.stat()) or _open_to_others(home, home.stat().st_mode):
        return "failed", problem
    if home.stat().st_mode & _OTHERS:
        return "warning", f"others may look into {home}, though not into what is private there; chmod 700 {home}"
    return "ok", f"{home}, for you alone"


def _unusable(home: Path, status: os.stat_result) -> str:
    if not stat.S_ISDIR(status.st_mode):
        return f"{home} is no folder; remove it, or set STRONGROOM_HOME to a folder"
    if status.st_uid != os.geteuid():
        return f"{home} belongs to another user; set STRONGROOM_HOME to a folder of yours"
    if not os.access(home, os.W_OK | os.X_OK):
        return f"{home} cannot be written to; open it for yourself: chmod 700 {home}"
    return ""


def _open_to_others(home: Path, mode: int) -> str:
    if mode & _OTHERS_WRITE:
        return f"others may write to {home}; close it: chmod 700 {home}"
    shown = [path for path in _private_files(home) if path.stat().st_mode & _OTHERS] if mode & _OTHERS else []
    more = f", and {len(shown) - 1} more in it" if len(shown) > 1 else ""
    return f"others may read {shown[0]}{more}; close it: chmod -R go= {home}" if shown else ""


def _private_files(home: Path) -> Iterator[Path]:
    for pattern in (
        "keyring*.toml",
        "strongroom.db*",
        "heads.d",
        "heads.d/*",
        "logs",
        "logs/*",
        "outbox",
        "outbox/*",
        "outbox/*/*",
    ):
        yield from (path for path in home.glob(pattern) if not path.is_symlink())


def _keys(project: Project) -> tuple[_State, str]:
    source = project.key_source
    if isinstance(source, KeyFile) and not source.path.exists() and not source.is_missed:
        return "ok", "there are none yet; the first run makes them"
    keyring = project.keyring
    message, context = secrets.token_bytes(32), bind("doctor")
    if keyring.open(keyring.seal(message, context), context) != message:
        what = f"the key {keyring.primary} does not open what it seals"
        return "failed", f"{what}; restore the keys in {source.place} from a backup"
    count = len(keyring.ids)
    whence = "" if source.id == KeyFile.id else f" from {source.place}"
    return "ok", f"{count} key{'s' * (count > 1)}{whence}; {keyring.primary} seals, and opens what it sealed"


def _plugins(project: Project) -> tuple[_State, str]:
    allow = project.settings.plugins.allow
    found = project.plugins.info()
    broken = [each for each in found if each.error and (allow is None or each.name in allow)]
    if broken:
        first = broken[0]
        more = f" ({len(broken)} are broken: {', '.join(each.name for each in broken)})" if len(broken) > 1 else ""
        cure = f"install another version of {first.distribution or first.name}, or remove it"
        return "failed", f"{first.error}{more}; {cure}"
    missing = sorted(set(allow or ()) - {each.name for each in found})
    if missing:
        return (
            "warning",
            f"plugins.allow names {', '.join(missing)}, not installed; pip install strongroom-{missing[0]}",
        )
    works = [each.name for each in found if not each.error]
    return "ok", ", ".join(works) if works else "none; to keep results and runs: pip install strongroom-json"


def _egress(project: Project) -> tuple[_State, str]:
    """Let a canary out through the policy and the plugins, and see whether it shows."""
    canary = secrets.token_hex(16)
    envelope = _for_trial(project).sample(canary)
    loosened = [f"{rule.field} ({rule.disposition.value}, by {rule.origin})" for rule in project.policy.loosened]
    if canary.encode() in envelope.sealed:
        return "failed", "what should be sealed leaves in clear; do not run anything, and report this"
    if loosened:
        return "warning", f"the settings let out more than the defaults do: {', '.join(loosened)}"
    strict = ", strict" if project.settings.egress.strict else ""
    return "ok", f"a document with a canary leaves sealed{strict}; `strongroom egress explain` has the rules"


def _storage(project: Project) -> tuple[_State, str]:
    """Write a record of a canary, read it back, and delete it."""
    store, canary = _for_trial(project).store(), secrets.token_hex(16)
    key = f"{_FOLDER}/{secrets.token_hex(16)}"
    try:
        before = time.time()
        # It expires, so that garbage collection finds it, should this be killed before it is deleted.
        receipt = store.write(canary, key, expires=int((before + _EXPIRES) * 1e6))
        after = time.time()
        with store.read(key) as record:
            is_same = record.result == canary
        written = next((each.modified for each in store.list(_FOLDER) if each.key == key), None)
    finally:
        with contextlib.suppress(NotFoundError):
            store.delete(key)
        _leave_no_folder(store)
    place = local_path(store.url)
    if not is_same:
        return "failed", f"{place} gave back something else than was written; use another results.storage"
    if store.exists(key):
        return "failed", f"{place} does not delete; allow it to, or garbage stays for ever"
    if written is not None and not before - _MOST_SECONDS <= written / 1e6 <= after + _MOST_SECONDS:
        off = written / 1e6 - after
        return "failed", f"the clock of {place} is {abs(off):.0f} s {_way(off)}; set it, for files expire by it"
    return "ok", f"{place}: a canary was written as {receipt.chain}, read back and deleted"


def _leave_no_folder(store: ResultStore) -> None:
    parts = urlsplit(store.locate(_FOLDER))
    if parts.scheme in {"", "file"}:
        # Unless something else is in it, which then stays.
        with contextlib.suppress(OSError):
            Path(unquote(parts.path)).rmdir()


def _backend(project: Project) -> tuple[_State, str]:
    """Have the backend take a document, give it back and forget it; and read what it has."""
    if project.backend_id == "memory":
        says = "memory: the record of a run is lost when the process ends; to keep it: pip install strongroom-sql"
        return "warning", says
    trial = _for_trial(project)
    canary = secrets.token_hex(16)
    envelope = trial.sample(canary)
    with project.open_backend() as backend:
        newest = project.runs(backend, limit=1)
        if not isinstance(backend, SupportsTrial):
            return "ok", f"{_called(backend)} answers; it offers no trial, so nothing was written to it"
        returned = backend.trial(envelope)
        if returned != envelope:
            return "failed", f"{_called(backend)} gave back something else than it took; use another one"
        trial.open_document(returned)
        if next(backend.read(envelope.run_id), None) is not None or project.runs(backend, limit=1) != newest:
            return "failed", f"{_called(backend)} keeps what was only tried; remove the run {envelope.run_id} there"
        return "ok", f"{_called(backend)}: a canary was written, read back and undone"


def _outbox(project: Project) -> tuple[_State, str]:
    """Tell what waits here for its backend, and whether anything keeps it from getting there."""
    outbox = project.outbox
    waiting = outbox.waiting()
    # A box without a file that can be read has no document, but is there.
    says = _waits(waiting) if waiting else "nothing waits to be delivered"
    damaged = [each for each in waiting if each.problem]
    if damaged:
        more = f" ({len(damaged)} runs have such files)" if len(damaged) > 1 else ""
        cure = f"`strongroom outbox discard {damaged[0].run_id}` throws it away"
        return "failed", f"{damaged[0].problem}{more}; {cure}; in all {says}"
    if outbox.is_full:
        cure = "make room with `strongroom outbox deliver`, or `strongroom outbox discard RUN`"
        return "failed", f"{outbox.fullness}, so runs stop when their backend does not answer: {says}; {cure}"
    if all(each.is_busy for each in waiting):
        return "ok", f"{says}; who has them goes on, and delivers them" if waiting else says
    cure = "`strongroom outbox deliver` brings them there, `strongroom outbox discard RUN` throws them away"
    return "warning", f"{says}; {cure}"


def _waits(waiting: Sequence[Waiting]) -> str:
    documents = sum(each.documents for each in waiting)
    what = f"{documents} document{'s' * (documents != 1)} of {len(waiting)} run{'s' * (len(waiting) != 1)}"
    oldest = duration(max(time.time() - min(each.since for each in waiting) / 1e6, 0))
    whom = ", ".join(sorted({each.address or each.backend for each in waiting} - {""}))
    verb = "waits" if documents == 1 else "wait"
    taken = size(sum(each.size for each in waiting))
    return f"{what} {verb}{' for ' * bool(whom)}{whom}, {taken}, the oldest for {oldest}"


def _clock(project: Project) -> tuple[_State, str]:
    """Compare the clock of this process with those of the backend and of the home's file system."""
    offsets = dict(_offsets(project))
    if not offsets:
        return "skipped", "neither the backend nor a file in the home has a clock to compare with"
    says = ", ".join(f"{name} is {abs(off):.1f} s {_way(off)}" for name, off in offsets.items())
    if any(abs(off) > _MOST_SECONDS for off in offsets.values()):
        return "failed", f"{says}; set the clocks, say with NTP: cached results expire and garbage is told by them"
    return "ok", says


def _offsets(project: Project) -> Iterator[tuple[str, float]]:
    if project.home.is_dir() and os.access(project.home, os.W_OK):
        with tempfile.NamedTemporaryFile(dir=project.home, prefix=".doctor-") as file:
            yield "the home's file system", os.fstat(file.fileno()).st_mtime - time.time()
    if project.backend_id == "memory":
        return
    # A backend that is broken has a check of its own, and says nothing of the time.
    with contextlib.suppress(Exception), project.open_backend() as backend:
        if isinstance(backend, SupportsTrial):
            before = time.time()
            there = backend.clock()
            yield "the backend's clock", there - (before + time.time()) / 2


def _way(off: float) -> str:
    return "ahead" if off > 0 else "behind"


def _called(backend: Backend) -> str:
    return str(getattr(backend, "place", f"the backend {backend.id!r}"))


def _for_trial(project: Project) -> Project:
    return project.with_keyring(Keyring([Key.generate()]))


CHECKS: Mapping[str, _Look] = MappingProxyType(
    {
        "home": _home,
        "keys": _keys,
        "plugins": _plugins,
        "egress": _egress,
        "storage": _storage,
        "backend": _backend,
        "outbox": _outbox,
        "clock": _clock,
    }
)
"""What is looked at beside the settings, in the order in which one thing needs another."""
