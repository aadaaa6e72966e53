# SPDX-License-Identifier: Apache-2.0
"""Does every state that was put get to the backend, whatever happens to the backend, the process and the disk?

Run as a script, this file is the process that dies.
"""

from __future__ import annotations

import errno
import fcntl
import itertools
import logging
import os
import random
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from strongroom import Envelope, Flow, State, task
from strongroom import _box as box_module
from strongroom import _outbox as outbox_module
from strongroom import _segment as segment_module
from strongroom._boot import UNKNOWN
from strongroom._box import About, Box, Contents, Slit, size_of
from strongroom._heads import known_head
from strongroom._memory_backend import MemoryBackend
from strongroom._outbox import Outbox, open_outbox
from strongroom._outboxes import Outboxes
from strongroom.errors import (
    BackendError,
    BackendUnavailableError,
    NotResumableError,
    OutboxFullError,
)
from strongroom.project import Project
from strongroom.triggers import manual_only

RUN = "a" * 32
MOST = 100_000_000
KILLS = 300 if os.environ.get("STRONGROOM_TEST_LONG") else 12


class Kept(MemoryBackend):
    """A backend that is not of this process, as far as the engine knows, and whose lot a test decides."""

    id = "kept"
    address = "kept://here"

    def __init__(self, before: Callable[[], object] = lambda: None, after: Callable[[], object] = lambda: None) -> None:
        super().__init__()
        self.before = before
        self.after = after
        self.tries = 0

    def append(self, envelopes: Sequence[Envelope]) -> None:
        self.tries += 1
        self.before()
        super().append(envelopes)
        self.after()

    def recover(self) -> None:
        self.before = self.after = lambda: None


def fails(error: BaseException) -> Callable[[], object]:
    def fail() -> None:
        raise error

    return fail


DOWN = BackendUnavailableError("the backend is down")


def an_envelope(number: int, *, run_id: str = RUN, size: int = 300) -> Envelope:
    return Envelope(run_id, "task", -1, number, "state", "task", "Success", number, 1, number.to_bytes(size), "")


def envelopes(count: int, *, run_id: str = RUN, size: int = 300) -> list[Envelope]:
    return [an_envelope(number, run_id=run_id, size=size) for number in range(count)]


@pytest.fixture
def outboxes(tmp_path: Path) -> Outboxes:
    return Outboxes(tmp_path / "home", MOST)


def put_all(outboxes: Outboxes, backend: Kept, sent: Sequence[Envelope]) -> None:
    with Outbox(backend, outboxes, sent[0].run_id) as outbox:
        for envelope in sent:
            outbox.put(envelope)


def leave(outboxes: Outboxes, sent: Sequence[Envelope], *, address: str = Kept.address) -> Path:
    """What a process leaves that dies when it has put *sent*; the folder of its box."""
    box = Box.create(outboxes.root, sent[0].run_id)
    slit = Slit(box.folder, About(sent[0].run_id, Kept.id, address), outboxes.most_bytes)
    for envelope in sent:
        slit.put(envelope, anyway=True)
    box.close()
    return box.folder


def segments(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_file())


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that has ended tries for a second, which may be over on a busy machine before it has tried again."""
    monkeypatch.setattr(outbox_module, "_LAST_TRIES", 60.0)


# A backend that works, or does not.


@pytest.mark.parametrize("count", [0, 1, 5000])
def test_everything_is_delivered_in_order_and_nothing_is_left_on_the_disk(outboxes: Outboxes, count: int) -> None:
    backend, sent = Kept(), envelopes(count)

    with Outbox(backend, outboxes, RUN) as outbox:
        for envelope in sent:
            outbox.put(envelope)

    assert list(backend.read(RUN)) == sent
    assert list(outboxes.root.iterdir()) == []


def test_states_are_delivered_some_at_a_time(outboxes: Outboxes) -> None:
    backend = Kept()

    put_all(outboxes, backend, envelopes(2000))

    assert backend.tries < 1000


def test_a_backend_that_is_away_is_tried_again(outboxes: Outboxes, caplog: pytest.LogCaptureFixture) -> None:
    backend = Kept()
    backend.before = lambda: None if backend.tries > 2 else fails(DOWN)()

    put_all(outboxes, backend, envelopes(10))

    assert list(backend.read(RUN)) == envelopes(10)
    assert [record.getMessage() for record in caplog.records] == [
        "the run goes on, and its record waits on this machine: the backend is down"
    ]


@pytest.mark.parametrize("error", [DOWN, BackendError("no"), OSError("the disk is gone"), SystemExit()], ids=repr)
def test_what_is_not_taken_is_said_in_one_line_and_kept_and_delivered_by_whoever_comes_next(
    outboxes: Outboxes, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    monkeypatch.setattr(outbox_module, "_LAST_TRIES", 0.05)
    backend = Kept(before=fails(error))

    put_all(outboxes, backend, envelopes(1500))

    last = caplog.records[-1].getMessage()
    assert last.startswith(
        f"1500 documents of the run {RUN} wait on this machine, since the backend has not taken them"
    )
    assert "\n" not in last
    (waiting,) = outboxes.waiting()
    assert (waiting.run_id, waiting.documents, waiting.is_busy, waiting.problem) == (RUN, 1500, False, "")
    backend.recover()
    assert outboxes.deliver(backend).documents == 1500
    assert list(backend.read(RUN)) == envelopes(1500)
    assert outboxes.waiting() == []


def test_a_backend_that_commits_and_dies_before_it_answers_has_everything_once(outboxes: Outboxes) -> None:
    backend = Kept()
    backend.after = lambda: fails(DOWN)() if backend.tries % 2 else None

    put_all(outboxes, backend, envelopes(700))

    assert list(backend.read(RUN)) == envelopes(700)


def test_a_backend_that_answers_late_does_not_hold_up_the_end_of_the_run(
    outboxes: Outboxes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(outbox_module, "_PATIENCE", 0.05)
    answer, backend = threading.Event(), Kept()
    backend.before = answer.wait
    outbox = Outbox(backend, outboxes, RUN)

    with outbox:
        outbox.put(envelopes(1)[0])

    assert "it has not answered yet" in caplog.text
    # It is still on its way: nobody else delivers it meanwhile.
    (waiting,) = outboxes.waiting()
    assert waiting.is_busy
    assert outboxes.deliver(backend).documents == 0
    answer.set()
    outbox._sender.join(60)
    assert list(backend.read(RUN)) == envelopes(1)
    assert outboxes.waiting() == []


def test_a_disk_that_was_full_takes_what_comes_once_it_has_room(
    outboxes: Outboxes, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = Box.create(outboxes.root, RUN)
    slit = Slit(box.folder, About(RUN, Kept.id, Kept.address), MOST)
    with monkeypatch.context() as full:
        full.setattr(segment_module, "_allocate", lambda *_: fails(OSError(errno.ENOSPC, "full"))())
        with pytest.raises(OSError, match="full"):
            slit.put(an_envelope(0))

    slit.put(an_envelope(0))

    assert box.take() == [an_envelope(0)]
    slit.close()
    box.remove()


def test_what_comes_after_the_end_is_refused(outboxes: Outboxes) -> None:
    for backend in (Kept(), MemoryBackend()):
        outbox = open_outbox(backend, outboxes, RUN)
        with outbox:
            pass

        with pytest.raises(BackendError, match="has ended"):
            outbox.put(envelopes(1)[0])


def test_what_is_recorded_in_memory_only_leaves_no_trace_on_the_disk(outboxes: Outboxes) -> None:
    backend = MemoryBackend()

    with open_outbox(backend, outboxes, RUN) as outbox:
        outbox.put(envelopes(1)[0])
        assert outbox.flush(0)

    assert list(backend.read(RUN)) == envelopes(1)
    assert not outboxes.root.exists()


# Bounds.


def test_a_full_outbox_stops_the_run_and_loses_nothing_that_was_put(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox_module, "_LAST_TRIES", 0.05)
    outboxes, backend, number = Outboxes(tmp_path, 1_000_000), Kept(before=fails(DOWN)), 0
    sent = envelopes(10_000)

    def put_until_it_is_full() -> None:
        nonlocal number
        with Outbox(backend, outboxes, RUN) as outbox:
            for number, envelope in enumerate(sent):  # noqa: B007  # how far it got
                outbox.put(envelope)

    with pytest.raises(
        OutboxFullError,
        match=r"the 1 MB of backend.outbox_megabytes.*does not take.*this run stops.*strongroom outbox.*resume",
    ):
        put_until_it_is_full()

    assert 1000 < number < 5000
    assert box_module.size_of(outboxes.root) <= 1_000_000
    # Nor does another run begin, before anything of it has run.
    with (
        pytest.raises(OutboxFullError, match=r"does not take.*nothing was run.*try again"),
        Outbox(backend, Outboxes(tmp_path, 100_000), "b" * 32),
    ):
        pass
    backend.recover()
    assert outboxes.deliver(backend).documents == number
    assert list(backend.read(RUN)) == sent[:number]


def test_a_slow_backend_is_waited_for_when_the_outbox_is_full(tmp_path: Path) -> None:
    outboxes, backend, most = Outboxes(tmp_path, 400_000), Kept(), 0

    def look() -> None:
        nonlocal most
        most = max(most, box_module.size_of(outboxes.root))

    backend.before = look

    put_all(outboxes, backend, envelopes(5000))

    assert list(backend.read(RUN)) == envelopes(5000)
    assert 0 < most <= 500_000


def test_a_run_that_delivers_as_it_goes_is_not_stopped_by_what_waits_of_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outboxes = Outboxes(tmp_path, 1_000_000)
    other = leave(outboxes, envelopes(1600, run_id="b" * 32), address="kept://elsewhere")
    assert box_module.size_of(outboxes.root) > 500_000
    backend = Kept()

    put_all(outboxes, backend, envelopes(3000))

    assert list(backend.read(RUN)) == envelopes(3000)
    assert other.exists()


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="only there a full disk is noticed so early")
def test_a_full_disk_stops_the_run_and_not_the_process(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, __file__, "put_on_a_small_disk", str(tmp_path)], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    number = int(done.stdout.split()[0])
    assert "cannot be written: File too large, so this run stops here" in done.stdout
    backend = Kept()
    assert Outboxes(tmp_path, MOST).deliver(backend).documents == number


def put_on_a_small_disk(home: str) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    number = 0
    try:
        with Outbox(Kept(before=fails(DOWN)), Outboxes(Path(home), MOST), RUN) as outbox:
            for number in itertools.count():
                outbox.put(an_envelope(number, size=2_000_000 if number > 5 else 300))
    except OutboxFullError as exc:
        sys.stdout.write(f"{number} {exc}")


def test_an_outbox_that_cannot_be_made_does_not_speak_of_a_run_that_could_be_resumed(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    outboxes = Outboxes(tmp_path / "file", MOST)

    with pytest.raises(OutboxFullError, match="nothing was run") as caught, Outbox(Kept(), outboxes, RUN):
        pass

    assert "resume" not in str(caught.value)


# Processes.


def put_for_ever(home: str) -> None:
    """Put envelopes, and say each number when it was put."""
    with Outbox(Kept(before=fails(DOWN)), Outboxes(Path(home), MOST), RUN) as outbox:
        for number in itertools.count():
            outbox.put(an_envelope(number))
            os.write(1, b"%d\n" % number)


@pytest.mark.long
def test_a_process_that_is_killed_at_any_moment_loses_nothing_that_was_put(tmp_path: Path) -> None:
    instants = random.Random(7)
    for round_ in range(KILLS):
        home = tmp_path / str(round_)
        pid, reader = forked(put_for_ever, str(home))
        line = b""
        with os.fdopen(reader, "rb") as said:
            for _ in range(instants.randrange(1, 6000)):
                line = said.readline()
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            last = int(said.read().rpartition(b"\n")[0].rpartition(b"\n")[2] or line)
        backend = Kept()

        delivered = Outboxes(home, MOST).deliver(backend)

        assert delivered.left == ()
        kept = [each.sequence for each in backend.read(RUN)]
        # The one that was just put when it was killed may be there.
        assert kept in ([*range(last + 1)], [*range(last + 2)])
        assert known_head(home, RUN) == envelopes(len(kept))[-1].sealed[-16:]


def forked(function: Callable[[str], None], argument: str) -> tuple[int, int]:
    """A fork of this process that calls *function*, and what it says."""
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        os.dup2(writer, 1)
        function(argument)
        os._exit(0)
    os.close(writer)
    return pid, reader


@pytest.fixture
def other_process(outboxes: Outboxes) -> Iterator[subprocess.Popen[str]]:
    """A process that has a box of this home and puts nothing more into it."""
    leave(outboxes, envelopes(3))
    command = [sys.executable, __file__, "hold", str(outboxes.root)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process


def hold(root: str) -> None:
    (folder,) = Path(root).iterdir()
    box = Box.open(folder)
    assert box is not None
    sys.stdout.write("held\n")
    sys.stdout.flush()
    sys.stdin.read()


def test_two_processes_never_deliver_the_same(outboxes: Outboxes, other_process: subprocess.Popen[str]) -> None:
    backend = Kept()

    assert outboxes.deliver(backend).documents == 0
    assert outboxes.waiting()[0].is_busy
    with pytest.raises(BackendError, match="in use by another process"):
        outboxes.discard(RUN)

    other_process.kill()
    other_process.wait()
    assert outboxes.deliver(backend, run_id=RUN, seconds=60).documents == 3


def test_a_fork_that_lives_on_does_not_keep_what_its_parent_left(outboxes: Outboxes) -> None:
    box = Box.create(outboxes.root, RUN)
    pid, reader = forked(live_on, "")
    with os.fdopen(reader, "rb") as said:
        assert said.read(1) == b"."
        box.close()

        again = Box.open(box.folder)

    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert again is not None
    again.remove()


def live_on(_: str) -> None:
    os.write(1, b".")
    signal.pause()


def test_only_the_owner_can_read_what_waits(outboxes: Outboxes) -> None:
    folder = leave(outboxes, envelopes(3))

    modes = [path.stat().st_mode & 0o777 for path in (outboxes.root, folder, *segments(folder))]

    assert modes == [0o700, 0o700, 0o600]
    assert segments(folder)[0].stat().st_size <= 1 << 20


# Whose it is.


def test_what_waits_for_another_backend_goes_on_waiting(outboxes: Outboxes) -> None:
    leave(outboxes, envelopes(2, run_id="b" * 32), address="kept://elsewhere")
    leave(outboxes, envelopes(3))
    backend = Kept()

    assert outboxes.deliver(backend).documents == 3

    (waiting,) = outboxes.waiting()
    assert (waiting.run_id, waiting.backend, waiting.address) == ("b" * 32, "kept", "kept://elsewhere")
    assert list(backend.read("b" * 32)) == []


def test_what_is_refused_does_not_keep_others_from_being_delivered(outboxes: Outboxes) -> None:
    backend = Kept()
    backend.append(envelopes(1, size=5))
    leave(outboxes, envelopes(2))
    leave(outboxes, envelopes(3, run_id="b" * 32))

    delivered = outboxes.deliver(backend)

    assert delivered.documents == 3
    assert [(left.run_id, "another document" in left.reason) for left in delivered.left] == [(RUN, True)]
    assert [each.run_id for each in outboxes.waiting()] == [RUN]
    outboxes.discard(RUN)
    assert outboxes.waiting() == []
    assert list(outboxes.root.iterdir()) == []


# Damage.


def test_a_changed_bit_is_noticed_and_nothing_after_it_is_delivered(outboxes: Outboxes) -> None:
    sent = envelopes(4, size=20)
    folder = leave(outboxes, sent)
    (path,) = segments(folder)
    whole = path.read_bytes()
    marks = {*range(24, 40)}  # how much is durable and delivered: what is delivered twice does no harm
    end = int.from_bytes(whole[16:24], "little")
    for place in range(end):
        if place in marks or 40 <= place < 64:
            continue
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :])
        backend = Kept()

        delivered = outboxes.deliver(backend)

        assert len(delivered.left) == 1, place
        assert "in the outbox is damaged" in delivered.left[0].reason
        assert list(backend.read(RUN)) == []
        assert folder.exists()
        assert outboxes.waiting()[0].problem


@pytest.mark.parametrize("length", [0, 10, 63, 64, 100, 500])
def test_a_file_that_was_cut_is_left_alone_unless_nothing_was_in_it(outboxes: Outboxes, length: int) -> None:
    folder = leave(outboxes, envelopes(4))
    os.truncate(segments(folder)[0], length)
    backend = Kept()

    delivered = outboxes.deliver(backend)

    assert delivered.documents == 0
    assert [("damaged" in left.reason) for left in delivered.left] == ([True] if length else [])


def test_what_is_delivered_is_not_delivered_again_by_whoever_comes_next(
    outboxes: Outboxes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(box_module, "_MOST", 3)
    folder = leave(outboxes, envelopes(5))
    first = Box.open(folder)
    assert first is not None
    first.look()
    assert first.take() == envelopes(3)
    first.confirm()
    first.close()

    second = Box.open(folder)
    assert second is not None
    assert second.take() == envelopes(5)[3:]
    second.close()


def test_a_file_that_somebody_died_making_has_nothing_in_it(outboxes: Outboxes) -> None:
    box = Box.create(outboxes.root, RUN)
    (box.folder / "00000000").write_bytes(bytes(5000))
    box.close()

    assert outboxes.deliver(Kept()).left == ()
    assert outboxes.waiting() == []


@pytest.mark.parametrize("data", [b"x", b"x" * 5000, b"SQLite format 3\x00" * 10])
def test_a_file_of_somebody_else_is_named_and_left_alone(outboxes: Outboxes, data: bytes) -> None:
    folder = leave(outboxes, envelopes(4))
    segments(folder)[0].write_bytes(data)

    (left,) = outboxes.deliver(Kept()).left

    assert "it is no file of an outbox" in left.reason
    assert str(folder) in left.reason
    assert segments(folder)[0].read_bytes() == data


def test_what_somebody_puts_beside_the_files_of_a_box_is_left_there(outboxes: Outboxes) -> None:
    folder = leave(outboxes, envelopes(4))
    beside = [folder / name for name in ("00000000~", "000000000", "notes")]
    for path in beside:
        path.write_bytes(b"x")
    backend = Kept()

    assert outboxes.deliver(backend).documents == 4

    assert list(backend.read(RUN)) == envelopes(4)
    assert segments(folder) == sorted(beside)


def test_a_box_that_was_delivered_meanwhile_is_no_box(outboxes: Outboxes) -> None:
    assert Box.open(outboxes.root / f"{0:016x}-{RUN}") is None


def sweep(outboxes: Outboxes) -> None:
    """What another process does when it begins: it delivers what is left of others."""
    outboxes.deliver(Kept())


@pytest.mark.parametrize("moment", ["before it is opened", "while it is looked into", "before it is locked"])
def test_a_box_that_is_swept_away_while_it_is_made_is_made_again(
    outboxes: Outboxes, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    lock, flock = box_module._lock, fcntl.flock
    held: list[int] = []

    def meanwhile(folder: Path) -> int | None:
        # Once, and for the other process it is as ever.
        monkeypatch.undo()
        if moment == "before it is opened":
            sweep(outboxes)
        elif moment == "while it is looked into":
            held.append(os.open(folder, os.O_RDONLY))
            flock(held[0], fcntl.LOCK_EX)
        else:
            monkeypatch.setattr(box_module.fcntl, "flock", lambda *_: (monkeypatch.undo(), sweep(outboxes)))
        return lock(folder)

    monkeypatch.setattr(box_module, "_lock", meanwhile)
    box = Box.create(outboxes.root, RUN)
    Slit(box.folder, About(RUN, Kept.id, Kept.address), outboxes.most_bytes).put(an_envelope(0))

    assert box.take() == [an_envelope(0)]
    assert Box.open(box.folder) is None
    box.remove()
    for descriptor in held:
        os.close(descriptor)


def test_who_puts_nothing_more_gives_back_the_room(outboxes: Outboxes) -> None:
    box = Box.create(outboxes.root, RUN)
    slit = Slit(box.folder, About(RUN, Kept.id, Kept.address), outboxes.most_bytes)
    slit.put(an_envelope(0))
    before = size_of(outboxes.root)

    slit.close()
    slit.close()
    box.close()

    assert size_of(outboxes.root) < before // 2
    assert Contents(box.folder).documents == 1


def test_a_file_of_which_the_room_is_cut_off_just_then_is_opened(
    outboxes: Outboxes, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = Box.create(outboxes.root, RUN)
    slit = Slit(box.folder, About(RUN, Kept.id, Kept.address), outboxes.most_bytes)
    slit.put(an_envelope(0))
    fstat = os.fstat

    def cut_off(descriptor: int) -> os.stat_result:
        status = fstat(descriptor)
        slit.close()
        return status

    monkeypatch.setattr(segment_module.os, "fstat", cut_off)

    assert box.take() == [an_envelope(0)]
    box.remove()


@pytest.mark.parametrize("length", [0, 64])
def test_an_empty_file_with_more_behind_it_is_missed(outboxes: Outboxes, length: int) -> None:
    folder = leave(outboxes, envelopes(6, size=300_000))
    first, second = segments(folder)
    first.write_bytes(bytes(length))
    backend = Kept()

    (left,) = outboxes.deliver(backend).left

    assert "it is empty" in left.reason
    assert (list(backend.read(RUN)), segments(folder)) == ([], [first, second])


def tear_off(folder: Path, count: int | None) -> None:
    """Make zeros of the last *count* bytes that were put into the first file, or of all of them."""
    path = segments(folder)[0]
    end = int.from_bytes(path.read_bytes()[16:24], "little")
    start = 64 if count is None else end - count
    with path.open("r+b") as file:
        file.seek(start)
        file.write(bytes(end - start))


@pytest.mark.parametrize(("torn", "whole"), [(100, 3), (None, 0)], ids=["its end", "all of it"])
def test_what_a_crash_of_the_machine_tore_off_is_left_out_if_nobody_was_told_that_it_was_safe(
    outboxes: Outboxes, monkeypatch: pytest.MonkeyPatch, torn: int | None, whole: int
) -> None:
    folder = leave(outboxes, envelopes(4))
    tear_off(folder, torn)
    monkeypatch.setattr(segment_module, "boot_id", lambda: b"another start ..")
    backend = Kept()

    (left,) = outboxes.deliver(backend).left

    assert "the machine crashed" in left.reason
    assert list(backend.read(RUN)) == envelopes(whole)
    assert outboxes.waiting() == []


def test_what_was_torn_off_before_more_was_put_is_missed(outboxes: Outboxes, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = envelopes(6, size=300_000)
    folder = leave(outboxes, sent)
    assert len(segments(folder)) == 2
    tear_off(folder, 100)
    monkeypatch.setattr(segment_module, "boot_id", lambda: b"another start ..")
    backend = Kept()

    (left,) = outboxes.deliver(backend).left

    assert "a crash of the machine tore it, and more follows" in left.reason
    assert list(backend.read(RUN)) == sent[:2]
    assert len(segments(folder)) == 2


def test_a_crash_is_taken_for_possible_where_it_is_not_known_which_start_of_the_machine_it_is(
    outboxes: Outboxes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segment_module, "boot_id", lambda: UNKNOWN)
    tear_off(leave(outboxes, envelopes(4)), 100)

    (left,) = outboxes.deliver(Kept()).left

    assert "the machine crashed" in left.reason


def test_what_was_durable_is_missed_whatever_crashed(outboxes: Outboxes, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = leave(outboxes, envelopes(4))
    box = Box.open(folder)
    assert box is not None
    box.sync()
    box.close()
    (path,) = segments(folder)
    end = int.from_bytes(path.read_bytes()[16:24], "little")
    with path.open("r+b") as file:
        file.seek(end - 100)
        file.write(bytes(100))
    monkeypatch.setattr(segment_module, "boot_id", lambda: b"another start ..")

    (left,) = outboxes.deliver(Kept()).left

    assert "damaged" in left.reason
    assert folder.exists()


def test_a_mark_that_nobody_set_has_everything_delivered_again(outboxes: Outboxes) -> None:
    folder = leave(outboxes, envelopes(4))
    (path,) = segments(folder)
    with path.open("r+b") as file:
        file.seek(32)
        file.write((200).to_bytes(8, "little"))
    backend = Kept()

    assert outboxes.deliver(backend).documents == 4
    assert list(backend.read(RUN)) == envelopes(4)


# Runs.


@task(result_handler="json")
def one() -> int:
    return 1


@task(trigger=manual_only)
def waits(x: int) -> int:
    return x + 1


with Flow("flow") as flow:
    waits(one())


def run_of(state: State) -> str:
    return str(state.context["run_id"])


def test_a_run_whose_backend_is_down_ends_as_ever_and_the_next_one_delivers_it(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox_module, "_LAST_TRIES", 0.05)
    backend = Kept(before=fails(DOWN))

    first = flow.run(backend=backend)
    backend.recover()
    second = flow.run(backend=backend)

    assert type(first) is type(second)
    assert "documents of the run" in caplog.text
    types = [[each.type for each in backend.read(run_of(state))] for state in (first, second)]
    assert types[0] == types[1] != []
    assert list(backend.runs()) == [run_of(second), run_of(first)]
    assert Project.open().outbox.waiting() == []


def test_a_run_is_resumed_from_states_that_were_still_in_the_outbox(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox_module, "_LAST_TRIES", 0.05)
    backend = Kept(before=fails(DOWN))
    run_id = run_of(flow.run(backend=backend))
    backend.recover()

    state = flow.resume(run_id, backend=backend)

    assert state.is_successful()
    documents = list(Project.open().documents(backend, run_id))
    assert documents[-1].type == "Success"


def test_a_run_is_not_resumed_without_states_that_cannot_be_delivered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox_module, "_LAST_TRIES", 0.05)
    backend = Kept()
    backend.before = lambda: fails(DOWN)() if backend.tries > 1 else None
    run_id = run_of(flow.run(backend=backend))

    with pytest.raises(BackendUnavailableError):
        flow.resume(run_id, backend=backend)
    backend.recover()
    (folder,) = Project.open().outbox.root.iterdir()
    segments(folder)[-1].write_bytes(b"x" * 100)
    with pytest.raises(NotResumableError, match=r"states of it wait in the outbox: .*damaged"):
        flow.resume(run_id, backend=backend)


if __name__ == "__main__":
    logging.disable()
    globals()[sys.argv[1]](*sys.argv[2:])
