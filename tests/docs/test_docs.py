# SPDX-License-Identifier: Apache-2.0
"""Is what the docs say true of the code?"""

from __future__ import annotations

import importlib
import inspect
import itertools
import os
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import strongroom
from strongroom import _settings_loading, errors, hookspecs

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    page.relative_to(ROOT).as_posix()
    for pattern in ("README.md", "core/README.md", "plugins/*/README.md", "docs/**/*.md")
    for page in ROOT.glob(pattern)
    if "_build" not in page.parts
)
HOOKS = sorted(name for name in vars(hookspecs) if name.startswith("strongroom_"))
CALLS = sorted(name for name in vars(hookspecs.Register) if not name.startswith("_"))
PLUGINS = sorted(folder.name for folder in (ROOT / "plugins").iterdir() if (folder / "pyproject.toml").exists())
MODULES = sorted(module.name for module in pkgutil.iter_modules(strongroom.__path__) if not module.name.startswith("_"))

ON_REQUEST = {"kms", "processes"}

# Where a block ends in what a page prints; no page prints it itself.
SEPARATOR = "\x1e"


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def without_code(page: str) -> str:
    return re.sub(r"^```.*?^```$", "", text_of(page), flags=re.DOTALL | re.MULTILINE)


def blocks_of(page: str) -> list[tuple[str, str]]:
    """The language and the text of each fenced block."""
    return re.findall(r"^```(\w+)\n(.*?)^```$", text_of(page), flags=re.DOTALL | re.MULTILINE)


def examples_of(page: str) -> list[tuple[str, str]]:
    """Each block of Python, with what the page says it prints: the block of text right below it, if there is one."""
    blocks = [*blocks_of(page), ("", "")]
    return [
        (code, following if kind == "text" else "")
        for (language, code), (kind, following) in itertools.pairwise(blocks)
        if language == "python"
    ]


def run(code: str, folder: Path) -> str:
    """What *code* prints when it is run as a file, as a reader would run it."""
    script = folder / "page.py"
    script.write_text(code, encoding="utf-8")
    environment = {**os.environ, "STRONGROOM_HOME": str(folder / "home")}
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("page", ["README.md", "docs/howto/caching.md", "docs/howto/flows.md", "docs/tutorial.md"])
def test_the_examples_on_a_page_print_what_the_page_shows(page: str, tmp_path: Path) -> None:
    examples = examples_of(page)

    printed = run("".join(f"{code}\nprint({SEPARATOR!r}, end='')\n" for code, _ in examples), tmp_path)

    assert printed.split(SEPARATOR)[:-1] == [shown for _, shown in examples]


@pytest.mark.parametrize("page", PAGES)
def test_every_link_to_a_file_leads_to_one(page: str) -> None:
    targets = re.findall(r"\]\((?!https?://|#)([^)#]+)", without_code(page))

    missing = [target for target in targets if not ((ROOT / page).parent / target).exists()]

    assert not missing


@pytest.mark.parametrize("page", PAGES)
def test_every_path_and_test_that_a_page_names_exists(page: str) -> None:
    named = re.findall(r"`((?:core|docs|plugins|tests)/[\w./-]+)(?:::(\w+))?`", without_code(page))

    for path, test in named:
        if not path.startswith("docs/_build"):
            assert (ROOT / path).exists(), path
            assert not test or f"def {test}(" in text_of(path), test


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_has_a_contract_and_a_line_in_the_table(hook: str) -> None:
    assert inspect.getdoc(getattr(hookspecs, hook))
    assert f"| `{hook}` |" in text_of("docs/plugins.md")


@pytest.mark.parametrize("call", CALLS)
def test_everything_that_a_plugin_can_register_is_in_the_table(call: str) -> None:
    assert f"| `register.{call}(" in text_of("docs/plugins.md")


@pytest.mark.parametrize("name", errors.__all__)
def test_every_error_has_a_docstring_of_its_own_and_a_way_out(name: str) -> None:
    assert vars(getattr(errors, name)).get("__doc__")
    assert f"| `{name}` |" in text_of("docs/reference/errors.md")


def test_the_tree_at_the_top_of_errors_is_the_real_one() -> None:
    drawn = {}
    path: list[str] = []
    for line in str(errors.__doc__).splitlines():
        if match := re.match(r"([│├└─ ]*)(\w+Error)\b(?: \((\w+)\))?", line):
            indent, name, builtin = match.groups()
            depth = len(indent) // 3
            path[depth:] = [name]
            drawn[name] = {path[depth - 1] if depth else "Exception"} | ({builtin} if builtin else set())

    real = {name: {base.__name__ for base in getattr(errors, name).__bases__} for name in errors.__all__}

    assert drawn == real


def test_the_table_of_settings_has_every_setting_and_its_variable(tmp_path: Path) -> None:
    rows = re.findall(r"^\| `([\w.]+)` \| `(\w+)` \|", text_of("docs/settings.md"), flags=re.MULTILINE)

    settings = _settings_loading.load({"HOME": str(tmp_path)}, tmp_path).origins

    # The options of storages are tables, which no variable can hold.
    with_variables = settings.keys() - {"storage"}
    assert dict(rows) == {name: f"STRONGROOM_{name.upper().replace('.', '_')}" for name in with_variables}


def test_the_settings_shown_are_valid(tmp_path: Path) -> None:
    blocks = [*blocks_of("docs/settings.md"), *blocks_of("docs/plugins.md")]

    for number, text in enumerate(text for language, text in blocks if language == "toml"):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "strongroom.toml").write_text(text, encoding="utf-8")
        origins = _settings_loading.load({"HOME": str(tmp_path)}, folder).origins
        assert set(origins.values()) > {"default"}, "the example sets nothing"


@pytest.mark.parametrize("module", MODULES)
def test_every_public_module_has_a_page_of_reference(module: str) -> None:
    assert f".. automodule:: strongroom.{module}\n" in text_of(f"docs/reference/{module}.md")


def test_what_no_public_module_shows_is_on_the_page_of_the_package() -> None:
    shown = {name for module in MODULES for name in importlib.import_module(f"strongroom.{module}").__all__}
    page = set(
        re.findall(r"^\.\. auto(?:class|function):: (\w+)$", text_of("docs/reference/strongroom.md"), re.MULTILINE)
    )

    assert page == {*strongroom.__all__} - shown - {*MODULES}


def test_every_page_of_reference_is_of_a_module_that_exists() -> None:
    pages = {page.stem for page in (ROOT / "docs/reference").glob("*.md")}

    assert pages == {"strongroom", *MODULES}


@pytest.mark.parametrize("plugin", PLUGINS)
def test_the_readme_installs_and_lists_every_plugin(plugin: str) -> None:
    text = text_of("README.md")

    # The first command installs what everybody wants.
    assert (f" ./plugins/{plugin} " in text) is (plugin not in ON_REQUEST)
    assert f"| [strongroom-{plugin}](plugins/{plugin}/README.md) |" in text
