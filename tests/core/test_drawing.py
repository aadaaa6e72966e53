# SPDX-License-Identifier: Apache-2.0
"""Drawing flows: for Graphviz, for Mermaid, and as pictures where Graphviz is."""

from __future__ import annotations

import html
import os
import re
import shutil
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom import Constant, Flow, Parameter, case, states, task
from strongroom._drawing import _dot, _mermaid
from strongroom._memory_backend import MemoryBackend
from strongroom.errors import DefinitionError, DrawingError

if TYPE_CHECKING:
    from pathlib import Path

HOSTILE = '"]; x -> y [label="<b>#quot;&quot;\\" | end `%% {'


@task
def add(x: int, y: int = 1) -> int:
    return x + y


def example() -> Flow:
    with Flow("example") as f:
        way = Parameter("way")
        with case(way, "hunter2"):
            add.map(Constant(["hunter2"]), upstream_tasks=[add(1)])
    return f


def test_graphviz_gets_the_shapes_of_tasks_and_edges() -> None:
    assert example().visualize() == (
        "digraph {\n"
        '  label="example"\n'
        "  labelloc=t\n"
        '  node [shape=box style="rounded,filled"]\n'
        '  t0 [label="way" shape=ellipse fillcolor="white"]\n'
        '  t1 [label="add" fillcolor="white"]\n'
        '  t2 [label="add-2" peripheries=2 fillcolor="white"]\n'
        '  t3 [label="constant" fillcolor="white"]\n'
        '  t4 [label="case" shape=diamond fillcolor="white"]\n'
        "  t4 -> t1 [style=dashed]\n"
        '  t3 -> t2 [label="x" arrowhead=crow]\n'
        "  t1 -> t2 [style=dashed arrowhead=crow]\n"
        '  t0 -> t4 [label="value"]\n'
        "}\n"
    )


def test_mermaid_gets_the_shapes_of_tasks_and_edges() -> None:
    assert example().to_mermaid() == (
        "flowchart TD\n"
        '  t0(["way"])\n'
        '  t1["add"]\n'
        '  t2[["add-2"]]\n'
        '  t3["constant"]\n'
        '  t4{"case"}\n'
        "  t4 -.-> t1\n"
        '  t3 ==>|"x"| t2\n'
        "  t1 ==> t2\n"
        '  t0 -->|"value"| t4\n'
    )


def test_the_same_flow_is_drawn_the_same_twice() -> None:
    assert example().visualize() == example().visualize()
    assert example().to_mermaid() == example().to_mermaid()


def test_no_value_is_drawn() -> None:
    f = example()
    state = f.run(way="hunter2", backend=MemoryBackend())

    assert "hunter" not in f.visualize(flow_state=state)
    assert "hunter" not in f.to_mermaid(flow_state=state)


def test_states_are_written_and_coloured() -> None:
    f = example()
    state = f.run(way="no", backend=MemoryBackend())

    assert r'label="add\nSkipped" fillcolor="#e0e0e0"' in f.visualize(flow_state=state)
    assert '"add<br>Skipped"' in f.to_mermaid(flow_state=state)
    assert "style t1 fill:#e0e0e0," in f.to_mermaid(flow_state=state)


def test_a_mapped_task_has_the_colour_of_failure_if_one_of_its_runs_failed() -> None:
    f = example()
    mapped = states.Mapped(map_states=[states.Success(), states.TriggerFailed()])

    drawn = f.visualize(flow_state=states.Failed(result={f.tasks[0]: mapped, f.tasks[1]: states.Failed()}))

    assert drawn.count('fillcolor="#f28482"') == 2


@pytest.mark.parametrize("kind", states.STATE_TYPES.values(), ids=lambda kind: kind.__name__)
def test_every_type_of_state_can_be_drawn(kind: type[states.State]) -> None:
    f = example()
    drawn = f.visualize(flow_state=states.Success(result={f.tasks[0]: kind()}))

    (line,) = (line for line in drawn.splitlines() if rf'label="way\n{kind.__name__}"' in line)
    assert ('"white"' in line) == (kind is states.State)


@pytest.mark.parametrize("result", [None, 5, {"a": states.Success()}])
def test_what_is_no_state_of_a_run_is_refused(result: object) -> None:
    with pytest.raises(DefinitionError, match="what running the flow 'example' returned"):
        example().visualize(flow_state=states.Success(result=result))


def test_a_hostile_name_stays_one_label() -> None:
    with Flow(HOSTILE) as f:
        task(lambda **inputs: inputs, name=HOSTILE)(**{HOSTILE: add(1)})

    lines = f.visualize().splitlines()
    assert len(lines) == 8
    for line in (lines[1], lines[5], lines[6]):
        (quoted,) = re.findall(r'label=("(?:[^"\\]|\\.)*")', line)
        assert _undot(quoted) == HOSTILE
    mermaid = f.to_mermaid()
    assert len(mermaid.splitlines()) == 4
    assert set(re.findall(r"[^\w\s#;,.-]", re.sub(r"#\d+;", "", mermaid))) <= set('[]"|>')
    assert mermaid.count('"') == 6


def _undot(quoted: str) -> str:
    """What Graphviz shows for a quoted string."""
    return html.unescape(re.sub(r"\\(.)", lambda match: "\n" if match[1] == "n" else match[1], quoted[1:-1]))


@given(st.text())
def test_any_text_is_quoted_for_graphviz_so_that_it_comes_back(text: str) -> None:
    quoted = _dot(text)

    assert re.fullmatch(r'"(?:[^"\\\n]|\\.)*"', quoted)
    assert _undot(quoted) == "".join(each if each.isprintable() else "?" for each in text)


@given(st.text())
def test_any_text_is_written_for_mermaid_so_that_it_comes_back(text: str) -> None:
    written = _mermaid(text)

    assert not set(written) & set("\"'`<>&[](){}|\n\r\\%~:/@")
    assert re.sub(r"#(\d+);", lambda match: chr(int(match[1])), written) == text


def test_the_text_can_be_written_to_a_file(tmp_path: Path) -> None:
    text = example().visualize(tmp_path / "flow.dot")

    assert (tmp_path / "flow.dot").read_text() == text


@pytest.mark.parametrize("name", ["flow", "flow.exe", "flow.jpg", ""])
def test_an_unknown_ending_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DefinitionError, match=r"end the name in \.svg"):
        example().visualize(f"{tmp_path}/x/{name}")


def test_without_graphviz_one_is_told_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(DrawingError, match="apt install graphviz"):
        example().visualize(tmp_path / "flow.svg")

    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not shutil.which("dot") and os.environ.get("CI") != "true", reason="Graphviz is not installed")
def test_graphviz_draws_hostile_names_as_they_are(tmp_path: Path) -> None:
    with Flow("f") as f:
        task(lambda: None, name=HOSTILE)()

    f.visualize(tmp_path / "-flow.svg")

    texts = [
        html.unescape(each) for each in re.findall(r"<text [^>]*>(.*?)</text>", (tmp_path / "-flow.svg").read_text())
    ]
    assert HOSTILE.replace(" ", "\xa0") in [each.replace(" ", "\xa0") for each in texts]


@pytest.mark.skipif(os.name != "posix", reason="the program is a shell script")
def test_a_picture_that_cannot_be_made_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "dot"
    program.write_text("#!/bin/sh\necho half\necho hunter2 >&2\nexit 3\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(DrawingError, match=r"could not draw the flow as png \(exit code 3\)$"):
        example().visualize(tmp_path / "flow.png")

    assert not (tmp_path / "flow.png").exists()
