# SPDX-License-Identifier: Apache-2.0
"""Does a home know how far the record of each run goes, however many runs and processes there were?"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from strongroom._heads import forget_head, known_head, note_head


def a_head(number: int) -> bytes:
    return number.to_bytes(16)


def test_the_newest_head_of_a_run_is_known(tmp_path: Path) -> None:
    one, two = "a" * 32, "b" * 32
    assert known_head(tmp_path, one) is None

    for run, byte in ((one, 1), (two, 2), (one, 3)):
        note_head(tmp_path, run, a_head(byte))

    assert known_head(tmp_path, one) == a_head(3)
    assert known_head(tmp_path, two) == a_head(2)
    assert known_head(tmp_path, "c" * 32) is None


def test_the_newest_runs_are_known_and_the_oldest_are_forgotten(tmp_path: Path) -> None:
    runs = [f"ab{number:030x}" for number in range(1200)]

    for number, run in enumerate(runs):
        note_head(tmp_path, run, a_head(number))

    assert all(known_head(tmp_path, run) == a_head(700 + number) for number, run in enumerate(runs[700:]))
    assert known_head(tmp_path, runs[0]) is None
    assert sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()) < 80_000


def test_what_is_forgotten_is_known_no_longer_and_others_are(tmp_path: Path) -> None:
    one, two = "ab" + "1" * 30, "ab" + "2" * 30
    forget_head(tmp_path, one)
    for run in (one, two):
        note_head(tmp_path, run, a_head(5))

    forget_head(tmp_path, one)

    assert known_head(tmp_path, one) is None
    assert known_head(tmp_path, two) == a_head(5)


def test_whoever_notes_at_once_loses_nothing(tmp_path: Path) -> None:
    runs = [f"ab{number:030x}" for number in range(400)]

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda run: note_head(tmp_path, run, a_head(7)), runs))

    assert all(known_head(tmp_path, run) == a_head(7) for run in runs)


def test_a_line_that_a_crash_cut_off_hides_no_other(tmp_path: Path) -> None:
    note_head(tmp_path, "a" * 32, a_head(1))
    (path,) = (path for path in tmp_path.rglob("aa"))
    os.truncate(path, 40)

    note_head(tmp_path, "aa" + "b" * 30, a_head(2))

    assert known_head(tmp_path, "a" * 32) is None
    assert known_head(tmp_path, "aa" + "b" * 30) == a_head(2)


def test_only_its_owner_can_read_it(tmp_path: Path) -> None:
    note_head(tmp_path / "home", "a" * 32, a_head(1))

    modes = {(path.is_dir(), path.stat().st_mode & 0o777) for path in (tmp_path / "home").rglob("*")}

    assert modes == {(True, 0o700), (False, 0o600)}
