# SPDX-License-Identifier: Apache-2.0
"""Why was a cached result used, or not?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from strongroom.documents import RunDocument, StateDocument
from strongroom.errors import SealError
from strongroom_cli._errors import FAILED, CommandError, complain, printable
from strongroom_cli._history import find_run, open_record, read_history
from strongroom_cli._output import Output, moment, print_json
from strongroom_cli._read import no_such_task

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from strongroom import Backend
    from strongroom.documents import CacheInfo
    from strongroom.project import Project
    from strongroom_cli._history import TaskHistory

__all__ = ["explain"]

_LOOKED_AT = 50
_HEADS = ("what the key is made of", "then")


class _Earlier:
    """What the newest earlier run that has the task says of its cache."""

    def __init__(self, run_id: str, states: Sequence[StateDocument]) -> None:
        self.run_id = run_id
        self._infos = [(each.at, each.cache) for each in states if each.cache is not None and each.cache.key]

    def nearest(self, info: CacheInfo) -> tuple[int, CacheInfo] | None:
        """The one that most of *info* is the same in: of a mapped task, there are many."""
        return max(self._infos, key=lambda each: _same_parts(each[1], info), default=None)


def explain(run: str, task: str, *, as_json: bool) -> None:
    """Print what was decided about the cache for *task* in *run*, and what has changed since the run before.

    Raises:
        CommandError: there is no such task, or it is not cached.
    """
    with open_record() as (project, backend):
        run_id = find_run(project, backend, run)
        history = read_history(project, backend, run_id, task=task)
        decided = [(each, state) for each in history.tasks for state in each.states if state.cache is not None]
        if not decided and not history.unopened:
            if not any(each.states for each in history.tasks) or not task:
                raise CommandError(no_such_task(project, backend, run_id, task))
            raise CommandError(f"the task {task!r} is not cached; give it a cache_policy or cache_for")
        earlier = _earlier(project, backend, run_id, task, before=min((state.at for _, state in decided), default=0))
    if as_json:
        print_json([_json(each, state, earlier) for each, state in decided])
    else:
        output = Output()
        for each, state in decided:
            _print(output, each, state, earlier)
    if history.unopened:
        complain(f"{len(history.unopened)} documents do not open, and were left out")
        raise SystemExit(FAILED)


def _earlier(project: Project, backend: Backend, run_id: str, task: str, *, before: int) -> _Earlier | None:
    """The newest run before this one, of the same flow, in which *task* had a key."""
    name = _flow_of(project, backend, run_id)
    for other in project.runs(backend, limit=_LOOKED_AT):
        if other == run_id or _flow_of(project, backend, other) != name:
            continue
        states = [each for each in _opened(project, backend, other, task) if each.at < before]
        if any(each.cache is not None and each.cache.key for each in states):
            return _Earlier(other, states)
    return None


def _flow_of(project: Project, backend: Backend, run_id: str) -> str | None:
    try:
        documents = project.documents(backend, run_id, task="")
        return next((each.name for each in documents if isinstance(each, RunDocument)), None)
    except SealError:
        return None


def _opened(project: Project, backend: Backend, run_id: str, task: str) -> Iterator[StateDocument]:
    try:
        yield from (each for each in project.documents(backend, run_id, task=task) if isinstance(each, StateDocument))
    except SealError:
        # What is not what was sent explains nothing; `strongroom show` tells of it.
        return


def _print(output: Output, task: TaskHistory, state: StateDocument, earlier: _Earlier | None) -> None:
    info = state.cache
    assert info is not None  # noqa: S101  # only these are printed
    colour = "green" if info.hit else "yellow"
    output.line(
        Text.assemble(f"{task.label}: ", ("hit" if info.hit else "miss", colour), f": {printable(info.reason)}")
    )
    if not info.key:
        return
    output.line(f"key {info.key}", indent="  ")
    found = earlier.nearest(info) if earlier is not None else None
    if earlier is None or found is None:
        output.line("no earlier run of this task is recorded here", indent="  ")
        output.table(_HEADS[:1], [(part,) for part in sorted(info.parts)])
        return
    at, known = found
    output.line(f"compared with the run {earlier.run_id[:8]} at {moment(at)}:", indent="  ")
    output.table(_HEADS, [(part, _shown(how)) for part, how in _compared(known, info)])


def _shown(how: str) -> Text:
    return Text(how, style="dim" if how == "the same" else "yellow")


def _compared(then: CacheInfo, now: CacheInfo) -> Iterable[tuple[str, str]]:
    for part in sorted({*then.parts, *now.parts}):
        if part not in then.parts:
            yield part, "was no part of it"
        elif part not in now.parts:
            yield part, "is no part of it any more"
        else:
            yield part, "the same" if then.parts[part] == now.parts[part] else "different"


def _same_parts(one: CacheInfo, other: CacheInfo) -> int:
    return len(one.parts.items() & other.parts.items())


def _json(task: TaskHistory, state: StateDocument, earlier: _Earlier | None) -> dict[str, object]:
    info = state.cache
    assert info is not None  # noqa: S101  # only these are printed
    found = earlier.nearest(info) if earlier is not None else None
    return {
        "task": task.task,
        "map_index": task.map_index,
        "at": state.at,
        "hit": info.hit,
        "reason": info.reason,
        "key": info.key or None,
        "compared_with": earlier.run_id if earlier is not None and found is not None else None,
        "parts": dict(_compared(found[1], info)) if found is not None else dict.fromkeys(sorted(info.parts)),
    }
