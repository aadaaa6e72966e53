# SPDX-License-Identifier: Apache-2.0
"""Are the settings found, checked and traced to whoever set them?"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from strongroom import _settings, _settings_file
from strongroom._settings import Settings
from strongroom._settings_loading import load
from strongroom.errors import SettingsError
from strongroom.project import Project

CANARY = "hunter2-canary"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The folder of a project that has no settings yet."""
    folder = tmp_path / "project"
    folder.mkdir()
    return folder


def _write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_without_any_source_the_defaults_hold_and_say_so(project: Path) -> None:
    found = load({"HOME": "/home/someone"}, project)

    assert found.home == Path("/home/someone/.strongroom")
    assert (found.results.storage, found.results.serializer, found.results.persist) == ("", "auto", False)
    assert set(found.results.allow) == {
        *("arrow", "arrow.parquet", "json", "json.bytes", "pickle"),
        *("compressed", "compressed.bz2", "compressed.gzip", "compressed.lz4", "compressed.xz", "encrypted"),
    }
    assert found.tasks.persist_result is None
    assert found.plugins.allow is None
    assert (found.backend.id, found.backend.url) == ("", "")
    assert set(found.origins.values()) == {"default"}


def test_every_setting_has_an_origin_and_all_but_the_options_of_storages_a_variable(project: Path) -> None:
    settings = load({}, project)

    sections = {name: getattr(settings, name) for name in settings.__struct_fields__}
    fields = {
        f"{name}.{field}" if field else name
        for name, section in sections.items()
        for field in getattr(section, "__struct_fields__", ("",))
    }
    assert set(settings.origins) == fields - {"origins"}
    assert {*_settings.VARIABLES.values()} == fields - {"origins", "storage"}


def test_variables_of_other_programs_and_of_our_own_tests_are_ignored(project: Path) -> None:
    env = {"PATH": "/bin", "STRONGROOMS": "x", "STRONGROOM_TEST_ANYTHING": "x"}

    assert set(load(env, project).origins.values()) == {"default"}


def test_pyproject_wins_over_strongroom_toml_and_a_variable_over_both(project: Path) -> None:
    own = _write(project, "strongroom.toml", "[results]\nserializer = 'a'\npersist = true\nallow = ['json']")
    shared = _write(project, "pyproject.toml", "[tool.strongroom.results]\nserializer = 'b'\npersist = false")

    found = load({"STRONGROOM_RESULTS_SERIALIZER": "c"}, project)

    assert (found.results.serializer, found.results.persist, found.results.allow) == ("c", False, ("json",))
    assert found.origins["results.serializer"] == "STRONGROOM_RESULTS_SERIALIZER"
    assert found.origins["results.persist"] == str(shared)
    assert found.origins["results.allow"] == str(own)


def test_the_nearest_file_of_a_name_is_used_and_no_other(project: Path) -> None:
    inner = project / "a" / "b"
    inner.mkdir(parents=True)
    _write(project, "strongroom.toml", "[backend]\nid = 'far'\nurl = 'far'")
    _write(project / "a", "strongroom.toml", "[backend]\nid = 'near'")

    found = load({}, inner)

    assert (found.backend.id, found.backend.url) == ("near", "")


def test_a_pyproject_without_our_table_is_passed_over_even_if_it_is_broken(project: Path) -> None:
    inner = project / "inner"
    inner.mkdir()
    _write(project, "pyproject.toml", "[tool.strongroom.backend]\nid = 'sql'")
    _write(inner, "pyproject.toml", "[project\nname =")

    assert load({}, inner).backend.id == "sql"


def test_a_pyproject_that_only_depends_on_us_is_passed_over(project: Path) -> None:
    inner = project / "inner"
    inner.mkdir()
    _write(project, "pyproject.toml", "[tool.strongroom.backend]\nid = 'sql'")
    _write(inner, "pyproject.toml", "[project]\ndependencies = ['strongroom']\n[tool.other]\nx = 1")

    assert load({}, inner).backend.id == "sql"


def test_a_file_that_changed_is_read_again(project: Path) -> None:
    path = _write(project, "strongroom.toml", "[backend]\nid = 'one'")
    assert load({}, project).backend.id == "one"

    path.write_text("[backend]\nid = 'two'")

    assert load({}, project).backend.id == "two"


def test_a_file_that_did_not_change_is_not_read_again(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _write(project, "strongroom.toml", "[backend]\nid = 'one'")
    load({}, project)
    monkeypatch.setattr(Path, "read_bytes", lambda _: pytest.fail("the file was read again"))

    assert load({}, project).backend.id == "one"


@pytest.mark.parametrize(("text", "value"), [("true", True), ("1", True), ("false", False), ("0", False)])
def test_a_truth_value_is_read_from_a_variable(project: Path, text: str, value: bool) -> None:
    found = load({"STRONGROOM_TASKS_PERSIST_RESULT": text, "STRONGROOM_RESULTS_PERSIST": text}, project)

    assert found.tasks.persist_result is value
    assert found.results.persist is value


@given(names=st.lists(st.text("abcdefgh.-_", min_size=1)))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_list_comes_back_from_a_variable_as_it_went_in(names: list[str]) -> None:
    found = load({"STRONGROOM_PLUGINS_ALLOW": " , ".join(names)}, Path.cwd())

    assert found.plugins.allow == tuple(names)


@pytest.mark.parametrize("text", ['["json"]', "json arrow", "arrow,'json'", "compressed/json"])
def test_what_is_no_list_of_names_is_refused_where_names_are_allowed(project: Path, text: str) -> None:
    with pytest.raises(SettingsError, match=r"STRONGROOM_RESULTS_ALLOW: .* is no name; write names with commas"):
        load({"STRONGROOM_RESULTS_ALLOW": text}, project)


def test_an_empty_allow_list_allows_nothing(project: Path) -> None:
    assert load({"STRONGROOM_PLUGINS_ALLOW": ""}, project).plugins.allow == ()


def test_a_relative_path_in_a_file_starts_beside_the_file(project: Path) -> None:
    inner = project / "inner"
    inner.mkdir()
    _write(project, "strongroom.toml", "home = 'room'\n[results]\nstorage = '../kept'")

    found = load({}, inner)

    assert found.home == project / "room"
    assert found.results.storage == str(project.parent / "kept")


def test_a_relative_path_in_a_variable_starts_at_the_working_directory(project: Path) -> None:
    assert load({"STRONGROOM_HOME": "room"}, project).home == project / "room"


def test_a_tilde_is_the_home_of_the_given_environment(project: Path) -> None:
    env = {"HOME": "/home/someone", "STRONGROOM_HOME": "~/room", "STRONGROOM_RESULTS_STORAGE": "~"}

    found = load(env, project)

    assert found.home == Path("/home/someone/room")
    assert found.results.storage == "/home/someone"


@pytest.mark.parametrize("url", ["s3://bucket/results", "memory://", "simplecache::s3://bucket", "/absolute"])
def test_a_url_or_an_absolute_path_stays_as_it_is(project: Path, url: str) -> None:
    assert load({"STRONGROOM_RESULTS_STORAGE": url}, project).results.storage == url


@pytest.mark.parametrize(("text", "hint"), [("~someone/room", "in full"), ("", "empty")])
def test_a_home_that_names_no_folder_of_this_user_is_refused(project: Path, text: str, hint: str) -> None:
    with pytest.raises(SettingsError, match=f"^STRONGROOM_HOME: home .*{hint}"):
        load({"STRONGROOM_HOME": text}, project)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[results]\nstorge = 1", "results.storge is not a setting; did you mean results.storage?"),
        ("[result]\nstorage = 'x'", "[result] is not a section of the settings; did you mean results?"),
        ("hoem = 'x'", "hoem is not a setting; did you mean home?"),
        ("results = 1", "results must be a table, such as [results]"),
        ("[home]\nx = 1", "home must be a string"),
        ("[results]\npersist = 'yes'", "results.persist must be true or false"),
        ("[plugins]\nallow = 'json'", "plugins.allow must be a list of strings (in a variable: separated by commas)"),
        ("[plugins]\nallow = ['json', 1]", "plugins.allow must be a list of strings"),
        ("[backend]\nurl = 5", "backend.url must be a string"),
    ],
)
@pytest.mark.parametrize(("name", "prefix"), [("strongroom.toml", ""), ("pyproject.toml", "tool.strongroom")])
def test_a_mistake_in_a_file_names_the_file_and_the_setting(
    project: Path, name: str, prefix: str, text: str, message: str
) -> None:
    if prefix:
        text = f"[{prefix}]\n" + text.replace("[result", f"[{prefix}.result")
        text = text.replace("[plugins]", f"[{prefix}.plugins]").replace("[backend]", f"[{prefix}.backend]")
        text = text.replace("[home]", f"[{prefix}.home]")
    path = _write(project, name, text)

    with pytest.raises(SettingsError) as caught:
        load({}, project)

    assert str(caught.value).startswith(f"{path}: {message}")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("STRONGROOM_RESULTS_STORGE", "is not a setting; did you mean STRONGROOM_RESULTS_STORAGE?"),
        ("STRONGROOM_RESULTS_PERSIST", ": results.persist must be true or false"),
        ("STRONGROOM_TASKS_PERSIST_RESULT", ": tasks.persist_result must be true or false"),
    ],
)
def test_a_mistake_in_a_variable_names_the_variable_but_not_its_value(project: Path, name: str, message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load({name: CANARY}, project)

    assert str(caught.value).startswith(name)
    assert message in str(caught.value)
    assert CANARY not in str(caught.value)
    # A traceback must not show it either, by way of the error underneath.
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_a_name_that_is_near_to_nothing_is_answered_with_all_there_are(project: Path) -> None:
    with pytest.raises(SettingsError, match=r"there are STRONGROOM_BACKEND_ID, .*STRONGROOM_TASKS"):
        load({"STRONGROOM_XYZZY": "1"}, project)


@pytest.mark.parametrize("text", [f"home = '{CANARY}'\nbackend = {CANARY}", f"home = 'x'\n[results\nx = '{CANARY}'"])
def test_malformed_toml_is_answered_with_file_and_line_only(project: Path, text: str) -> None:
    path = _write(project, "strongroom.toml", text)

    with pytest.raises(SettingsError) as caught:
        load({}, project)

    assert str(caught.value) == f"{path}, line 2: this is not TOML"
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_malformed_toml_that_ends_too_early_is_answered_with_the_file(project: Path) -> None:
    path = _write(project, "strongroom.toml", "home = ")

    with pytest.raises(SettingsError, match="this is not TOML") as caught:
        load({}, project)

    assert str(path) in str(caught.value)


@pytest.mark.parametrize("make", [Path.mkdir, lambda path: path.write_bytes(b"\xff\xfe")], ids=["a folder", "no UTF-8"])
def test_a_file_that_cannot_be_read_is_named(project: Path, make: object) -> None:
    path = project / "strongroom.toml"
    assert callable(make)
    make(path)

    with pytest.raises(SettingsError, match="cannot be read") as caught:
        load({}, project)

    assert str(path) in str(caught.value)


def test_a_file_that_was_asked_for_and_is_not_there_is_named(project: Path) -> None:
    with pytest.raises(SettingsError, match=r"other\.toml cannot be read: No such file"):
        Project.of_file(project / "other.toml", {})


@pytest.mark.parametrize("source", ["strongroom.toml", "pyproject.toml", "variable"])
def test_what_may_leave_is_set_like_everything_else(project: Path, source: str) -> None:
    env = {"STRONGROOM_EGRESS_STRICT": "true", "STRONGROOM_EGRESS_TAGS": "drop"} if source == "variable" else {}
    if source != "variable":
        section = "[tool.strongroom.egress]" if source == "pyproject.toml" else "[egress]"
        _write(project, source, f"{section}\nstrict = true\ntags = 'drop'")

    found = load(env, project)

    assert (found.egress.strict, found.egress.tags, found.egress.message) == (True, "drop", None)
    assert found.origins["egress.message"] == "default"


def test_a_disposition_that_there_is_not_is_refused(project: Path) -> None:
    with pytest.raises(SettingsError, match=r"egress\.tags must be one of clear, mask, token, seal and drop"):
        load({"STRONGROOM_EGRESS_TAGS": CANARY}, project)


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="only root can give a file away")
@pytest.mark.parametrize("name", ["strongroom.toml", "pyproject.toml"])
def test_a_file_that_another_user_put_above_the_project_is_refused(project: Path, name: str) -> None:
    text = f"[results]\nstorage = '{CANARY}'".replace("[", "[tool.strongroom." if name == "pyproject.toml" else "[")
    path = _write(project.parent, name, text)
    os.chown(path, 65534, -1)
    assert load({}, project).origins["results.storage"] == str(path)  # nobody else can write to this folder

    project.parent.chmod(0o1777)
    _settings_file.read.cache_clear()

    with pytest.raises(SettingsError, match="another user's"):
        load({}, project)


def test_limits_have_the_names_of_tags_and_join_from_all_sources_tag_by_tag(project: Path) -> None:
    own = _write(project, "strongroom.toml", "limits.db = 2\nlimits.api = 5")
    variable = "STRONGROOM_LIMITS"

    found = load({variable: "api=1, gpu = 3,"}, project)

    assert dict(found.limits) == {"db": 2, "api": 1, "gpu": 3}
    origins = {key: origin for key, origin in found.origins.items() if key.startswith("limits")}
    assert origins == {"limits.db": str(own), "limits.api": variable, "limits.gpu": variable}


def test_a_limit_may_have_any_tag(project: Path) -> None:
    _write(project, "strongroom.toml", "[limits]\n'a.b c' = 1\nhome = 2")

    assert dict(load({}, project).limits) == {"a.b c": 1, "home": 2}


@pytest.mark.parametrize("value", ["0", "-1", "true", "1.5", "1.0", "'1'", "[1]", "{of = 1}"])
def test_a_limit_in_a_file_is_a_whole_number_from_1(project: Path, value: str) -> None:
    path = _write(project, "strongroom.toml", f"limits.db = {value}")

    with pytest.raises(SettingsError, match=r"limits\.db must be a whole number from 1") as caught:
        load({}, project)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("text", ["db", "db=", "=2", "2", f"db={CANARY}", "db=0", "db=1.5", "db=1,db=2", "db=1;api=2"])
def test_limits_in_a_variable_are_tags_with_numbers(project: Path, text: str) -> None:
    with pytest.raises(SettingsError, match=r"STRONGROOM_LIMITS: limits") as caught:
        load({"STRONGROOM_LIMITS": text}, project)
    assert CANARY not in str(caught.value)


def test_limits_are_a_table(project: Path) -> None:
    _write(project, "strongroom.toml", "limits = 3")

    with pytest.raises(SettingsError, match=r"limits must be a table, such as \[limits\]"):
        load({}, project)


def test_settings_do_not_change_once_they_are_loaded(project: Path) -> None:
    found = load({}, project)

    with pytest.raises(AttributeError):
        found.home = Path("/elsewhere")  # type: ignore[misc]
    with pytest.raises(TypeError):
        found.origins["home"] = "x"  # type: ignore[index]


def test_a_representation_shows_names_and_no_values(project: Path) -> None:
    found: Settings = load({"STRONGROOM_BACKEND_URL": CANARY, "STRONGROOM_RESULTS_STORAGE": CANARY}, project)

    sections = "results, tasks, plugins, backend, egress, keys, masked, limits, storage"
    assert repr(found) == f"Settings(home, {sections}, origins)"
    assert repr(found.backend) == "Backend(id, url, outbox_megabytes)"
    assert CANARY not in repr(found.results)
