# SPDX-License-Identifier: Apache-2.0
"""What do the commands make of a backend that names runs which are none, and lends what it has no right to lend?

A lie about leases may keep somebody from working. It leads to no run but the one that was asked for, to no file, to no
decoder, and to no wait without an end.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from strongroom import Envelope, _leases
from strongroom._memory_backend import MemoryBackend
from strongroom.abc import Lease
from strongroom.project import Project

from .test_hostile_backend import Record, changed
from .test_hostile_commands import Called, records

__all__ = ["records"]

LONG = bool(os.environ.get("STRONGROOM_TEST_LONG"))
SECRET = "what another file of this machine says"

# Each with the id of a run where it takes one.
OF_A_RUN = [
    *(["show"], ["show", "--json"], ["read", "one"], ["read", "one", "--raw"], ["verify"], ["verify", "--json"]),
    *(["logs"], ["logs", "--json"], ["cache explain", "one"], ["egress show"], ["egress show", "--json"]),
    *(["resume", "lied_to.py"], ["cancel", "--seconds", "0"]),
]
OF_ALL_RUNS = [["runs"], ["runs", "--json"], ["store gc", "--grace", "0"], ["keys retire", "KEY"], ["doctor", "--json"]]

DEEP: object = "x"
for _ in range(5_000):
    DEEP = [DEEP]
ODD = [
    *(None, True, -1, 0, 2**31, -(2**63), 2**64, 10**5_000, 1.5, float("nan"), float("inf"), object()),
    *(
        "",
        "x",
        "x" * (1 << 20),
        "\ud800",
        "\x00",
        "\x1b[2J",
        "{0.__class__}",
        "../../secret",
        "/etc/passwd",
        "one\ntwo",
    ),
    *(b"", b"\xff\xfe", b"a" * 32, bytearray(b"a" * 32), [], ["a" * 32], {}, {"__class__": "os.system"}, DEEP),
    *("A" * 32, "a" * 31, "a" * 33, "g" * 32, "\u0661" * 32, f"{'a' * 32}\n"),
]
"""What is no id of a run."""


class Answers(MemoryBackend):
    """A backend with two true records, whose list of runs a test decides."""

    def __init__(self, true: Sequence[Record], answer: Callable[[list[str]], object]) -> None:
        super().__init__()
        self.answer = answer
        for record in reversed(true):
            self.append(record)

    def runs(self, *, prefix: str = "", limit: int = 20) -> Sequence[str]:
        return self.answer(list(super().runs(prefix=prefix, limit=limit)))  # type: ignore[return-value]  # a lie


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, isolated: Path) -> Iterator[Callable[..., Called]]:
    """Calls a command with a backend, whatever that is; the rest of the home is what the records left there."""
    (isolated.parent / "secret.jsonl").write_text(f'{{"at": 1, "level": "INFO", "text": "{SECRET}"}}\n')

    def call(command: list[str], run_id: str, backend: MemoryBackend) -> Called:
        name, *more = command
        key = Project.open().keyring.primary
        more = [key if each == "KEY" else each for each in more]
        given = [] if name.partition(" ")[0] in {"runs", "store", "keys", "doctor"} else [run_id]
        return Called([*name.split(), *given, *more], backend, monkeypatch)

    return call


def assert_told_in_a_line(done: Called, *where: object) -> None:
    """One clear line says what is wrong, if anything is."""
    assert "Traceback" not in done.out + done.err, (where, done.out, done.err)
    assert "--traceback" not in done.err, (where, done.err)
    assert done.code in {0, 1, 2}, (where, done.code)
    lines = done.err.splitlines()
    assert all(line.startswith(("strongroom: error: ", "strongroom: warning: ")) for line in lines), (where, done.err)
    assert max((len(line) for line in lines), default=0) < 3_000, where
    assert SECRET not in done.out, where
    assert "\x1b[2J" not in done.out + done.err, where


def some(it: random.Random, commands: list[list[str]]) -> list[list[str]]:
    """All of *commands* in the long run, else four of them: there are enough other lies for the rest."""
    return commands if LONG else it.sample(commands, 4)


@pytest.mark.long
@pytest.mark.parametrize("odd", range(len(ODD)))
def test_what_is_no_run_is_named_as_such(records: list[Record], call: Callable[..., Called], odd: int) -> None:
    it = random.Random(odd)
    for number in range(10 if LONG else 1):

        def lie(true: list[str]) -> object:
            true.insert(it.randrange(len(true) + 1), ODD[odd])  # type: ignore[arg-type]  # which it is not
            return true[:1] if it.random() < 0.2 and true[0] == ODD[odd] else true

        for command in some(it, [*OF_A_RUN, *OF_ALL_RUNS]):
            done = call(command, records[0][0].run_id, Answers(records, lie))

            assert_told_in_a_line(done, ODD[odd], number, command)
            # To retire the key that seals is refused before anybody is asked.
            assert done.code == (2 if command[0] == "keys retire" else 1), (command, done.out, done.err)
            if command[0] not in {"keys retire", "doctor"}:
                assert "was asked for runs, and answered with something else" in done.err


@pytest.mark.parametrize(
    "answer", ["runs", b"runs", 5, None, {"a" * 32: 1}, iter(())], ids=lambda it: type(it).__name__
)
def test_a_list_of_runs_is_a_list(records: list[Record], call: Callable[..., Called], answer: object) -> None:
    for command in [*OF_A_RUN, ["runs"], ["store gc"]]:
        done = call(command, "last", Answers(records, lambda _: answer))

        assert_told_in_a_line(done, answer, command)
        assert done.code == 1


@pytest.mark.parametrize("command", OF_A_RUN, ids=" ".join)
def test_another_run_is_not_shown_for_the_one_that_was_asked_for(
    records: list[Record], call: Callable[..., Called], command: list[str]
) -> None:
    asked, other = records[0][0].run_id, records[1][0].run_id

    done = call(command, asked, Answers(records, lambda _: [other]))

    assert done.code == 1
    assert "was asked for runs, and answered with something else" in done.err
    assert other not in done.out


@pytest.mark.parametrize(
    ("lie", "says"),
    [
        (lambda true: [*true, *true], "named one of them twice"),
        (lambda true: [f"{number:032x}" for number in range(100)], "answered with something else"),
    ],
    ids=["twice", "more than were asked for"],
)
def test_a_list_with_a_run_twice_or_too_many_is_no_list(
    records: list[Record], call: Callable[..., Called], lie: Callable[[list[str]], object], says: str
) -> None:
    done = call(["runs"], "", Answers(records, lie))

    assert_told_in_a_line(done)
    assert (done.code, done.out) == (1, "")
    assert says in done.err


def test_a_run_of_which_there_is_nothing_hides_no_other(records: list[Record], call: Callable[..., Called]) -> None:
    done = call(["runs"], "", Answers(records, lambda true: ["f" * 32, *true] if len(true) > 1 else true))

    assert done.code == 0
    assert "not all of it is as it was sent" in done.out
    assert all(f"\n{record[0].run_id[:8]} " in done.out for record in records)


class Odd(MemoryBackend):
    """A backend with one true record, in which one field of one document is something else."""

    def __init__(self, record: Record) -> None:
        super().__init__()
        self.record = record

    def runs(self, *, prefix: str = "", limit: int = 20) -> Sequence[str]:
        return [self.record[0].run_id] if isinstance(self.record[0].run_id, str) else ["a" * 32]

    def read(self, run_id: str, *, task: str | None = None) -> Iterator[Envelope]:
        return (each for each in self.record if task is None or each.task == task)


@pytest.mark.long
@pytest.mark.parametrize("field", Envelope.__struct_fields__)
def test_a_field_of_any_other_type_or_size_is_not_taken_for_a_document(
    records: list[Record], call: Callable[..., Called], field: str
) -> None:
    true = records[0]
    it, run_id = random.Random(field), true[0].run_id
    for number, odd in enumerate(it.sample(ODD, len(ODD) if LONG else 6)):
        place = it.randrange(1, len(true))
        if type(odd) is type(getattr(true[place], field)) and odd == getattr(true[place], field):
            continue  # that is the truth
        record = [*true[:place], changed(true[place], **{field: odd}), *true[place + 1 :]]
        for command in some(it, [*OF_A_RUN, *OF_ALL_RUNS[:4]]):
            done = call(command, run_id, Odd(record))

            assert_told_in_a_line(done, field, odd, number, command)
            if command[0] in {"verify", "resume", "store gc"}:
                assert done.code, (field, odd, command)


# Leases.


class Lends(Answers):
    """A backend that has true records, and answers as a test says when it is asked for a lease."""

    def __init__(self, true: Sequence[Record], answer: Callable[[Lease | None], object]) -> None:
        super().__init__(true, lambda runs: runs)
        self.lend = answer
        self.asked = 0

    def acquire(self, name: str, holder: str, *, seconds: float, slots: int = 1) -> Lease | None:
        self.asked += 1
        return self.lend(super().acquire(name, holder, seconds=seconds, slots=slots))  # type: ignore[return-value]

    def renew(self, lease: Lease, *, seconds: float) -> bool:
        return self.lend(None)  # type: ignore[return-value]  # whatever that is


LEASES = [
    None,
    *(Lease("another", 0, "somebody", 1), Lease("", -1, "", -1), Lease("x", 2**70, "\ud800", 10**5_000)),
    *(Lease(None, None, None, None), Lease(b"\xff", DEEP, {}, "9" * 5_000)),  # type: ignore[arg-type]
    *(0, True, -1, 10**5_000, float("nan"), "yes", "\ud800", b"\xff", DEEP, object(), ()),
]


@pytest.mark.parametrize("odd", range(len(LEASES)))
def test_whatever_is_lent_the_commands_end_with_a_line(
    records: list[Record], call: Callable[..., Called], odd: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_leases, "_SECONDS", 0.3)
    monkeypatch.setattr(_leases.open_leases, "__kwdefaults__", {"seconds": 0.3})
    true = [records[0][:-1], records[1]]
    backend = Lends(true, lambda _: LEASES[odd])

    for command in (["cancel", "--seconds", "0.1"], ["resume", "lied_to.py"], ["store gc", "--grace", "0"]):
        done = call(command, true[0][0].run_id, backend)

        assert_told_in_a_line(done, LEASES[odd], command)
        if command[0] == "cancel":
            assert done.code == 1
    assert backend.asked
