# SPDX-License-Identifier: Apache-2.0
"""A flow whose results lie in each storage: kept, cached, resumed, and read by the command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from strongroom import Flow, task
from strongroom._place import as_place
from strongroom.project import Project
from strongroom.triggers import manual_only


def test_results_are_kept_found_again_and_read_without_the_flow(where: Any) -> None:  # noqa: ANN401
    calls: list[str] = []

    @task(result_storage=where, result_serializer="json", cache_key_fn=lambda *_: "always-this")
    def answer() -> int:
        calls.append("answer")
        return 42

    @task(result_storage=where, result_serializer="json", cache_result_in_memory=False)
    def double(number: int) -> int:
        return 2 * number

    with Flow("remote") as flow:
        doubled = double(answer())

    first, second = flow.run(), flow.run()

    assert first.is_successful()
    assert second.is_successful()
    assert calls == ["answer"]
    assert second.result[doubled].result == 84


def test_a_run_that_was_paused_is_resumed_from_what_lies_there(where: Any) -> None:  # noqa: ANN401
    calls: list[str] = []

    @task(result_storage=where, result_serializer="json")
    def answer() -> int:
        calls.append("answer")
        return 42

    @task(trigger=manual_only)
    def approved(number: int) -> int:
        return number + 1

    with Flow("remote") as flow:
        final = approved(answer())
    backend = Project.open().open_backend()
    assert not flow.run(backend=backend).is_finished()
    (run_id,) = backend.runs()

    state = flow.resume(run_id, backend=backend)

    assert state.is_successful()
    assert state.result[final].result == 43
    assert calls == ["answer"]


def test_options_from_the_settings_open_it_too(where: Any, tmp_path: Path) -> None:  # noqa: ANN401
    place = as_place(where)
    if place.filesystem is not None or any(not isinstance(value, str) for value in place.options.values()):
        pytest.skip("these options are not text alone")
    lines = [f'{name} = "{value}"' for name, value in place.options.items()]
    (tmp_path / "strongroom.toml").write_text("\n".join([f'[storage."{place.url}"]', *lines]))

    store = Project.open().store(place.url, "json")
    receipt = store.write({"a": 1})

    assert store.read(receipt.key).result == {"a": 1}
