# SPDX-License-Identifier: Apache-2.0
"""Is the workspace what its tools, its installers and its readers take it for?"""

from __future__ import annotations

import ast
import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from strongroom._plugins import _DISTRIBUTIONS

ROOT = Path(__file__).parents[2]
PLUGINS = sorted(path.name for path in (ROOT / "plugins").iterdir())
FOLDERS = {"strongroom": ROOT / "core"} | {f"strongroom-{name}": ROOT / "plugins" / name for name in PLUGINS}
SOURCES = sorted(path for folder in FOLDERS.values() for path in (folder / "src").rglob("*.py"))


def _project(distribution: str) -> dict[str, object]:
    project = tomllib.loads((FOLDERS[distribution] / "pyproject.toml").read_text())["project"]
    assert isinstance(project, dict)
    return project


def _requirements(distribution: str) -> list[Requirement]:
    dependencies = _project(distribution)["dependencies"]
    assert isinstance(dependencies, list)
    return [Requirement(text) for text in dependencies]


def _of_extras(distribution: str) -> list[Requirement]:
    extras = _project(distribution).get("optional-dependencies", {})
    assert isinstance(extras, dict)
    return [Requirement(text) for needs in extras.values() for text in needs]


def _points(distribution: str) -> dict[str, str]:
    points = _project(distribution).get("entry-points", {})
    assert isinstance(points, dict)
    return dict(points.get("strongroom", {}))


def _lowest(requirements: list[Requirement]) -> set[str]:
    return {
        f"{canonicalize_name(need.name)}=={spec.version}"
        for need in requirements
        for spec in need.specifier
        if spec.operator == ">="
    }


def test_plugins_holds_nothing_but_distributions() -> None:
    # A stray file there breaks `pip install ./plugins/*`.
    assert [name for name in PLUGINS if not (ROOT / "plugins" / name / "pyproject.toml").is_file()] == []


@pytest.mark.parametrize("distribution", FOLDERS)
def test_a_distribution_has_what_its_wheel_needs(distribution: str) -> None:
    folder, package = FOLDERS[distribution], distribution.replace("-", "_")

    assert _project(distribution)["name"] == distribution
    assert (folder / "README.md").is_file()
    assert (folder / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()
    assert (folder / "src" / package / "py.typed").is_file()


def test_all_distributions_have_one_version_and_ask_for_just_that_core() -> None:
    versions = {_project(distribution)["version"] for distribution in FOLDERS}
    assert len(versions) == 1

    (version,) = versions
    for plugin in FOLDERS.keys() - {"strongroom"}:
        (core,) = (str(need) for need in _requirements(plugin) if need.name.startswith("strongroom"))
        assert core == f"strongroom=={version}"


@pytest.mark.parametrize("distribution", FOLDERS)
def test_what_is_installed_is_the_version_of_the_checkout(distribution: str) -> None:
    assert metadata.version(distribution) == _project(distribution)["version"]


@pytest.mark.parametrize("name", PLUGINS)
def test_a_plugins_folder_entry_point_and_module_have_its_name(name: str) -> None:
    points = _points(f"strongroom-{name}")

    # A second plugin of a distribution is a module of its package, and called like it.
    assert points.pop(name) == f"strongroom_{name}"
    assert points == {each: f"strongroom_{name}.{each.removeprefix(f'{name}-')}" for each in points}


def test_the_hint_to_install_names_every_plugin_of_the_workspace_and_nothing_else() -> None:
    named = {name: distribution for distribution in FOLDERS for name in _points(distribution)}

    assert dict(_DISTRIBUTIONS) == named


def test_tox_installs_and_the_import_contracts_see_every_distribution() -> None:
    tox, workspace = (ROOT / "tox.ini").read_text(), tomllib.loads((ROOT / "pyproject.toml").read_text())
    linter = workspace["tool"]["importlinter"]
    packages = {distribution.replace("-", "_") for distribution in FOLDERS}

    assert set(re.findall(r"-e \{tox_root\}/plugins/(\w+)", tox)) == set(PLUGINS)
    assert set(linter["root_packages"]) == packages
    listed = [
        set(contract[key])
        for contract in linter["contracts"]
        for key in ("source_modules", "forbidden_modules", "modules")
        if any(name.startswith("strongroom_") for name in contract.get(key, ()))
    ]
    assert listed == [packages - {"strongroom"}] * 3


def test_min_deps_installs_exactly_the_lowest_versions_that_are_promised() -> None:
    promised = {line for each in FOLDERS for line in _lowest(_requirements(each))}
    optional = {line for each in FOLDERS for line in _lowest(_of_extras(each))}
    lines = (ROOT / ".ci" / "lowest.txt").read_text().splitlines()

    assert promised <= {line for line in lines if line and not line.startswith("#")} <= promised | optional


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_module_can_be_read_in_one_go(path: Path) -> None:
    text = path.read_text()
    tree = ast.parse(text)
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]

    assert ast.get_docstring(tree)
    assert len(text.splitlines()) <= 400
    # Without the signature: the arguments of a task alone fill a page.
    assert [f.name for f in functions if (f.body[-1].end_lineno or 0) - f.body[0].lineno >= 50] == []
