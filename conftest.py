# SPDX-License-Identifier: Apache-2.0
"""What does every test of the workspace get, in core and in each plugin, without asking for it?

This file stands beside the folders of tests, since pytest shows a conftest only to what lies below it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import configuration, settings

if TYPE_CHECKING:
    from pathlib import Path

settings.register_profile("strongroom", deadline=None, print_blob=True)  # a busy machine is no failure


def pytest_configure(config: pytest.Config) -> None:
    """Keep what hypothesis learned in one place, although every test has a working directory of its own."""
    configuration.set_hypothesis_home_dir(config.rootpath / ".hypothesis")
    # Under CI hypothesis has chosen its own profile by now, whose runs can be repeated.
    if not os.environ.get("CI"):
        settings.load_profile("strongroom")


@pytest.fixture(autouse=True)
def isolated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the test a home and a working directory of its own, and no setting from outside; return the home.

    The working directory is `tmp_path`. The home is a folder in it that does not exist yet.
    """
    for name in os.environ:
        if name.startswith("STRONGROOM_") and not name.startswith("STRONGROOM_TEST_"):
            monkeypatch.delenv(name)
    home = tmp_path / "home"
    monkeypatch.setenv("STRONGROOM_HOME", str(home))
    monkeypatch.chdir(tmp_path)
    return home
