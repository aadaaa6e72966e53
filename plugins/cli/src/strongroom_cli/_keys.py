# SPDX-License-Identifier: Apache-2.0
"""Which keys does the project have, and how does it get a new one?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from strongroom.abc import SupportsRotation
from strongroom.errors import NotFoundError, StorageError, StrongroomError
from strongroom.project import Project
from strongroom_cli._counting import Counting
from strongroom_cli._errors import FAILED, CommandError, InterruptedHalfway, printable
from strongroom_cli._output import Output, print_json

if TYPE_CHECKING:
    from strongroom import ResultStore
    from strongroom.abc import KeySource
    from strongroom.keyring import Keyring

__all__ = ["changeable", "rewrite", "rotate", "show", "source_of"]


def show(*, as_json: bool) -> None:
    """Print the ids of the keys, the newest first, and never a secret."""
    keyring = Project.open().keyring
    source = source_of(keyring)
    rows = [(id_, keyring.created(id_), _use(keyring, id_)) for id_ in reversed(_by_age(keyring))]
    if as_json:
        keys = [{"id": id_, "created": at.isoformat() if at else None, "use": use} for id_, at, use in rows]
        print_json({"source": source.id, "place": source.place, "primary": keyring.primary, "keys": keys})
        return
    output = Output()
    output.table(
        ("key", "made", "use"), [(id_, f"{at:%Y-%m-%d %H:%M} UTC" if at else "-", use) for id_, at, use in rows]
    )
    output.line(f"from {printable(source.place)}")


def rotate(storage: str | None, *, stage: bool, with_rewrite: bool, as_json: bool) -> None:
    """Give the project a new key to seal with, after everybody who reads can have got it.

    Raises:
        CommandError: the keys come from a place that is not ours to change.
    """
    if stage and with_rewrite:
        raise CommandError(
            "--stage and --rewrite exclude each other: a key that does not seal yet cannot be written with"
        )
    project = Project.open()
    before = project.keyring
    source = changeable(source_of(before))
    if with_rewrite:
        # If that storage cannot be looked into there is to be no new key: the same command again would make another.
        next(project.store(storage).list(), None)
    order = _by_age(before)
    waiting = order[order.index(before.primary) + 1 :]
    # Readers first: a key is durable where they find it before anything is sealed with it.
    key_id = waiting[-1] if waiting and not stage else source.add()
    if not stage:
        source.promote(key_id)
    if with_rewrite:
        _rewrite(Project.open(), storage, as_json=as_json, more={"added": key_id})
    elif as_json:
        print_json({"added": key_id, "primary": before.primary if stage else key_id})
    else:
        does = "opens, and will seal once you call `strongroom keys rotate`" if stage else "seals from now on"
        Output().line(f"the key {key_id} {does}; the others go on opening")


def rewrite(storage: str | None, *, as_json: bool) -> None:
    """Bring the records in *storage* to the key that seals now; those that are there already are left alone.

    Raises:
        SystemExit: some could not be.
    """
    _rewrite(Project.open(), storage, as_json=as_json, more={})


def _rewrite(project: Project, storage: str | None, *, as_json: bool, more: dict[str, object]) -> None:
    store, primary = project.store(storage), project.keyring.primary
    rewriting = _Rewriting(store)
    try:
        rewriting.run()
    except KeyboardInterrupt:
        # Another `rotate` would make another key.
        raise InterruptedHalfway(
            f"{_count(rewriting.done)} brought to the key {primary}, which seals; `strongroom keys rewrite` goes on"
        ) from None
    done, problems = rewriting.done, rewriting.problems
    if as_json:
        listed = [{"key": key, "problem": problem} for key, problem in problems.items()]
        print_json({**more, "primary": primary, "rewritten": done, "problems": listed})
    else:
        output = Output()
        for problem in problems.values():
            output.line(problem)
        left = f", {len(problems)} left as they are" if problems else ""
        output.line(f"{_count(done)} brought to the key {primary}{left}")
    if problems:
        raise SystemExit(FAILED)


class _Rewriting:
    """The way of the records in *store* to the key that seals, as far as it has come."""

    def __init__(self, store: ResultStore) -> None:
        self._store = store
        self.done = 0
        self.problems = dict[str, str]()

    def run(self) -> None:
        """Take all of it."""
        former = list[str]()
        # Listed before, since what is written meanwhile may or may not be listed again.
        with Counting("records found") as counting:
            for key in self._store.former():
                former.append(key)
                counting.step()
        with Counting("records", total=len(former)) as counting:
            for key in former:
                try:
                    self.done += self._store.rewrite(key)
                except NotFoundError:
                    pass  # deleted since it was listed
                except StorageError as exc:
                    self.problems[key] = str(exc)
                counting.step()


def _count(records: int) -> str:
    return f"{records} record{'s' * (records != 1)}"


def _by_age(keyring: Keyring) -> list[str]:
    return [key.id for key in source_of(keyring).load().keys]


def _use(keyring: Keyring, key_id: str) -> str:
    order = _by_age(keyring)
    if key_id == keyring.primary:
        return "seals and opens"
    return "opens, waits to seal" if order.index(key_id) > order.index(keyring.primary) else "opens"


def source_of(keyring: Keyring) -> KeySource:
    """Where the keys are from.

    Raises:
        StrongroomError: they were given to this process alone.
    """
    if keyring.source is None:
        raise StrongroomError("the keys of this project are in no place that others could look at")
    return keyring.source


def changeable(source: KeySource) -> SupportsRotation:
    """*source*, to change the keys in it.

    Raises:
        CommandError: the keys come from a place that is not ours to change.
    """
    if isinstance(source, SupportsRotation):
        return source
    raise CommandError(
        f"the keys come from {source.place}, which strongroom cannot change; put their text into DIR/keyring.toml, run "
        "the same with STRONGROOM_KEYS_SOURCE=file STRONGROOM_HOME=DIR, and put the new text where the old one was"
    )
