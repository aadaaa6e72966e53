# SPDX-License-Identifier: Apache-2.0
"""Does whatever a serializer takes come back through storage as it was, with each codec around it?"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from strongroom import Keyring, ResultStore
from strongroom._plugins import installed_plugins
from strongroom.keyring import Key
from strongroom.testing import difference

from .watching import EVERY_CODEC

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.tuples(inner) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)
ARRAYS = npst.arrays(
    npst.boolean_dtypes() | npst.integer_dtypes() | npst.floating_dtypes(sizes=(16, 32, 64)) | npst.datetime64_dtypes(),
    npst.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
)
TABLES = st.lists(st.tuples(st.none() | st.text(st.characters(codec="utf-8")), st.none() | st.binary())).map(
    lambda rows: pa.table({"t": pa.array([t for t, _ in rows], "str"), "b": pa.array([b for _, b in rows], "binary")})
)
# Whatever is large enough is told from what is small, in buffers and in chunks.
LARGE = st.integers(60_000, 300_000).map(lambda size: bytes(size) + b"x")
VALUES: dict[str, st.SearchStrategy[object]] = {
    "json": PLAIN,
    "json.bytes": st.binary() | LARGE,
    # How arrays are pickled is NumPy's own: of one number in the other byte order it makes one in ours.
    "pickle": PLAIN | ARRAYS.filter(lambda array: array.dtype.isnative) | LARGE,
    "arrow": ARRAYS | TABLES | st.lists(ARRAYS | TABLES, min_size=1, max_size=3),
}
CODECS = ("", *(f"{codec}/" for codec in EVERY_CODEC), "encrypted/", "encrypted/compressed/")


def shown(value: Any) -> object:  # noqa: ANN401  # arrays and tables have no common type
    """*value* with its arrays and tables as what can be compared to the last bit."""
    if isinstance(value, np.ndarray):
        return "array", value.dtype.str, value.shape, value.tobytes()
    if isinstance(value, pa.Table):
        return "table", str(value.schema), value.to_pylist()
    return [shown(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("codecs", CODECS)
@pytest.mark.parametrize("serializer", VALUES)
def test_a_value_comes_back_from_storage(
    serializer: str, codecs: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    store = ResultStore(
        tmp_path_factory.mktemp("results"),
        serializer=codecs + serializer,
        keyring=Keyring([Key(bytes(32))]),
        allow=(),
        plugins=installed_plugins(None),
    )

    @settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(VALUES[serializer])
    def comes_back(value: object) -> None:
        found = store.read(store.write(value, "value").key).result
        assert difference(shown(value), shown(found)) is None

    comes_back()
