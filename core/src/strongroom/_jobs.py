# SPDX-License-Identifier: Apache-2.0
"""What has to be run, and what waits for what, once mapped tasks have become their children?"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from strongroom._result import NoResult, Result
from strongroom._transactions import Earlier
from strongroom.errors import DefinitionError
from strongroom.states import Mapped, Pending, State, Success

if TYPE_CHECKING:
    from strongroom._graph import Edge
    from strongroom._task import Task
    from strongroom.abc import ResultHandler, Slot

__all__ = [
    "NOTHING_YET",
    "Beginning",
    "Gathered",
    "Job",
    "expand",
    "gather",
    "task_context",
    "trigger_view",
    "upstream_states",
]


class Gathered(Result):
    """The results of all children of a mapped task, in their order, read when they are asked for."""

    __slots__ = ("_states",)

    _states: tuple[State, ...]

    def __init__(self, states: tuple[State, ...], handler: ResultHandler | None) -> None:
        super().__init__(None, handler)
        object.__setattr__(self, "_states", states)

    @property
    def in_memory(self) -> bool:
        # Whoever asks before looking at the value does not want thousands of files to be read.
        return all(state._result.in_memory for state in self._states)  # noqa: SLF001

    @property
    def value(self) -> object:
        return [None if (value := state.result) is NoResult else value for state in self._states]

    def _read(self) -> object:
        return self.value

    def serialize(self, slot: Slot) -> Result:
        return Result(self.value, self.handler).serialize(slot)

    def __reduce__(self) -> tuple[object, ...]:
        return Gathered, (self._states, self.handler)


@dataclass(slots=True, eq=False)
class Job:
    """One task run: of a task, or of one child of a mapped task.

    Attributes:
        upstream: for each edge the job whose result it brings, or the state itself if that is an element of a list.
        waiting_for: how many jobs have to finish before this one can start.
        dependents: the jobs that wait for this one.
        children: the runs that this one has become; None unless it was mapped.
    """

    task: Task
    map_index: int = -1
    state: State = field(default_factory=Pending)
    upstream: dict[Edge, Job | State] = field(default_factory=dict)
    waiting_for: int = 0
    dependents: list[Job] = field(default_factory=list)
    children: list[Job] | None = None
    open_children: int = 0
    parent: Job | None = None
    run_count: int = 0
    maps: bool = False
    """True if this is a mapped task that has to become its children first."""
    is_start: bool = False
    """True if the run starts here: whatever is upstream is not asked."""
    is_done: bool = False
    """True once it is written down that it succeeded: whatever stops the run from then on does not stop this."""
    left_out: bool = False
    """True if the run starts elsewhere, and this job is not part of it."""

    def connect(self, upstream: dict[Edge, Job | State]) -> None:
        """Let this job have *upstream*, which is for nobody else from now on, and wait for it.

        What is to be mapped waits for what it does not map over, too: that may be skipped, and then so is the whole.
        """
        self.upstream = upstream
        self.maps = self.map_index < 0 and any(edge.mapped for edge in upstream)
        if self.is_start:
            return
        self.wait_for(upstream.values())

    def wait_for(self, sources: Iterable[Job | State]) -> None:
        """Let this job wait for those of *sources* that are not finished."""
        for source in {id(source): source for source in sources}.values():
            if isinstance(source, Job) and not source.state.is_finished() and not source.left_out:
                self.waiting_for += 1
                source.dependents.append(self)

    def give_up_mapping(self) -> None:
        """Be run as one, once all is there: it is skipped, or it is for the trigger to say what becomes of it."""
        self.maps = False
        self.wait_for(self.upstream.values())

    def is_mappable(self) -> bool:
        """True if all that it maps over is there, children or a result that may be a list, and no skip has ended it.

        A task that goes on in spite of skips maps over what was not skipped, if there is anything.
        """
        jobs = [(edge.mapped, source) for edge, source in self.upstream.items() if isinstance(source, Job)]
        if self.task.skip_on_upstream_skip and any(source.state.is_skipped() for _, source in jobs):
            return False
        there = [source for mapped, source in jobs if mapped and not source.state.is_skipped()]
        return bool(there) and all(source.children is not None or source.state.is_successful() for source in there)


def upstream_states(job: Job) -> dict[Edge, State]:
    """The states that *job* finds upstream."""
    return {edge: source.state if isinstance(source, Job) else source for edge, source in job.upstream.items()}


def task_context(
    job: Job, of_run: Mapping[str, object], run_count: int, *, is_resumed: bool = False
) -> dict[str, object]:
    """What the context holds while *job* is run for the time *run_count*: the keys *of_run*, and its own."""
    task, index = job.task, None if job.map_index < 0 else job.map_index
    return {
        **of_run,
        "task_name": task.name,
        "task_full_name": task.name if index is None else f"{task.name}[{index}]",
        "task_slug": task.slug,
        "task_run_id": f"{of_run['run_id']}:{task.slug}",
        "task_run_count": run_count,
        "task_tags": task.tags,
        "map_index": index,
        "resume": is_resumed,
        "loop_count": 1,
        "loop_result": None,
    }


def _fresh_child(task: Task, index: int) -> State:  # noqa: ARG001  # all begin alike
    return Pending()


@dataclass(frozen=True, slots=True)
class Beginning:
    """What is there before a run begins: states of an earlier run, or where to start.

    Attributes:
        states: by slug and map index, -1 for a task itself, a state and how often the task was started before.
        start_tasks: the only tasks to start, with all that follows from them; None starts all.
        part: the tasks that the run goes through; None is all.
        find_child: gives the state of a child that *states* does not have.
        transactions: what became of the run's transactions.
    """

    states: Mapping[tuple[str, int], tuple[State, int]] = field(default_factory=dict)
    start_tasks: frozenset[Task] | None = None
    part: frozenset[Task] | None = None
    find_child: Callable[[Task, int], State] = _fresh_child
    transactions: Earlier = field(default_factory=Earlier)

    def job(self, task: Task) -> Job:
        """The job of *task*, as it stands before the run."""
        state, run_count = self.states.get((task.slug, -1), _FRESH)
        start = self.start_tasks is not None and task in self.start_tasks
        left_out = self.part is not None and task not in self.part
        return Job(task, state=state, run_count=run_count, is_start=start, left_out=left_out)

    def child(self, parent: Job, index: int) -> Job:
        """The job of one child of *parent*, as it stands before the run."""
        entry = self.states.get((parent.task.slug, index))
        state, run_count = entry or (self.find_child(parent.task, index), 0)
        return Job(parent.task, index, state=state, run_count=run_count, parent=parent)


_FRESH: tuple[State, int] = (Pending(), 0)
NOTHING_YET = Beginning()
"""A run that begins at the beginning."""


def expand(job: Job, make_child: Callable[[Job, int], Job]) -> list[Job]:
    """Make the children of a mapped *job*: as many as the shortest of what it maps over has elements.

    What was skipped has none, and is skipped for each child.

    Raises:
        DefinitionError: it maps over something that has no elements.
        HandlerError: what it maps over cannot be read.
    """
    sources = job.upstream.items()
    mapped = {edge: _elements(edge, source) for edge, source in sources if edge.mapped and not _is_skipped(source)}
    others = {edge: source for edge, source in sources if edge not in mapped}
    children = []
    for index, elements in enumerate(zip(*mapped.values(), strict=False)):
        child = make_child(job, index)
        child.connect({**dict(zip(mapped, elements, strict=True)), **others})
        children.append(child)
    job.children = children
    job.open_children = sum(not child.state.is_finished() for child in children)
    return children


def _is_skipped(source: Job | State) -> bool:
    return (source.state if isinstance(source, Job) else source).is_skipped()


def _elements(edge: Edge, source: Job | State) -> Sequence[Job | State]:
    if isinstance(source, Job) and source.children is not None:
        return source.children
    state = source.state if isinstance(source, Job) else source
    value = state.result
    # A text has elements, and a mapping has keys, but nobody means these.
    # An iterator can be gone through once: whoever came second would find it empty, and so would a resumed run.
    if isinstance(value, (str, bytes, Mapping, Iterator)) or not isinstance(value, Iterable):
        kind = type(value).__name__
        raise DefinitionError(
            f"the task {edge.downstream.slug!r} is mapped over the input {edge.key!r}, but that is a {kind}; "
            "map over a list, or wrap the input in unmapped(...)"
        )
    handler = state._result.handler  # noqa: SLF001  # elements are kept as the whole is
    return [Success(result=Result(item, handler)) for item in cast("Iterable[object]", value)]


def gather(job: Job, handler: ResultHandler | None) -> State:
    """The state of a mapped *job* whose children are finished."""
    states = tuple(child.state for child in job.children or ())
    failed = sum(state.is_failed() for state in states)
    message = f"{len(states)} mapped runs" + (f", of which {failed} failed" if failed else "")
    return Mapped(message, result=Gathered(states, handler), map_states=states)


def trigger_view(upstream: Mapping[Edge, State]) -> Mapping[Edge, State]:
    """*upstream* as a trigger sees it: a mapped task is its children."""
    if not any(state.is_mapped() for state in upstream.values()):
        return upstream
    return dict(_expanded(upstream))


def _expanded(upstream: Mapping[Edge, State]) -> Iterator[tuple[Edge, State]]:
    for edge, state in upstream.items():
        if isinstance(state, Mapped):
            # Edges are told apart by identity: each child gets one of its own.
            yield from ((dataclasses.replace(edge), child) for child in state.map_states)
        else:
            yield edge, state
