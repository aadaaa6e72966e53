# SPDX-License-Identifier: Apache-2.0
"""What is the result of a task?"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from contextlib import contextmanager, suppress
from difflib import get_close_matches
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from strongroom.errors import FormatNotAllowedError, MissingPluginError, NotSupportedError
from strongroom_cli._errors import FAILED, CommandError
from strongroom_cli._history import find_run, open_record, read_history
from strongroom_cli._output import Output, print_json, size
from strongroom_cli._values import lines_of, not_plain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from strongroom import Backend
    from strongroom.documents import KeptResult, StateDocument
    from strongroom.project import Project

__all__ = ["no_such_task", "read"]


def read(run: str, task: str, *, out: Path | None, raw: bool, force: bool, as_json: bool) -> None:
    """Print the newest result of *task* that was kept, or hand out its bytes as they are stored.

    Raises:
        CommandError: there is no such task or result, or it may not go where it should.
    """
    _check_target(out, raw=raw, force=force)
    with open_record() as (project, backend):
        run_id = find_run(project, backend, run)
        document, kept = _newest(project, backend, run_id, task)
        if out is not None or raw:
            payload, chain = _payload(project, kept)
            with payload:
                _hand_out(payload, chain, out)
            return
        value = _value(project, document, kept, f"strongroom read {run} {task} --out FILE")
    if as_json:
        _print_as_json(value, task)
    else:
        output = Output()
        for line in lines_of(value, output.width):
            output.text(line)


def _check_target(out: Path | None, *, raw: bool, force: bool) -> None:
    if raw and sys.stdout.isatty() and not force:
        raise CommandError("standard output is a terminal; add --force to print stored bytes on it, or use --out FILE")
    if out is not None and out.is_dir():
        raise CommandError(f"{out} is a folder; name a file")
    if out is not None and out.exists() and not force:
        raise CommandError(f"{out} is there already; add --force to replace it")


def _newest(project: Project, backend: Backend, run_id: str, task: str) -> tuple[StateDocument, KeptResult]:
    history = read_history(project, backend, run_id, task=task)
    if history.unopened:
        raise CommandError(
            f"a document of the task {task!r} does not open, so it is not known which result is the newest; "
            f"strongroom show {run_id[:8]} tells more",
            FAILED,
        )
    states = [state for each in history.tasks for state in each.states] if task else []
    if not states:
        raise CommandError(no_such_task(project, backend, run_id, task))
    for document in reversed(states):
        if document.result is not None:
            return document, document.result
    raise CommandError(
        f"the task {task!r} is {states[-1].type}, and no result of it was kept; persist_result=True keeps results"
    )


def no_such_task(project: Project, backend: Backend, run_id: str, task: str) -> str:
    # A mapped task is there once for each of its runs.
    slugs = list(dict.fromkeys(each.task for each in read_history(project, backend, run_id).tasks))
    if task in slugs:
        return f"the task {task!r} was never reached in this run, so it has no result"
    near = get_close_matches(task, slugs, n=1)
    return f"the run has no task {task!r}; " + (f"did you mean {near[0]!r}?" if near else f"it has {', '.join(slugs)}")


def _value(project: Project, document: StateDocument, kept: KeptResult, way_out: str) -> object:
    record = project.record(kept)
    if record is None:
        return project.result(kept, document).value
    try:
        return record.result
    except (FormatNotAllowedError, MissingPluginError) as exc:
        known = any(project.plugins.is_registered(kind, exc.id) for kind in ("serializer", "codec"))
        # To allow a format helps only if there is somebody to read it.
        why = str(exc) if known else f"the result is in the format {exc.id!r}, which no plugin here reads"
        raise CommandError(f"{why}; its bytes can be had as they are stored: {way_out}", FAILED) from exc


def _payload(project: Project, kept: KeptResult) -> tuple[BinaryIO, str]:
    record = project.record(kept)
    if record is not None:
        return record.payload(), record.metadata.chain
    if kept.handler == "json":
        return BytesIO(json.dumps(kept.reference, ensure_ascii=False).encode()), "json"
    raise NotSupportedError(f"handing out bytes that the result handler {kept.handler!r} keeps")


def _hand_out(payload: BinaryIO, chain: str, out: Path | None) -> None:
    if out is None:
        shutil.copyfileobj(payload, sys.stdout.buffer)
        sys.stdout.buffer.flush()
        return
    with _replacing(out) as sink:
        shutil.copyfileobj(payload, sink)
        written = sink.tell()
    Output().line(f"wrote {size(written)} of {chain} to {out}")


@contextmanager
def _replacing(path: Path) -> Iterator[BinaryIO]:
    """A file that is at *path* once the block ends, whole or not at all. For its owner only: it is data."""
    try:
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as exc:
        raise CommandError(f"{path} cannot be written: {exc.strerror}", FAILED) from exc
    try:
        with os.fdopen(descriptor, "wb") as sink:
            yield sink
            sink.flush()
            os.fsync(sink.fileno())
        Path(name).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise


def _print_as_json(value: object, task: str) -> None:
    if problem := not_plain(value):
        raise CommandError(f"the result of {task!r} is no JSON ({problem}); its stored bytes: --out FILE", FAILED)
    print_json(value)
