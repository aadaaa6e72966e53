# SPDX-License-Identifier: Apache-2.0
"""What is special about tasks in processes: who ends them, what crosses the pipe, and what does not?"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import importlib.util
import os
import pickle
import re
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from multiprocessing import resource_tracker
from pathlib import Path

import cloudpickle
import pytest
from loky.backend import fork_exec

from strongroom import Flow, ResultStore, _held_keys, hookimpl, task
from strongroom.documents import StateDocument
from strongroom.errors import DefinitionError, NotSupportedError, TransferError
from strongroom.keyring import Key
from strongroom.project import Project
from strongroom.states import Failed, TimedOut
from strongroom_processes._worker import Worker
from strongroom_processes.executor import ProcessExecutor

PATIENCE = 60.0


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


@task
def pid() -> int:
    return os.getpid()


@task
def wait_for_ever(mark: str) -> None:
    Path(mark).with_suffix(".tmp").write_text(str(os.getpid()))
    Path(mark).with_suffix(".tmp").rename(mark)
    while True:
        time.sleep(0.1)


@task
def zeros(size: int) -> bytes:
    return bytes(size)


@task
def length(value: bytes) -> int:
    return len(value)


@task
def seen_variables() -> list[str]:
    return sorted(os.environ)


@pytest.fixture
def messages(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Everything that crosses a pipe, in both directions."""
    seen: list[bytes] = []
    call = Worker.call

    def listen(worker: Worker, message: bytes) -> bytes:
        answer = call(worker, message)
        seen.extend((message, answer))
        return answer

    monkeypatch.setattr(Worker, "call", listen)
    return seen


@pytest.fixture
def veto() -> Iterator[None]:
    class Veto:
        @hookimpl
        def strongroom_outgoing(self, document: object) -> None:
            if isinstance(document, StateDocument) and document.task == "pid" and document.type == "Success":
                raise PermissionError

    plugins = Project.open().plugins
    plugins.add("veto", Veto())
    yield
    plugins.remove("veto")


def test_a_flow_finds_the_executor_by_its_id() -> None:
    with Flow("a flow") as flow:
        found = pid()

    assert flow.run(executor="processes").result[found].result != os.getpid()


@pytest.mark.parametrize("number", [0, -1])
def test_no_processes_at_all_are_refused(number: int) -> None:
    with pytest.raises(DefinitionError, match="from 1"):
        ProcessExecutor(number)


def test_no_process_is_left_when_the_run_has_ended() -> None:
    with Flow("a flow") as flow:
        pids = [pid() for _ in range(10)]

    states = flow.run(executor=ProcessExecutor(2)).result

    ran = {states[each].result for each in pids}
    assert 1 <= len(ran) <= 2
    assert not any(is_running(each) for each in ran)


def test_a_task_that_takes_too_long_is_ended_with_its_process(tmp_path: Path) -> None:
    with Flow("a flow") as flow:
        first = pid()
        slow = wait_for_ever.copy(timeout=1)(str(tmp_path / "mark"), upstream_tasks=[first])
        other = pid(upstream_tasks=[slow], task_args={"trigger": lambda _: True})

    states = flow.run(executor=ProcessExecutor(1)).result

    assert states[slow].message == "the task took longer than 1 seconds"
    assert not is_running(states[first].result)
    assert states[other].result != states[first].result


def test_a_task_that_lets_nobody_look_at_the_clock_is_ended_too() -> None:
    @task(timeout=0.1)
    def count() -> int:
        # One call, during which no other thread of the process runs.
        return sum(range(10**13))

    with Flow("a flow") as flow:
        first = pid()
        slow = count(upstream_tasks=[first])
        other = pid(upstream_tasks=[slow], task_args={"trigger": lambda _: True})

    states = flow.run(executor=ProcessExecutor(1)).result

    assert isinstance(states[slow], TimedOut)
    assert states[slow].message == "the task took longer than 0.1 seconds"
    assert not is_running(states[first].result)
    assert states[other].result != states[first].result


def test_a_process_that_died_while_nobody_used_it_is_replaced() -> None:
    with ProcessExecutor(1) as executor:
        first = executor.submit(os.getpid).result(PATIENCE)
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: not executor._idle[0].is_alive)

        assert executor.submit(os.getpid).result(PATIENCE) != first


def test_a_process_whose_child_lives_on_is_found_dead_all_the_same(tmp_path: Path) -> None:
    mark = tmp_path / "child"

    @task
    def leave_a_child() -> None:
        # It inherits the pipe, and so keeps it open.
        if os.fork() == 0:
            mark.write_text(str(os.getpid()))
            time.sleep(PATIENCE)
        wait_until(lambda: mark.exists() and mark.read_text() != "")
        os._exit(3)

    with Flow("a flow") as flow:
        left = leave_a_child()
    try:
        state = flow.run(executor=ProcessExecutor(1)).result[left]

        assert is_running(int(mark.read_text()))
        assert "exit code 3" in str(state.message)
    finally:
        os.kill(int(mark.read_text()), signal.SIGKILL)


def test_an_interrupt_is_not_for_the_process_that_runs_a_task() -> None:
    @task
    def interrupt() -> str:
        os.kill(os.getpid(), signal.SIGINT)
        return "not interrupted"

    with Flow("a flow") as flow:
        interrupted = interrupt()

    assert flow.run(executor=ProcessExecutor(1)).result[interrupted].result == "not interrupted"


def test_not_even_the_first_process_can_be_interrupted_while_it_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    blocked: list[bool] = []
    real = fork_exec.fork_exec

    def look(*args: object, **more: object) -> object:
        blocked.append(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ()))
        return real(*args, **more)

    monkeypatch.setattr(fork_exec, "fork_exec", look)
    # As in a program that has started no process yet.
    resource_tracker._resource_tracker._stop()  # type: ignore[attr-defined]

    worker = Worker()
    worker.close()
    worker.join()

    assert blocked == [True]


def test_a_task_can_use_what_is_beside_it_in_a_module_that_cannot_be_imported(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "loaded_from_a_file.py"
    file.write_text("def double(x):\n    return 2 * x\n\ndef run():\n    return double(21)\n")
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, file.stem, module)
    spec.loader.exec_module(module)
    with Flow("a flow") as flow:
        used = task(module.run)()

    # Somewhere else than here, where the file would be found.
    monkeypatch.chdir(tmp_path.parent)

    assert flow.run(executor=ProcessExecutor(1)).result[used].result == 42


def test_no_key_crosses_the_pipe(isolated: Path, messages: list[bytes], tmp_path: Path) -> None:
    kept = zeros.copy(result_serializer="pickle", result_storage=tmp_path / "kept", cache_result_in_memory=False)
    with Flow("a flow") as flow:
        last = length(kept(10))

    state = flow.run(executor="processes")

    assert state.result[last].result == 10
    (key,) = tomllib.loads((isolated / "keyring.toml").read_text())["keys"].values()
    seen = b"".join(messages)
    # Where the keys are crosses it, so that the check would see them.
    assert str(isolated / "keyring.toml").encode() in seen
    assert key["secret"].encode() not in seen
    assert base64.b64decode(key["secret"]) not in seen


@pytest.mark.parametrize("source", ["environment", "descriptor"])
def test_keys_that_only_this_process_has_are_lent_to_workers(
    source: str, isolated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, messages: list[bytes]
) -> None:
    key = Key.generate()
    text = f'version = 1\nprimary = "{key.id}"\n[keys.{key.id}]\nsecret = "{base64.b64encode(key.secret).decode()}"\n'
    given, taken = os.pipe()
    os.set_inheritable(given, True)
    os.write(taken, text.encode())
    os.close(taken)
    monkeypatch.setattr(_held_keys, "_held", {})
    monkeypatch.setenv("STRONGROOM_KEYS_SOURCE", source)
    monkeypatch.setenv("STRONGROOM_KEYS_DESCRIPTOR", str(given))
    if source == "environment":
        monkeypatch.setenv("STRONGROOM_KEYRING", text)
        os.close(given)
    kept = zeros.copy(result_serializer="pickle", result_storage=tmp_path / "kept", cache_result_in_memory=False)
    with Flow("a flow") as flow:
        last = length(kept(10))
        variables = seen_variables(upstream_tasks=[last])

    states = flow.run(executor="processes").result

    assert states[last].result == 10
    assert "STRONGROOM_KEYRING" not in states[variables].result
    assert not (isolated / "keyring.toml").exists()
    # Lent through a pipe, they are in none of the messages that are pickled.
    assert not [message for message in messages if key.secret in message or key.secret.hex().encode() in message]


def test_a_value_that_is_not_to_stay_in_memory_does_not_cross_the_pipe(messages: list[bytes], tmp_path: Path) -> None:
    kept = zeros.copy(result_serializer="pickle", result_storage=tmp_path / "kept", cache_result_in_memory=False)
    with Flow("a flow") as flow:
        last = length(kept(1 << 20))

    assert flow.run(executor="processes").result[last].result == 1 << 20
    assert 0 < max(map(len, messages)) < 1 << 14


def test_references_are_read_where_the_task_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    kept = zeros.copy(result_serializer="pickle", result_storage=tmp_path / "kept", cache_result_in_memory=False)
    with Flow("a flow") as flow:
        last = length.map(kept.map([1, 2, 3]))
    # In this process only: others import the real one.
    monkeypatch.setattr(ResultStore, "read", None)

    assert flow.run(executor="processes").result[last].result == [1, 2, 3]


def test_a_document_that_may_not_leave_fails_its_task(veto: None) -> None:
    with Flow("a flow") as flow:
        found = pid()

    state = flow.run(executor="processes").result[found]

    assert isinstance(state, Failed)
    assert "did not let a document of 'pid' out" in str(state.message)


def test_storage_that_no_other_process_can_see_is_refused() -> None:
    with Flow("a flow") as flow:
        kept = zeros.copy(result_serializer="pickle", result_storage="memory://nobody")(1)

    state = flow.run(executor="processes").result[kept]

    assert isinstance(state, Failed)
    assert isinstance(state.result.__cause__, NotSupportedError)
    assert str(state.result.__cause__) in str(state.message)


def last_states() -> dict[str, str]:
    """By task, "" for the flow, the state that the one run in the home ended in."""
    project = Project.open()
    with project.open_backend() as backend:
        (run_id,) = backend.runs()
        return {document.task: document.type for document in project.documents(backend, run_id) if document.type}


SCRIPT = """
import os, sys, time
from pathlib import Path
from strongroom import Flow, task
from strongroom_processes.executor import ProcessExecutor

class Pair:
    def __init__(self, left):
        self.left = left

@task
def pair():
    return Pair(4)

@task
def wait(name):
    Path(name + ".tmp").write_text(str(os.getpid()))
    Path(name + ".tmp").rename(name)
    if "in one call" in sys.argv:
        # No other thread of the process runs meanwhile.
        sum(range(10**13))
    while "for ever" in sys.argv:
        time.sleep(0.1)

with Flow("script") as flow:
    made = pair()
    for name in ("one.pid", "two.pid"):
        wait(name)

result = flow.run(executor=ProcessExecutor(2)).result[made].result
print(type(result) is Pair, result.left)
"""


@contextlib.contextmanager
def start(folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    (folder / "script.py").write_text(SCRIPT)
    with subprocess.Popen(
        [sys.executable, "script.py", *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as script:
        try:
            yield script
        finally:
            # Whatever the test found: nothing of this goes on. The group may be gone, as it should be.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(script.pid, signal.SIGKILL)


def test_a_script_needs_no_guard_and_gets_its_own_classes_back(tmp_path: Path) -> None:
    with start(tmp_path) as script:
        out, err = script.communicate(timeout=PATIENCE)

    assert (out, err) == ("True 4\n", "")


@pytest.mark.parametrize(
    ("how", "what"),
    [(signal.SIGINT, "for ever"), (signal.SIGKILL, "for ever"), (signal.SIGINT, "in one call")]
    + [(signal.SIGKILL, "in one call")] * hasattr(fcntl, "F_SETSIG"),
)
def test_nothing_is_left_running_when_the_run_is_stopped(tmp_path: Path, how: signal.Signals, what: str) -> None:
    marks = [tmp_path / "one.pid", tmp_path / "two.pid"]
    with start(tmp_path, what) as script:
        wait_until(lambda: all(mark.exists() for mark in marks) or script.poll() is not None)
        workers = [int(mark.read_text()) for mark in marks]

        if how == signal.SIGINT:
            os.killpg(script.pid, how)  # as a terminal does it
        else:
            script.kill()
        _, err = script.communicate(timeout=PATIENCE)
        wait_until(lambda: not any(is_running(worker) for worker in workers))

    if how == signal.SIGINT:
        assert re.findall(r"^\w*(?:Error|Interrupt)\b", err, flags=re.MULTILINE) == ["KeyboardInterrupt"]
        assert script.returncode != 0
        assert last_states() == {"": "Cancelled", "pair": "Success", "wait": "Cancelled", "wait-2": "Cancelled"}


def test_a_process_that_cannot_mask_what_this_one_does_calls_nothing(tmp_path: Path) -> None:
    mark = tmp_path / "called"
    worker = Worker()
    # The settings were right when this process looked.
    Path("strongroom.toml").write_text("[masked]\nnosuch = 1\n")
    worker._masks = b"yes"

    answer = pickle.loads(worker.call(cloudpickle.dumps((Path.touch, (mark,)))))
    worker.close()
    worker.join()

    assert isinstance(answer[1], TransferError)
    assert "see that the worker has the same plugins and settings" in str(answer[1])
    assert not mark.exists()
