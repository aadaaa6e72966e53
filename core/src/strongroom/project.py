# SPDX-License-Identifier: Apache-2.0
"""What belongs to the project that this process works for: settings, keys, plugins, storage and backend?"""

from __future__ import annotations

import logging
import os
import re
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import astuple

from strongroom import _settings_loading
from strongroom._egress import Gate, open_envelope
from strongroom._handlers import JSONHandler, NullHandler, SecretHandler, StoredHandler
from strongroom._heads import known_head
from strongroom._key_choice import key_source
from strongroom._links import Chain, Links, unlinked
from strongroom._logs import log_file, reading
from strongroom._memory_backend import MemoryBackend
from strongroom._outboxes import Delivered, Left, Outboxes, Waiting
from strongroom._place import Place, Where, as_place
from strongroom._plugins import Plugins, installed_plugins
from strongroom._policy import Policy, policy_of
from strongroom._receipts import Receipts
from strongroom._references import BackendReferences
from strongroom._whereabouts import Whereabouts, slot_of, whereabouts
from strongroom.abc import Envelope, ResultHandler
from strongroom.documents import LogDocument, RunDocument
from strongroom.errors import BackendError, SealError, SettingsError
from strongroom.keyring import Keyring
from strongroom.results import Chain as ValueChain
from strongroom.results import Result, ResultStore

if TYPE_CHECKING:
    from collections.abc import Iterator

    from strongroom._settings import Settings
    from strongroom.abc import Backend, KeySource, Serializer
    from strongroom.documents import Document, KeptResult, LogLine
    from strongroom.results import References, ResultRecord

__all__ = ["Chain", "Delivered", "Left", "Outboxes", "Project", "Waiting", "Whereabouts"]

_log = logging.getLogger("strongroom")

_RUN_ID = re.compile(r"[0-9a-f]{32}")
_ELSE = "and answered with something else; it was changed, or is not what backend.id names"
# What the fields of an envelope are; a backend may have anything in them.
_TYPES = (str, str, int, int, str, str, str, int, int, bytes, str)
_MOST = 1 << 63


@dataclass(frozen=True)
class Project:
    """The settings in force, and what they lead to, opened when it is first needed.

    This is what a program that looks at runs from outside starts from, such as the command line.
    """

    settings: Settings
    """Where each came from is in ``settings.origins``."""
    _places: dict[str, Place] = field(default_factory=dict, repr=False, compare=False)
    """URL -> the place that was opened with options from code."""

    @classmethod
    def open(cls, env: Mapping[str, str] | None = None, cwd: Path | None = None) -> Project:
        """The project of the settings in force.

        Raises:
            SettingsError: a setting is wrong.
        """
        return cls(_settings_loading.load(os.environ if env is None else env, cwd or Path.cwd()))

    @classmethod
    def of_file(cls, path: Path, env: Mapping[str, str] | None = None) -> Project:
        """The project as the settings in the file *path* alone would have it.

        Raises:
            SettingsError: a setting is wrong, or the file cannot be read.
        """
        return cls(_settings_loading.load_file(path, os.environ if env is None else env))

    @property
    def home(self) -> Path:
        """The folder of the keyring, and of results and runs unless the settings say otherwise."""
        return self.settings.home

    @cached_property
    def plugins(self) -> Plugins:
        """The installed and allowed plugins."""
        return installed_plugins(self.settings.plugins.allow)

    @cached_property
    def key_source(self) -> KeySource:
        """Where the keys come from, by the settings; nothing is made or fetched.

        Raises:
            MissingPluginError: no plugin brings the source that the settings name.
        """
        return key_source(self.settings)

    @cached_property
    def keyring(self) -> Keyring:
        """The keys; where they lie in a file of the home, they are made on first use.

        Raises:
            KeyringError: they cannot be had.
            MissingPluginError: no plugin brings the source that the settings name.
        """
        return Keyring.from_source(self.key_source)

    def with_keyring(self, keyring: Keyring) -> Project:
        """The same project with other keys, such as some that are good for a trial only."""
        twin = replace(self)
        vars(twin)["keyring"] = keyring  # as if it had been asked for before
        return twin

    @cached_property
    def policy(self) -> Policy:
        """What may leave, by the settings and the plugins.

        Raises:
            SettingsError: the settings give a field what it cannot have.
            EgressError: the policy cannot be followed, so nothing may leave.
            PluginError: a plugin that ``egress.require`` names is missing or broken.
        """
        return policy_of(self.settings, self.plugins)

    def store(
        self, storage: Where | None = None, serializer: str | Serializer | ValueChain | None = None
    ) -> ResultStore:
        """Results at *storage*; what is not given is as the settings have it."""
        results = self.settings.results
        place = as_place(storage or results.storage or self.home / "results")
        if place.from_code:
            # Whoever follows a reference has the URL only.
            self._places[place.url] = place
        return ResultStore(
            self._places.get(place.url, place).options_with(self.settings.storage),
            serializer=serializer or results.serializer,
            keyring=self.keyring,
            allow=results.allow,
            # Which results a transaction made visible is no result: it names random ids, and nothing of the user's.
            require_encryption=results.require_encryption and not isinstance(serializer, Receipts),
            suite=results.suite,
            plugins=self.plugins,
        )

    def receipts(self) -> ResultStore:
        """Where transactions write down which results they made visible; encrypted where results must be."""
        required = self.settings.results.require_encryption
        codecs = (self.plugins.codec("encrypted"),) if required else ()
        return self.store(None, ValueChain(codecs, Receipts()))

    def handler(self, id_: str) -> ResultHandler:
        """A result handler by its id: a built-in one, or a plugin's.

        Raises:
            MissingPluginError: there is none.
        """
        if id_ == StoredHandler.id:
            return StoredHandler(self.store())
        built_in = {each.id: each for each in (JSONHandler, NullHandler, SecretHandler)}.get(id_)
        return built_in() if built_in else self.plugins.handler(id_)

    @property
    def backend_id(self) -> str:
        """The id of the backend that `open_backend` opens; ``memory`` keeps nothing beyond this process."""
        return self.settings.backend.id or ("sql" if self.plugins.has("sql") else MemoryBackend.id)

    def open_backend(self) -> Backend:
        """The backend of the settings: by default a database under the home.

        Without the plugin for that it is this process's memory, and a warning says so.

        Raises:
            SettingsError: the home cannot be made.
        """
        backend, id_ = self.settings.backend, self.backend_id
        if id_ != MemoryBackend.id:
            _make_home(self.home)
            return self.plugins.backend(id_, backend.url or f"sqlite:///{self.home / 'strongroom.db'}")
        if not backend.id:
            _log.warning("the record of this run is lost when the process ends; to keep it: pip install strongroom-sql")
        return MemoryBackend()

    @property
    def outbox(self) -> Outboxes:
        """What runs of this home still have to deliver to their backends."""
        return Outboxes(self.home, self.settings.backend.outbox_megabytes * 1_000_000)

    def references(self, backend: Backend) -> References:
        """The results that runs in *backend* and transactions refer to, for `ResultStore.collect_garbage`."""
        return BackendReferences(self, backend)

    def runs(self, backend: Backend, *, prefix: str = "", limit: int = 20) -> list[str]:
        """Ids of runs that start with *prefix*, at most *limit*; that these are the newest is the word of *backend*.

        Raises:
            BackendError: it answered with what was not asked for, which would be taken for a run, or for a file's name.
        """
        found = backend.runs(prefix=prefix, limit=limit)
        ids = _run_ids(found, prefix)
        if ids is None or len(ids) > limit:
            raise BackendError(f"the backend {backend.id!r} was asked for runs, {_ELSE}")
        if len(set(ids)) != len(ids):
            raise BackendError(f"the backend {backend.id!r} was asked for runs, and named one of them twice")
        return ids

    def documents(
        self, backend: Backend, run_id: str, *, task: str | None = None, chain: Chain | None = None
    ) -> Iterator[Document]:
        """What *backend* has of a run, opened: nothing that was changed or moved gets through.

        Without a *task* nothing may be left out, put in or put elsewhere, either; *chain* then knows how it ends.

        Raises:
            SealError: a document is not what was sent.
        """
        chain = (chain or Chain(self.keyring)) if task is None else None
        for envelope in self.envelopes(backend, run_id, task=task):
            document = self.open_document(envelope)
            if document.run_id != run_id or (task is not None and document.task != task):
                raise SealError
            if chain is not None and not chain.follow(envelope):
                raise SealError
            yield document

    def envelopes(self, backend: Backend, run_id: str, *, task: str | None = None) -> Iterator[Envelope]:
        """What *backend* has of a run, unopened; of one *task*, which it may know by its name or by a token of it.

        Raises:
            BackendError: it answered with what was not asked for.
        """
        columns = [task] if not task else [task, *self.keyring.tokens("column", "task", task)]
        for column in columns:
            found = False
            for envelope in backend.read(run_id, task=column):
                if not _is_envelope(envelope):
                    raise BackendError(f"the backend {backend.id!r} was asked for documents, {_ELSE}")
                found = True
                yield envelope
            if found:
                return

    def chain(self, run_id: str) -> Chain:
        """What tells whether each document of a run is the one that followed the one before it.

        It also knows how far this home has come with sending them, if a process of this home has come to its end.
        """
        return Chain(self.keyring, known_head(self.home, run_id))

    def open_document(self, envelope: Envelope) -> Document:
        """The document in *envelope*, exactly as it was sent. Whether it is the one that was asked for, is to be seen.

        Raises:
            SealError: it was changed, or sealed with a key that is not ours.
        """
        return open_envelope(unlinked(envelope), self.keyring)

    def sample(self, text: str) -> Envelope:
        """A document just as one would leave now, with *text* for a parameter; it belongs to no run.

        Raises:
            EgressError: nothing may leave.
            SettingsError, PluginError: as `policy`.
        """
        sent: list[Envelope] = []
        gate = Gate(self.keyring, self.plugins, Links(self.keyring, sent.append).put, self.policy)
        run_id, at = secrets.token_hex(16), time.time_ns() // 1000
        gate.send(RunDocument(run_id=run_id, name="sample", at=at, parameters={"sample": text}))
        return sent[0]

    def result(self, kept: KeptResult, document: Document) -> Result:
        """The result that *document* carries as *kept*, to be read when its value is asked for."""
        handler = self.reader(kept.handler, kept.reference)
        return Result.from_reference(kept.reference, handler, slot_of(kept, document))  # type: ignore[arg-type]  # JSON

    def record(self, kept: KeptResult) -> ResultRecord | None:
        """The record that *kept* leads to, authentic and not decoded yet; None if it is no record of ours."""
        handler = self.reader(kept.handler, kept.reference)
        if not isinstance(handler, StoredHandler):
            return None
        return handler.record(kept.reference)  # type: ignore[arg-type]  # JSON

    def whereabouts(self, kept: KeptResult, document: Document) -> Whereabouts:
        """Where the result lies that *document* carries as *kept*, as far as it can be told without reading it."""
        return whereabouts(kept, document, self)

    def logs(self, run_id: str, backend: Backend | None = None) -> Iterator[LogLine]:
        """What the tasks of a run logged and printed, in its order: as this machine has it, or else the *backend*.

        Raises:
            SealError: what the backend has is not what was sent.
        """
        path = log_file(self.home, run_id)
        if backend is None or path.exists():
            yield from reading(path)
            return
        for document in self.documents(backend, run_id, task=""):
            if isinstance(document, LogDocument):
                yield from document.lines

    def reader(self, handler: str, reference: object) -> ResultHandler:
        """What reads an authentic *reference* that the handler of this id gave.

        Raises:
            MissingPluginError: there is none of this id.
        """
        if handler == StoredHandler.id and isinstance(reference, Mapping):
            # The reference was sealed with our key: the place that it names is one that this project wrote to.
            return StoredHandler(self.store(str(reference["storage"])))
        return self.handler(handler)


def _make_home(home: Path) -> None:
    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as exc:
        raise SettingsError(f"the home {str(home)!r} cannot be made: {exc.strerror}; name another folder") from exc


def _run_ids(found: object, prefix: str) -> list[str] | None:
    """*found*, if it is what it should be: what a plugin passes on may come from anybody."""
    if not isinstance(found, Sequence) or isinstance(found, (str, bytes, bytearray)):
        return None
    ids = [each for each in found if isinstance(each, str) and _RUN_ID.fullmatch(each) and each.startswith(prefix)]
    return ids if len(ids) == len(found) else None


def _is_envelope(found: object) -> bool:
    if type(found) is not Envelope or tuple(map(type, astuple(found))) != _TYPES:
        return False
    numbers = (found.map_index, found.sequence, found.at, found.run_count)
    return max(numbers) < _MOST and min(numbers) > -_MOST
