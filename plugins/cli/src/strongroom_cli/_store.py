# SPDX-License-Identifier: Apache-2.0
"""What lies in a storage, is it whole, and what of it is of no use any more?"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from strongroom.errors import NotFoundError, StorageError
from strongroom.project import Project
from strongroom_cli._counting import Counting
from strongroom_cli._errors import FAILED, CommandError
from strongroom_cli._history import open_record
from strongroom_cli._output import Output, moment, print_json, size
from strongroom_cli._paths import local_path

if TYPE_CHECKING:
    from strongroom import ResultStore
    from strongroom.results import Checked, Collected, Entry, Garbage, Metadata

__all__ = ["collect", "ls", "verify"]

_WAYS = {"unused": "no state refers to it", "expired": "it has expired", "leftover": "its writer died"}


def ls(prefix: str, storage: str | None, *, as_json: bool) -> None:
    """Print what lies in *storage* below the folder *prefix*, by its name, with what its first line says."""
    store = Project.open().store(storage)
    found = list[tuple["Entry", "Metadata | None"]]()
    with Counting("records listed") as counting:
        for entry in sorted(store.list(prefix), key=lambda each: each.key):
            counting.step()
            found.append((entry, _metadata(store, entry.key)))
    if as_json:
        print_json([_listed(entry, metadata) for entry, metadata in found])
        return
    output = Output()
    if not found:
        output.line(f"there is nothing in {_place(store, prefix)}")
        return
    heads = ("key", "size", "chain", "created", "expires")
    output.table(heads, [_cells(entry, metadata) for entry, metadata in found], right=("size",))
    output.line(f"{_count(len(found), 'record')}, {size(sum(entry.size for entry, _ in found))}")


def verify(prefix: str, storage: str | None, *, as_json: bool) -> None:
    """Read and authenticate every record in *storage* below the folder *prefix*, and tell of those that are not whole.

    Raises:
        SystemExit: one is damaged.
    """
    store = Project.open().store(storage)
    broken, number, read = list["Checked"](), 0, 0
    with Counting("records checked") as counting:
        for checked in store.verify(prefix):
            counting.step()
            number += 1
            read += checked.metadata.size if checked.metadata else 0
            if checked.problem is not None:
                broken.append(checked)
    if as_json:
        problems = [{"key": each.key, "problem": str(each.problem)} for each in broken]
        print_json({"records": number, "bytes": read, "problems": problems})
    else:
        output = Output()
        for each in broken:
            output.line(str(each.problem), style="red")
        whole = f"{_count(number - len(broken), 'record')} of {size(read)} authentic"
        output.line(f"{whole}, {len(broken)} not" if broken else whole)
    if broken:
        raise SystemExit(FAILED)


def collect(storage: str | None, *, grace: float, only_user: bool, dry_run: bool, as_json: bool) -> None:
    """Delete what is of no use to anybody in *storage*, or only tell of it.

    Raises:
        CommandError: the grace is no time.
        ReferencesError: it is not known what is in use.
    """
    # The negation, so that what is no number at all is refused too.
    if not 0 <= grace <= timedelta.max.days:
        raise CommandError("--grace is a number of hours, from 0 on")
    found = list["Garbage"]()
    output = None if as_json else Output()

    def tell(garbage: Garbage) -> None:
        if output is None:
            found.append(garbage)
        else:
            counting.clear()
            what = "would delete" if dry_run else "deleted"
            output.line(f"{what} {garbage.key} ({size(garbage.size)}): {_WAYS[garbage.reason]}")

    with open_record() as (project, backend), Counting("records looked at") as counting:
        collected = project.store(storage).collect_garbage(
            project.references(backend),
            grace=timedelta(hours=grace),
            only_user=only_user,
            dry_run=dry_run,
            tell=tell,
            watch=counting.step,
        )
    if output is None:
        print_json(_collected(collected, found, dry_run=dry_run))
    else:
        _sum_up(output, collected, dry_run=dry_run)


def _metadata(store: ResultStore, key: str) -> Metadata | None:
    try:
        return store.unverified_metadata(key)
    except NotFoundError:
        return None  # deleted since it was listed
    except StorageError:
        return None


def _cells(entry: Entry, metadata: Metadata | None) -> tuple[str, ...]:
    if metadata is None:
        return entry.key, size(entry.size), "no record", "-", "-"
    expires = "never" if metadata.expires is None else moment(metadata.expires)
    return entry.key, size(entry.size), metadata.chain, moment(metadata.created), expires


def _listed(entry: Entry, metadata: Metadata | None) -> dict[str, object]:
    return {
        "key": entry.key,
        "size": entry.size,
        "chain": metadata.chain if metadata else None,
        "object": metadata.object if metadata else None,
        "created": metadata.created if metadata else None,
        "expires": metadata.expires if metadata else None,
    }


def _sum_up(output: Output, collected: Collected, *, dry_run: bool) -> None:
    did = "would be deleted" if dry_run else "deleted"
    output.line(f"{_count(collected.deleted, 'file')}, {size(collected.size)}, {did}")
    if collected.marked:
        output.line(f"{_count(collected.marked, 'result')} unused: the next collection deletes what still is")
    if collected.unknown:
        output.line(
            f"{_count(collected.unknown, 'result')} left alone, of runs that this backend does not know; "
            "--only-user deletes them if nobody else uses this storage"
        )
    if collected.opaque:
        output.line(
            f"{_count(collected.opaque, 'result')} left alone, of runs that keep results with a handler of a plugin: "
            "it alone knows what they refer to"
        )
    if collected.damaged:
        output.line(f"{_count(collected.damaged, 'record')} damaged and left alone; see strongroom store verify")


def _collected(collected: Collected, found: list[Garbage], *, dry_run: bool) -> dict[str, object]:
    return {
        "dry_run": dry_run,
        "deleted": [{"key": each.key, "size": each.size, "reason": each.reason} for each in found],
        "bytes": collected.size,
        "marked": collected.marked,
        "unknown": collected.unknown,
        "damaged": collected.damaged,
        "opaque": collected.opaque,
    }


def _place(store: ResultStore, prefix: str) -> str:
    return local_path(f"{store.url.rstrip('/')}/{prefix}".rstrip("/"))


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
