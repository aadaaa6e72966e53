# SPDX-License-Identifier: Apache-2.0
"""Which keys does the project have, and how does it get a new one?"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from strongroom.abc import SupportsRotation
from strongroom.errors import StorageError, StrongroomError
from strongroom.project import Project
from strongroom_cli._errors import FAILED, CommandError, printable
from strongroom_cli._output import Output, print_json

if TYPE_CHECKING:
    from strongroom.abc import KeySource
    from strongroom.keyring import Keyring

__all__ = ["changeable", "rewrite", "rotate", "show", "source_of"]

_EVERY = 100


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
    store = project.store(storage)
    done, problems = 0, dict[str, str]()
    watched = sys.stderr.isatty()
    # Listed before, since what is written meanwhile may or may not be listed again.
    former = list(store.former())
    for number, key in enumerate(former, 1):
        try:
            done += store.rewrite(key)
        except StorageError as exc:
            problems[key] = str(exc)
        if watched and (number % _EVERY == 0 or number == len(former)):
            sys.stderr.write(f"\r{number} of {len(former)} records{chr(10) if number == len(former) else ''}")
            sys.stderr.flush()
    if as_json:
        listed = [{"key": key, "problem": problem} for key, problem in problems.items()]
        print_json({**more, "primary": project.keyring.primary, "rewritten": done, "problems": listed})
    else:
        output = Output()
        for problem in problems.values():
            output.line(problem)
        left = f", {len(problems)} left as they are" if problems else ""
        output.line(f"{done} record{'s' * (done != 1)} brought to the key {project.keyring.primary}{left}")
    if problems:
        raise SystemExit(FAILED)


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
