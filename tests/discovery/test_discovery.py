# SPDX-License-Identifier: Apache-2.0
"""Are installed plugins found, loaded late, kept apart from each other, and named when something is wrong?"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING, Protocol

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom import Register, Serializer, hookimpl
from strongroom._plugins import PluginInfo, Plugins, entry_points
from strongroom.errors import BrokenPluginError, MissingPluginError, PluginConflictError, PluginError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

OURS = ("arrow", "cli", "compressed", "json", "kms", "pickle", "sql")
HEAVY = {"boto3", "botocore", "numpy", "pandas", "polars", "pyarrow", "rich", "sqlalchemy", "typer"}

GOOD = """
    from strongroom import Serializer, hookimpl

    class Own(Serializer):
        id = "{name}"

        def dump(self, value, sink):
            sink.write(value)

        def load(self, source):
            return source.read()

    calls = []

    @hookimpl
    def strongroom_register(register):
        calls.append(register)
        register.serializer(Own())
        register.backend("{name}.db", lambda url: url)
"""


class Install(Protocol):
    """Installs a throwaway plugin."""

    def __call__(self, name: str, source: str = GOOD, *, distribution: str = "") -> str:
        """Make the plugin *name* importable, and return the name of its module."""
        ...


def _files(name: str, source: str, distribution: str) -> tuple[str, dict[str, str]]:
    module = distribution.replace("-", "_")
    info = f"{module}-1.2.3.dist-info"
    return module, {
        f"{module}.py": dedent(source).replace("{name}", name),
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.2.3\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": f"[strongroom]\n{name} = {module}\n",
        f"{info}/RECORD": "",
    }


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """What pip leaves behind when it has installed a distribution with one module, in a folder on the path."""
    before = set(sys.modules)

    def _install(name: str, source: str = GOOD, *, distribution: str = "") -> str:
        module, files = _files(name, source, distribution or f"throwaway-{name}")
        # A folder for each: the import system may not notice a file that is added to a folder it has just looked into.
        site = tmp_path / "site" / module
        for path, text in files.items():
            (site / path).parent.mkdir(parents=True, exist_ok=True)
            (site / path).write_text(text)
        monkeypatch.syspath_prepend(site)
        return module

    yield _install
    for module in set(sys.modules) - before:
        if module.startswith("throwaway_"):
            del sys.modules[module]


def _info(plugins: Plugins, name: str) -> PluginInfo:
    (found,) = (info for info in plugins.info() if info.name == name)
    return found


def test_a_plugin_that_pip_installed_is_found_in_a_new_process(tmp_path: Path) -> None:
    _, files = _files("pipped", GOOD, "throwaway-pipped")
    wheel = tmp_path / "throwaway_pipped-1.2.3-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    site = tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--target", str(site)]
    subprocess.run([*pip, str(wheel)], check=True)

    code = """
        from strongroom._plugins import Plugins, entry_points
        plugins = Plugins(entry_points(), allow=["pipped"])
        print(plugins.serializer("pipped").loads(b"bytes"), plugins.backend("pipped.db", "url"))
    """
    env = {**os.environ, "PYTHONPATH": str(site)}
    run = subprocess.run([sys.executable, "-c", dedent(code)], env=env, check=True, capture_output=True, text=True)

    assert run.stdout.split() == ["b'bytes'", "url"]


def test_nothing_of_a_plugin_is_imported_until_one_of_its_ids_is_asked_for(install: Install) -> None:
    asked, other = install("asked"), install("other")

    plugins = Plugins(entry_points())
    assert plugins.has("asked")
    assert plugins.has("other")
    assert asked not in sys.modules

    assert plugins.serializer("asked").id == "asked"
    assert asked in sys.modules
    assert other not in sys.modules


def test_the_ids_of_a_plugin_lead_to_what_it_registered(install: Install) -> None:
    install("good")
    plugins = Plugins(entry_points())

    assert str(plugins.backend("good.db", "an url")) == "an url"
    assert plugins.is_registered("backend", "good.db")
    assert not plugins.is_registered("codec", "good")


def test_info_tells_what_a_plugin_is_and_brings(install: Install) -> None:
    install("good")

    assert _info(Plugins(entry_points()), "good") == PluginInfo(
        name="good",
        distribution="throwaway-good",
        version="1.2.3",
        ids=("serializer:good", "backend:good.db"),
        hooks=("strongroom_register",),
        error="",
    )


def test_a_plugin_registers_once_however_many_threads_ask_at_once(install: Install) -> None:
    module = install("busy")
    plugins, start = Plugins(entry_points()), threading.Barrier(8)

    def ask(_: int) -> str:
        start.wait()
        return plugins.serializer("busy").id

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(ask, range(8))) == {"busy"}
    assert len(sys.modules[module].calls) == 1


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("raise RuntimeError('no\\nlicence')", "RuntimeError: no licence"),
        ("import throwaway_nowhere", "ModuleNotFoundError"),
        ("def (", "SyntaxError"),
        (GOOD + "        raise OSError('disk')\n", "OSError: disk"),
    ],
    ids=["raises on import", "lacks a module", "is not Python", "raises while it registers"],
)
def test_a_broken_plugin_is_named_and_does_not_stop_the_others(install: Install, source: str, reason: str) -> None:
    install("broken", source)
    install("good")
    plugins = Plugins(entry_points())

    assert reason in _info(plugins, "broken").error
    assert "\n" not in _info(plugins, "broken").error
    assert _info(plugins, "good").error == ""
    assert plugins.serializer("good").id == "good"


def test_asking_for_something_of_a_broken_plugin_tells_why_each_time(install: Install) -> None:
    install("broken", "raise RuntimeError('no licence')")
    plugins = Plugins(entry_points())

    for _ in range(2):
        with pytest.raises(BrokenPluginError) as caught:
            plugins.serializer("broken")
        assert str(caught.value) == "the plugin 'broken' is broken and was left out: RuntimeError: no licence"


def test_registration_is_whole_or_not_at_all(install: Install) -> None:
    claim = "\n    @hookimpl\n    def strongroom_outgoing(document):\n        return 'changed'\n"
    install("half", GOOD + "        register.codec(register)\n" + claim)
    plugins = Plugins(entry_points())

    info = _info(plugins, "half")

    assert (info.ids, info.hooks) == ((), ())
    assert "AttributeError" in info.error
    assert not plugins.is_registered("serializer", "half")
    assert plugins.outgoing("document") == "document"


@pytest.mark.parametrize(
    "id_", ["other", "namedx", "other.named", "named/x", "named.", "named..x", "named.ü", "named x"]
)
def test_an_id_that_does_not_begin_with_the_plugins_name_or_has_odd_characters_is_refused(
    install: Install, id_: str
) -> None:
    install("named", GOOD.replace("{name}.db", id_))

    info = _info(Plugins(entry_points()), "named")

    assert repr(id_) in info.error
    assert info.ids == ()


def test_one_id_registered_twice_by_a_plugin_is_refused(install: Install) -> None:
    install("twice", GOOD + "        register.serializer(Own())\n")

    assert "it registers the serializer 'twice' twice" in _info(Plugins(entry_points()), "twice").error


def test_two_distributions_with_one_plugin_name_are_both_named_and_neither_is_imported(install: Install) -> None:
    modules = {install("same", distribution="throwaway-first"), install("same", distribution="throwaway-second")}
    install("good")
    plugins = Plugins(entry_points())

    with pytest.raises(PluginConflictError, match="'same'") as caught:
        plugins.serializer("same")

    assert set(caught.value.plugins) == {"throwaway-first", "throwaway-second"}
    assert all(name in _info(plugins, "same").error for name in caught.value.plugins)
    assert not modules & set(sys.modules)
    assert plugins.serializer("good").id == "good"


def test_an_id_that_is_taken_is_a_conflict_and_the_first_keeps_it() -> None:
    plugins = Plugins(())
    plugins.add("mine", _Registers("mine"))
    plugins.remove("mine")
    kept = plugins.serializer("mine")

    with pytest.raises(PluginConflictError, match=r"both register the serializer 'mine'"):
        plugins.add("mine", _Registers("mine"))

    assert plugins.serializer("mine") is kept


def test_a_plugin_that_the_allow_list_leaves_out_is_never_imported(install: Install) -> None:
    allowed, left_out = install("allowed"), install("leftout")
    plugins = Plugins(entry_points(), allow=["allowed"])

    with pytest.raises(MissingPluginError, match=r"add 'leftout' to the setting plugins\.allow"):
        plugins.serializer("leftout")

    assert not plugins.has("leftout")
    assert _info(plugins, "leftout").error == "not in the setting plugins.allow"
    assert _info(plugins, "allowed").error == ""
    assert (allowed in sys.modules, left_out in sys.modules) == (True, False)


def test_an_empty_allow_list_leaves_every_plugin_out(install: Install) -> None:
    install("good")

    assert all(info.error for info in Plugins(entry_points(), allow=[]).info())


@pytest.mark.parametrize("name", OURS)
def test_a_missing_plugin_of_ours_is_answered_with_the_command_that_brings_it(name: str) -> None:
    with pytest.raises(MissingPluginError, match=f"install it: pip install strongroom-{name}$"):
        Plugins(()).serializer(name)


@given(st.text() | st.sampled_from(["jsom", "strongroom-json", "evil", "json-evil", "Json", "json;evil"]))
def test_a_name_that_is_not_ours_is_never_answered_with_something_to_install(id_: str) -> None:
    with pytest.raises(MissingPluginError) as caught:
        Plugins(()).serializer(f"x{id_}")

    assert "install it" not in str(caught.value)
    assert "pip" not in str(caught.value).replace(repr(f"x{id_}"), "")


def test_a_missing_id_is_answered_with_those_that_are_known(install: Install) -> None:
    install("good")
    plugins = Plugins(entry_points(), allow=["good"])
    plugins.load_all()

    with pytest.raises(MissingPluginError, match=r"there is no serializer 'god'; known here: good$"):
        plugins.serializer("god")


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("@hookimpl\ndef strongroom_registre(register): ...", "unknown hook 'strongroom_registre'"),
        ("@hookimpl\ndef strongroom_register(registre): ...", "registre"),
        ("def strongroom_register(register): ...", "mark it with strongroom.hookimpl"),
        ("@hookimpl(wrapper=True)\ndef strongroom_outgoing(document): yield", "must not be a wrapper"),
    ],
    ids=["its name", "its argument", "no mark", "a wrapper"],
)
def test_a_hook_that_would_never_be_called_is_an_error(install: Install, source: str, reason: str) -> None:
    install("misspelt", "from strongroom import hookimpl\n" + source)
    install("good")
    plugins = Plugins(entry_points())

    assert reason in _info(plugins, "misspelt").error
    assert _info(plugins, "good").error == ""


def test_a_plugin_may_ask_for_another_while_it_registers(install: Install) -> None:
    install("inner")
    plugins = Plugins(entry_points())

    plugins.add("outer", _Registers("outer", before=lambda: plugins.serializer("inner")))

    assert plugins.serializer("outer").id == "outer"
    assert plugins.serializer("inner").id == "inner"


def test_registering_after_the_hook_has_returned_is_refused() -> None:
    late = _Registers("late")
    Plugins(()).add("late", late)

    with pytest.raises(PluginError, match="only while strongroom_register is called"):
        late.register.serializer(_Bytes("late"))


def test_every_plugin_sees_an_outgoing_document_as_the_one_before_left_it() -> None:
    plugins = Plugins(())
    plugins.add("first", _Outgoing("a"))
    plugins.add("silent", _Outgoing(""))
    plugins.add("last", _Outgoing("b"))

    assert plugins.outgoing("document") == "document b a"


def test_a_plugin_sees_what_leaves_from_when_it_is_added_until_it_is_removed() -> None:
    plugins = Plugins(())
    assert plugins.outgoing("document") == "document"

    plugins.add("late", _Outgoing("seen"))
    assert plugins.outgoing("document") == "document seen"

    plugins.remove("late")
    assert plugins.outgoing("document") == "document"


def test_a_plugin_under_a_name_that_is_taken_leaves_the_first_in_its_place() -> None:
    plugins = Plugins(())
    plugins.add("mine", _Outgoing("first"))

    with pytest.raises(ValueError, match="mine"):
        plugins.add("mine", _Outgoing("second"))

    assert plugins.outgoing("document") == "document first"


def test_a_plugin_that_raises_on_an_outgoing_document_stops_it() -> None:
    plugins = Plugins(())
    plugins.add("veto", _Veto())

    with pytest.raises(PermissionError, match="not this one"):
        plugins.outgoing("document")


def _python(code: str) -> list[str]:
    command = [sys.executable, "-c", dedent(code)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()


def test_importing_strongroom_imports_no_plugin_and_nothing_heavy() -> None:
    loaded = _python("import sys, strongroom; print(*(name.partition('.')[0] for name in sys.modules))")

    assert "strongroom" in loaded
    assert not {name for name in loaded if name.startswith("strongroom_")}
    assert not HEAVY & set(loaded)


def test_no_plugin_of_ours_is_broken() -> None:
    errors = {info.name: info.error for info in Plugins(entry_points(), allow=OURS).info() if info.name in OURS}

    assert errors == dict.fromkeys(OURS, "")


def test_loading_every_plugin_of_ours_imports_nothing_heavy() -> None:
    code = """
        import sys
        from strongroom._plugins import Plugins, entry_points
        Plugins(entry_points()).load_all()
        print(*(name.partition(".")[0] for name in sys.modules))
    """
    loaded = _python(code)

    assert "strongroom_json" in loaded
    assert not HEAVY & set(loaded)


class _Bytes(Serializer):
    def __init__(self, id_: str) -> None:
        self.id = id_

    def dump(self, value: object, sink: BinaryIO) -> None:
        raise NotImplementedError

    def load(self, source: BinaryIO) -> object:
        raise NotImplementedError


class _Registers:
    """A plugin of this process with one serializer."""

    register: Register

    def __init__(self, id_: str, before: object = None) -> None:
        self.id = id_
        self.before = before

    @hookimpl
    def strongroom_register(self, register: Register) -> None:
        if callable(self.before):
            self.before()
        self.register = register
        register.serializer(_Bytes(self.id))


class _Outgoing:
    def __init__(self, mark: str) -> None:
        self.mark = mark

    @hookimpl
    def strongroom_outgoing(self, document: object) -> object:
        return f"{document} {self.mark}" if self.mark else None


class _Veto:
    @hookimpl
    def strongroom_outgoing(self) -> object:
        raise PermissionError("not this one")
