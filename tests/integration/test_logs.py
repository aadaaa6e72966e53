# SPDX-License-Identifier: Apache-2.0
"""What tasks log and print is kept beside the run, on every executor, and nowhere else."""

from __future__ import annotations

import logging
import os
import stat
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from strongroom import Flow, State, context, hookimpl, signals, task
from strongroom._logs import LogFile, LogPost, log_file, reading
from strongroom.documents import LogDocument, LogLine

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from strongroom.project import Project

    from .conftest import Recorded

EXECUTORS = pytest.mark.parametrize("executor", ["sync", "threads", "processes"])
_tasks = logging.getLogger("strongroom.task")


@pytest.fixture
def said(project: Project) -> Callable[[State], list[LogLine]]:
    """What the tasks of a run said."""
    return lambda run: list(project.logs(str(run.context["run_id"])))


@task(log_stdout=True)
def talk(x: int) -> int:
    print("one", x)
    context.logger.warning("two %s", x)
    print("three", end="")
    return x


@EXECUTORS
def test_prints_and_logs_are_kept_in_their_order(
    executor: str, said: Callable[[State], list[LogLine]], capsys: pytest.CaptureFixture[str]
) -> None:
    with Flow("f") as f:
        talk(1)

    lines = said(f.run(executor=executor))

    assert [(line.level, line.text) for line in lines] == [("INFO", "one 1"), ("WARNING", "two 1"), ("INFO", "three")]
    assert {(line.task, line.map_index) for line in lines} == {("talk", -1)}
    assert "one" not in capsys.readouterr().out


@EXECUTORS
def test_each_child_has_its_own_prints(executor: str, said: Callable[[State], list[LogLine]]) -> None:
    with Flow("f") as f:
        talk.map(list(range(10)))

    lines = said(f.run(executor=executor))

    assert len(lines) == 30
    for index in range(10):
        mine = [line.text for line in lines if line.map_index == index]
        assert mine == [f"one {index}", f"two {index}", "three"]


@EXECUTORS
def test_what_was_said_before_a_failure_is_kept(executor: str, said: Callable[[State], list[LogLine]]) -> None:
    @task(log_stdout=True)
    def fail() -> None:
        print("so far")
        raise ValueError

    @task(log_stdout=True)
    async def skip() -> None:
        print("not needed")
        raise signals.SKIP

    with Flow("f") as f:
        fail()
        skip()

    assert {line.text for line in said(f.run(executor=executor))} == {"so far", "not needed"}


@EXECUTORS
def test_without_log_stdout_prints_are_prints(executor: str, said: Callable[[State], list[LogLine]]) -> None:
    @task
    def quiet() -> None:
        print("only shown")

    with Flow("f") as f:
        quiet()

    assert said(f.run(executor=executor)) == []


def test_a_task_with_a_timeout_is_heard_too(said: Callable[[State], list[LogLine]]) -> None:
    @task(log_stdout=True, timeout=60)
    def timed() -> None:
        print("in a thread of its own")

    with Flow("f") as f:
        timed()

    assert [line.text for line in said(f.run())] == ["in a thread of its own"]


def test_two_runs_at_once_do_not_mix(said: Callable[[State], list[LogLine]]) -> None:
    with Flow("inner") as inner:
        talk(2)

    @task(log_stdout=True)
    def outer() -> list[str]:
        print("before")
        run = inner.run()
        print("after")
        return [line.text for line in said(run)]

    with Flow("outer") as f:
        done = outer()

    run = f.run()

    assert run.result[done].result == ["one 2", "two 2", "three"]
    assert [line.text for line in said(run)] == ["before", "after"]


def test_an_exception_is_logged_without_lines_of_source(said: Callable[[State], list[LogLine]]) -> None:
    @task
    def load() -> None:
        try:
            raise ValueError("the reason")  # a comment that nobody logs
        except ValueError:
            context.logger.exception("it failed")

    with Flow("f") as f:
        load()

    (line,) = said(f.run())

    assert line.level == "ERROR"
    assert line.text.startswith("it failed\n")
    assert line.text.endswith("ValueError: the reason")
    assert "load" in line.text
    assert "nobody logs" not in line.text


def test_the_file_is_for_its_owner_only_and_nothing_of_it_leaves(recorded: Recorded, isolated: Path) -> None:
    with Flow("f") as f:
        talk(1)

    run = f.run()

    path = log_file(isolated, str(run.context["run_id"]))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert not any("three" in repr(document) for document in recorded(run))


def test_a_run_that_says_nothing_leaves_no_file(isolated: Path) -> None:
    with Flow("f") as f:
        task(lambda: 1)()

    f.run()

    assert not (isolated / "logs").exists()


@EXECUTORS
def test_the_rest_of_the_program_hears_what_it_heard_before(executor: str, caplog: pytest.LogCaptureFixture) -> None:
    before = (_tasks.level, _tasks.propagate, list(_tasks.handlers))
    with Flow("f") as f:
        talk(1)

    f.run(executor=executor)

    assert [record.getMessage() for record in caplog.records] == ["two 1"]
    with caplog.at_level(logging.INFO):
        f.run(executor=executor)
    assert [record.getMessage() for record in caplog.records] == ["two 1", "one 1", "two 1", "three"]
    assert (_tasks.level, _tasks.propagate, _tasks.handlers) == before


@EXECUTORS
def test_a_logger_with_a_level_of_its_own_keeps_it(
    executor: str, said: Callable[[State], list[LogLine]], caplog: pytest.LogCaptureFixture
) -> None:
    @task(name="talk")
    def whisper() -> None:
        context.logger.debug("one")
        context.logger.warning("two")

    with Flow("f") as f:
        whisper()

    with caplog.at_level(logging.DEBUG, "strongroom.task.talk"):
        assert len(said(f.run(executor=executor))) == 2
    assert len(caplog.records) == 2
    caplog.clear()
    with caplog.at_level(logging.ERROR, "strongroom.task"):
        assert said(f.run(executor=executor)) == []
    assert caplog.records == []


def test_standard_output_is_put_back(said: Callable[[State], list[LogLine]]) -> None:
    real = sys.stdout
    with Flow("f") as f:
        talk.map([1, 2, 3])

    f.run(executor="threads")

    assert sys.stdout is real


def test_a_handler_that_prints_does_not_print_for_ever(capsys: pytest.CaptureFixture[str]) -> None:
    class Printing(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            print("said:", record.getMessage())

    @task(log_stdout=True)
    def once() -> None:
        print("one")

    handler = Printing()
    _tasks.addHandler(handler)
    try:
        with Flow("f") as f:
            once()
        f.run()
    finally:
        _tasks.removeHandler(handler)

    assert capsys.readouterr().out.splitlines() == ["said: one"]


def test_a_line_that_a_crash_cut_off_is_left_out(isolated: Path) -> None:
    with Flow("f") as f:
        talk(1)
    path = log_file(isolated, str(f.run().context["run_id"]))
    path.write_bytes(path.read_bytes()[:-10])

    assert [line.text for line in reading(path)] == ["one 1", "two 1"]


@pytest.mark.skipif(os.name != "posix", reason="links")
def test_a_link_in_the_place_of_the_log_is_not_followed(
    isolated: Path, said: Callable[[State], list[LogLine]], caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    @task
    def plant() -> None:
        path = log_file(isolated, context.run_id)
        path.parent.mkdir(parents=True)
        path.symlink_to(tmp_path / "elsewhere")
        context.logger.warning("secret")

    with Flow("f") as f:
        planted = plant()

    run = f.run()

    assert run.result[planted].is_successful()
    assert not (tmp_path / "elsewhere").exists()
    assert "the log of this run ends here" in caplog.text


def test_what_is_said_after_the_end_is_not_kept(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "log")
    log.close()

    log.write(LogLine(0, "", -1, "INFO", "late"))

    assert not (tmp_path / "log").exists()


@EXECUTORS
def test_a_filter_sees_a_line_before_it_is_written(
    executor: str, said: Callable[[State], list[LogLine]], plugin: Callable[[object], None], isolated: Path
) -> None:
    class Masking:
        @hookimpl
        def strongroom_mask(self, text: str, name: str) -> str:
            if name == "log" and "two" in text:
                raise LookupError(text)
            return text.replace("three", "***") if name == "log" else text

    plugin(Masking())
    with Flow("f") as f:
        talk(1)

    run = f.run(executor=executor)

    assert [line.text for line in said(run)] == [
        "one 1",
        "(this line was not kept, since masking it raised LookupError)",
        "***",
    ]
    assert b"three" not in log_file(isolated, str(run.context["run_id"])).read_bytes()


@pytest.fixture
def sealed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRONGROOM_EGRESS_LOGS", "seal")


@EXECUTORS
@pytest.mark.usefixtures("sealed")
def test_logs_leave_sealed_in_their_order_and_are_read_back(
    executor: str, recorded: Recorded, project: Project, isolated: Path
) -> None:
    with Flow("f") as f:
        talk.map(list(range(100)))

    run = f.run(executor=executor)
    run_id = str(run.context["run_id"])
    here = list(project.logs(run_id))
    log_file(isolated, run_id).unlink()

    documents = [each for each in recorded(run) if isinstance(each, LogDocument)]
    assert len(here) == 300
    assert [line for each in documents for line in each.lines] == here
    assert [each.sequence for each in documents] == list(range(len(documents)))
    assert 2 <= len(documents) < 30
    with closing(project.open_backend()) as backend:
        assert list(project.logs(run_id, backend)) == here
        assert all(b"three" not in envelope.sealed for envelope in backend.read(run_id))


@pytest.mark.usefixtures("sealed")
def test_a_resumed_run_goes_on_with_its_log(recorded: Recorded) -> None:
    @task(log_stdout=True)
    def wait() -> None:
        print("resumed" if context.resume else "first")
        if not context.resume:
            raise signals.PAUSE

    with Flow("f") as f:
        wait()

    run = f.run()
    f.resume(str(run.context["run_id"]))

    documents = [each for each in recorded(run) if isinstance(each, LogDocument)]
    assert [(each.sequence, line.text) for each in documents for line in each.lines] == [(0, "first"), (1, "resumed")]


@pytest.mark.usefixtures("sealed")
def test_a_veto_keeps_the_log_here_and_the_run_goes_on(
    plugin: Callable[[object], None],
    said: Callable[[State], list[LogLine]],
    recorded: Recorded,
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Veto:
        @hookimpl
        def strongroom_outgoing(self, document: object) -> None:
            if isinstance(document, LogDocument):
                raise PermissionError

    plugin(Veto())
    with Flow("f") as f:
        talk(1)

    run = f.run()

    assert run.is_successful()
    assert len(said(run)) == 3
    assert not any(isinstance(each, LogDocument) for each in recorded(run))
    assert "kept on this machine only" in caplog.text


def test_lines_leave_some_at_a_time() -> None:
    now, sent = 0.0, list[int]()
    post = LogPost(lambda _: None, lambda lines: sent.append(len(lines)), lambda: now)
    line = LogLine(0, "", -1, "INFO", "text")

    for _ in range(201):
        post.write(line)
    assert sent == [200]
    now = 1.5
    post.write(line)
    assert sent == [200, 2]
    post.write(line)
    post.close()
    assert sent == [200, 2, 1]
