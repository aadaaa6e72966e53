# SPDX-License-Identifier: Apache-2.0
"""Conformance tests for plugins: subclass one in a test module, name what is to be tested, run pytest."""

from __future__ import annotations

import pytest

# Before they are imported: so that a failing check shows what it compared, as in a test module.
pytest.register_assert_rewrite(
    *(
        f"strongroom.testing.{name}"
        for name in (
            *("_backends", "_codecs", "_executor_tasks", "_executors", "_handlers", "_key_sources", "_leases"),
            *("_serializers", "_storages"),
        )
    ),
)

from strongroom.testing._backends import BackendTests  # noqa: E402
from strongroom.testing._codecs import CodecTests  # noqa: E402
from strongroom.testing._executors import ExecutorTests  # noqa: E402
from strongroom.testing._handlers import ResultHandlerTests  # noqa: E402
from strongroom.testing._key_sources import KeySourceTests  # noqa: E402
from strongroom.testing._leases import LeaseTests  # noqa: E402
from strongroom.testing._same import difference  # noqa: E402
from strongroom.testing._serializers import SerializerTests  # noqa: E402
from strongroom.testing._storages import StorageTests  # noqa: E402
from strongroom.testing._vectors import vector  # noqa: E402

__all__ = [
    "BackendTests",
    "CodecTests",
    "ExecutorTests",
    "KeySourceTests",
    "LeaseTests",
    "ResultHandlerTests",
    "SerializerTests",
    "StorageTests",
    "difference",
    "vector",
]
