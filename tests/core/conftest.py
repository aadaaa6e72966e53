# SPDX-License-Identifier: Apache-2.0
"""What do several of core's own tests use?"""

from __future__ import annotations

import threading
import time
from functools import partial

import pytest

from strongroom import _running
from strongroom._run import Run


@pytest.fixture
def go_on(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Until it is set, no time passes for a run: what waits for its time still waits, however slow this machine is."""
    event, begun = threading.Event(), time.time()
    monkeypatch.setattr(_running, "Run", partial(Run, clock=lambda: time.time() if event.is_set() else begun))
    return event
