# SPDX-License-Identifier: Apache-2.0
"""Is this the plugin that strongroom expects, and does it read what earlier versions wrote?"""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
import zoneinfo
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from strongroom.testing import SerializerTests, vector
from strongroom_arrow import ArrowIPC, strongroom_choose_serializer
from strongroom_arrow._errors import PayloadError

Same = Callable[[object, object], None]

VECTORS = Path(__file__).parents[3] / "tests" / "vectors" / "arrow"
VALUES: dict[str, object] = {
    "array.npy": np.arange(6, dtype="<i4").reshape(2, 3),
    "array-fortran-big-endian.npy": np.asfortranarray(np.arange(6, dtype=">f8").reshape(2, 3)),
    "array-scalar-date.npy": np.array("2013-01-01", "<M8[D]"),
    "array-structured.npy": np.array([(1, "x", b"y")], [("a", "<i2"), ("\u6f22", "<U2"), ("c", "S1", (1,))]),
    "table.arrows": pa.table(
        {"a": [1, None], "s": ["x", None], "c": pa.array(["u", "v"]).dictionary_encode(), "l": [[1], None]},
        metadata={"k": "v"},
    ),
    "batch.arrows": pa.record_batch({"a": [1, None]}),
    "chunked.arrows": pa.chunked_array([["x"], [None, "y"]]),
    "array.arrows": pa.array([{"a": 1}, None]),
    "pandas.arrows": pd.DataFrame(
        {
            "i": [1, 2],
            "f": [1.5, np.nan],
            "s": pd.Series(["x", None], dtype="string[python]"),
            "o": pd.Series(["x", None], dtype=object),
            "m": pd.Series([1, None], dtype="Int8"),
            "c": pd.Categorical(["u", None], pd.Index(["v", "u"], dtype=object), ordered=True),
            "z": pd.to_datetime(["2013-01-01", None]).as_unit("us").tz_localize(zoneinfo.ZoneInfo("America/New_York")),
            "u": pd.to_datetime(["2013-01-01", None]).as_unit("ns").tz_localize(dt.UTC),
            "p": pd.Series([[1], None], dtype=pd.ArrowDtype(pa.list_(pa.int8()))),
        },
        index=pd.DatetimeIndex(["2013-01-01", "2013-01-02"], freq="D", name="day").as_unit("ns"),
    ).set_axis(pd.Index(list("ifsomczup"), dtype=object), axis=1),
    "pandas-levels.arrows": pd.DataFrame(
        np.eye(2),
        index=pd.MultiIndex.from_arrays([pd.Index(["x", "y"], dtype=object), [1, 2]], names=["k", ("t", 1)]),
        columns=pd.MultiIndex.from_arrays([pd.Index(["a", "a"], dtype=object), [1, 2]], names=[None, 5]),
    ),
    "pandas-range.arrows": pd.DataFrame(np.eye(2), index=pd.RangeIndex(4, 0, -2)),
    "pandas-series.arrows": pd.Series([True, False], name=3),
    "polars.arrows": pl.DataFrame(
        {"a": [1, None], "s": ["x", None], "e": pl.Series([["u"], None], dtype=pl.List(pl.Enum(["v", "u"])))}
    ),
    "polars-series.arrows": pl.Series("s", [[1], None]),
    "nested.parts": [
        np.arange(3, dtype="<i2"),
        (pa.table({"a": [1, None]}), []),
        {"train": pd.DataFrame({"x": [1.5]}), "\u6f22": {"$": pl.Series("s", [1])}},
        pa.array(["x"]),
    ],
}


class TestArrowIPC(SerializerTests):
    serializer = ArrowIPC()
    values = tuple(VALUES.values())
    refused = (
        None,
        [1],
        [[]],
        {1: np.ones(1)},
        [np.ones(1), 1],
        np.array([object()]),
        pd.DataFrame({"c": [1j]}),
        pl.LazyFrame({"a": [1]}),
    )

    @pytest.fixture(autouse=True)
    def _comparison(self, same: Same) -> None:
        self._same = same

    def difference(self, expected: object, actual: object) -> str | None:
        # pickle writes views and read-only arrays in another way than those that own their memory.
        try:
            self._same(expected, actual)
        except AssertionError as exc:
            return str(exc) or "it came back with another value"
        return None


@pytest.mark.parametrize("name", VALUES)
def test_what_an_earlier_version_wrote_is_read(name: str, serializer: ArrowIPC, same: Same) -> None:
    data = vector(VECTORS / name, lambda: serializer.dumps(VALUES[name]))

    same(VALUES[name], serializer.loads(data))


def test_a_type_that_this_version_of_polars_does_not_know_is_not_taken_for_another(serializer: ArrowIPC) -> None:
    data = serializer.dumps(pl.Series(["u"], dtype=pl.Enum(["u"])))

    with pytest.raises(PayloadError, match="pip install -U polars"):
        serializer.loads(data.replace(b"_PL_ENUM_VALUES", b"_PL_ENUM_OTHERS"))


def test_every_vector_has_its_value() -> None:
    assert {path.name for path in VECTORS.iterdir()} == set(VALUES)


@pytest.mark.parametrize(
    "value", [None, 1, "x", [1], {}, object(), int, np.float64(1), np.int64, pd.Timestamp(0), pd.NA, pa.scalar(1), pa]
)
def test_other_values_are_left_to_others(value: object) -> None:
    assert strongroom_choose_serializer(value) is None


class Table:
    """Called like one of pyarrow's, and of a module that says it is."""

    __module__ = "pyarrow.lib"


def test_a_type_that_only_has_the_name_is_not_claimed() -> None:
    assert strongroom_choose_serializer(Table()) is None


def run(program: str) -> str:
    """What *program* prints in an interpreter of its own."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_nothing_heavy_is_imported_to_leave_a_value_to_others() -> None:
    program = """
import sys, decimal
from strongroom_arrow import strongroom_choose_serializer
class DataFrame: __module__ = "pandas"
for value in (1, "x", [1], decimal.Decimal(1), DataFrame()):
    assert strongroom_choose_serializer(value) is None
print([name for name in ("numpy", "pyarrow", "pandas", "polars") if name in sys.modules])
"""

    assert run(program) == "[]"


def test_arrays_need_neither_pyarrow_nor_pandas() -> None:
    program = """
import sys, numpy
from strongroom_arrow import ArrowIPC
assert ArrowIPC().loads(ArrowIPC().dumps(numpy.arange(3))).sum() == 3
print([name for name in ("pyarrow", "pandas", "polars") if name in sys.modules])
"""

    assert run(program) == "[]"


@pytest.mark.parametrize("package", ["pandas", "polars"])
def test_a_frame_of_a_package_that_is_not_installed_names_what_to_install(package: str) -> None:
    vector_of = VECTORS / f"{package}.arrows"
    program = f"""
import sys, pathlib
sys.modules[{package!r}] = None
from strongroom_arrow import ArrowIPC
from strongroom.errors import PluginError
try:
    ArrowIPC().loads(pathlib.Path({str(vector_of)!r}).read_bytes())
except PluginError as error:
    print(error)
"""

    assert run(program) == f"the result is a {package}.DataFrame; to read it, pip install {package}"
