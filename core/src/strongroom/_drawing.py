# SPDX-License-Identifier: Apache-2.0
"""What does a flow look like? Names and states are drawn, values never are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from strongroom._branching import Case
from strongroom._inputs import Parameter
from strongroom._task import Task
from strongroom.errors import DefinitionError, DrawingError
from strongroom.states import (
    Cached,
    Cancelled,
    Failed,
    Finished,
    Mapped,
    MetaState,
    Pending,
    Running,
    Skipped,
    State,
    Success,
)

if TYPE_CHECKING:
    from strongroom._graph import Graph

__all__ = ["to_dot", "to_mermaid", "write_drawing"]

_TEXTS = frozenset({".dot", ".gv"})
_PICTURES = frozenset({".pdf", ".png", ".svg"})

# By the first type in a state's own order of types that is here.
_COLOURS: Mapping[type[State], str] = MappingProxyType(
    {
        Cached: "#b7e4c7",
        Skipped: "#e0e0e0",
        Mapped: "#74c69d",
        Success: "#74c69d",
        Failed: "#f28482",
        Cancelled: "#f6bd60",
        Finished: "#d0d0d0",
        Running: "#90caf9",
        Pending: "#fff3bf",
        MetaState: "#fff3bf",
    }
)


def to_dot(graph: Graph, flow_state: State | None = None) -> str:
    """*graph* in the language of Graphviz; the same text for the same flow.

    Raises:
        DefinitionError: *flow_state* is not the state of a run of it.
    """
    states, numbers = _states(graph, flow_state), _numbers(graph)
    lines = ["digraph {", f"  label={_dot(graph.name)}", "  labelloc=t", '  node [shape=box style="rounded,filled"]']
    for task, number in numbers.items():
        mapped = " peripheries=2" if _is_mapped(graph, task) else ""
        shape = f" shape={'ellipse' if isinstance(task, Parameter) else 'diamond'}" if _is_special(task) else ""
        colour = _colour(states.get(task), "white")
        lines.append(f"  t{number} [label={_dot(*_label(task, states))}{shape}{mapped} fillcolor={_dot(colour)}]")
    for edge in graph.edges:
        parts = [f"label={_dot(edge.key)}"] if edge.key is not None else ["style=dashed"]
        parts += ["arrowhead=crow"] if edge.mapped else []
        lines.append(f"  t{numbers[edge.upstream]} -> t{numbers[edge.downstream]} [{' '.join(parts)}]")
    return "\n".join([*lines, "}", ""])


def to_mermaid(graph: Graph, flow_state: State | None = None) -> str:
    """*graph* in the language of Mermaid, as READMEs show it; the same text for the same flow.

    Raises:
        DefinitionError: *flow_state* is not the state of a run of it.
    """
    states, numbers = _states(graph, flow_state), _numbers(graph)
    lines = ["flowchart TD"]
    for task, number in numbers.items():
        left, right = _brackets(graph, task)
        lines.append(f'  t{number}{left}"{"<br>".join(map(_mermaid, _label(task, states)))}"{right}')
    for edge in graph.edges:
        arrow = "==>" if edge.mapped else "-->" if edge.key is not None else "-.->"
        label = f'|"{_mermaid(edge.key)}"|' if edge.key else ""
        lines.append(f"  t{numbers[edge.upstream]} {arrow}{label} t{numbers[edge.downstream]}")
    for task, number in numbers.items():
        if task in states:
            lines.append(f"  style t{number} fill:{_colour(states[task], '#ffffff')},color:#000000")
    return "\n".join([*lines, ""])


def write_drawing(dot: str, filename: str | Path) -> None:
    """Write *dot* to a file: as it is, or as a picture, which the name's ending decides.

    Raises:
        DefinitionError: it has another ending.
        DrawingError: Graphviz is not installed, or could not draw it.
    """
    path = Path(filename)
    kind = path.suffix.lower()
    if kind in _TEXTS:
        path.write_text(dot, encoding="utf-8")
        return
    if kind not in _PICTURES:
        raise DefinitionError(f"a flow cannot be drawn as {path.name!r}; end the name in .svg, .png, .pdf or .dot")
    import shutil  # only who draws needs these
    import subprocess

    program = shutil.which("dot")
    if program is None:
        raise DrawingError(
            "the program `dot` of Graphviz, which draws pictures, is not installed; get it by `apt install graphviz`, "
            "`brew install graphviz` or from graphviz.org, or write the text with a name that ends in .dot"
        )
    # Its own words might repeat the labels, so nothing of them is passed on.
    done = subprocess.run([program, f"-T{kind[1:]}"], input=dot.encode(), capture_output=True, check=False)  # noqa: S603
    if done.returncode:
        raise DrawingError(f"Graphviz could not draw the flow as {kind[1:]} (exit code {done.returncode})")
    path.write_bytes(done.stdout)


def _states(graph: Graph, flow_state: State | None) -> Mapping[Task, State]:
    if flow_state is None:
        return {}
    result = flow_state.result
    if not isinstance(result, Mapping) or not all(isinstance(key, Task) for key in result):
        raise DefinitionError(f"flow_state is what running the flow {graph.name!r} returned, not any state")
    return {task: state for task, state in result.items() if task in graph}


def _numbers(graph: Graph) -> dict[Task, int]:
    return {task: number for number, task in enumerate(graph.tasks)}


def _label(task: Task, states: Mapping[Task, State]) -> list[str]:
    return [task.slug, *([type(states[task]).__name__] if task in states else [])]


def _is_mapped(graph: Graph, task: Task) -> bool:
    return any(edge.mapped for edge in graph.edges_to(task))


def _is_special(task: Task) -> bool:
    return isinstance(task, (Parameter, Case))


def _brackets(graph: Graph, task: Task) -> tuple[str, str]:
    if isinstance(task, Parameter):
        return "([", "])"
    if isinstance(task, Case):
        return "{", "}"
    return ("[[", "]]") if _is_mapped(graph, task) else ("[", "]")


def _colour(state: State | None, otherwise: str) -> str:
    if isinstance(state, Mapped) and any(child.is_failed() for child in state.map_states):
        return _COLOURS[Failed]
    return next((_COLOURS[kind] for kind in type(state).__mro__ if kind in _COLOURS), otherwise)


def _dot(*lines: str) -> str:
    """*lines* as one quoted string, out of which nothing in them can break."""
    return '"' + r"\n".join("".join(map(_dot_character, line)) for line in lines) + '"'


def _dot_character(character: str) -> str:
    # Graphviz reads backslashes as line breaks and names, and & as the beginning of an entity.
    escaped = {'"': r"\"", "\\": r"\\", "&": "&amp;"}.get(character, character)
    return escaped if character.isprintable() else "?"


def _mermaid(text: str) -> str:
    # All but what is certainly only a character, since what else has a meaning changes from version to version.
    return "".join(each if each.isalnum() or each in " _-.," else f"#{ord(each)};" for each in text)
