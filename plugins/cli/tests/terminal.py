# SPDX-License-Identifier: Apache-2.0
"""How do the tests start the real command, in a pipe or in a terminal?"""

from __future__ import annotations

import fcntl
import functools
import io
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pytest
import typer

from strongroom.keyring import Keyring
from strongroom_cli import main

__all__ = ["Done", "Terminal"]

COMMAND = (sys.executable, "-m", "strongroom_cli")
# Typer puts all commands together anew for each call, which takes several times as long as the call itself.
_put_together = functools.cache(typer.main.get_command)
_CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@dataclass(frozen=True)
class Done:
    """What a command has left behind."""

    code: int
    out: str
    err: str = ""

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    @property
    def plain(self) -> str:
        """What a terminal got, without colours and without moving the cursor."""
        return _CODES.sub("", self.out).replace("\r\n", "\n")


@dataclass(frozen=True)
class Terminal:
    """Runs the command in a folder and with a home of its own."""

    folder: Path

    @property
    def home(self) -> Path:
        return self.folder / "home"

    def environment(self, **more: str) -> dict[str, str]:
        # PYTHONUNBUFFERED is left out: what is printed at the end must come out in order without it.
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("STRONGROOM_", "COLUMNS"))}
        kept = {name: value for name, value in kept.items() if name not in {"NO_COLOR", "FORCE_COLOR"}}
        return {**kept, "STRONGROOM_HOME": str(self.home), "HOME": str(self.folder), "TERM": "xterm-256color", **more}

    def replace_keyring(self) -> None:
        """Put a keyring in the place of the project's that opens nothing of what it has kept."""
        Keyring.open_or_create(self.folder / "other.toml")
        (self.folder / "other.toml").replace(self.home / "keyring.toml")

    def run(self, *arguments: str, **environment: str) -> Done:
        """Run the command with pipes."""
        done = subprocess.run(
            [*COMMAND, *arguments],
            cwd=self.folder,
            env=self.environment(**environment),
            capture_output=True,
            check=False,
            timeout=240,
        )
        return Done(done.returncode, done.stdout.decode(errors="surrogateescape"), done.stderr.decode())

    def call(self, *arguments: str, **environment: str) -> Done:
        """Run the command in this process: like `run`, without the second that its imports take."""
        out, err = (io.TextIOWrapper(io.BytesIO(), write_through=True) for _ in range(2))
        with pytest.MonkeyPatch.context() as patch, _modules_left_alone():
            wanted = self.environment(**environment)
            for name in set(os.environ) - set(wanted):
                patch.delenv(name)
            for name, value in wanted.items():
                patch.setenv(name, value)
            patch.chdir(self.folder)
            patch.setattr(typer.main, "get_command", _put_together)
            patch.setattr(sys, "argv", ["strongroom", *arguments])
            patch.setattr(sys, "path", list(sys.path))
            patch.setattr(sys, "stdout", out)
            patch.setattr(sys, "stderr", err)
            with pytest.raises(SystemExit) as left:
                main()
        code = left.value.code
        return Done(code if isinstance(code, int) else 0, _text(out), _text(err))

    def see(self, *arguments: str, width: int = 80, **environment: str) -> Done:
        """Run the command in a terminal; both of its outputs come out there."""
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 30, width, 0, 0))
        process = subprocess.Popen(
            [*COMMAND, *arguments],
            cwd=self.folder,
            env=self.environment(**environment),
            stdin=slave,
            stdout=slave,
            stderr=slave,
        )
        os.close(slave)
        # What it waits for may never come.
        end = threading.Timer(240, process.kill)
        end.start()
        try:
            out = _all_of(master)
            return Done(process.wait(), out)
        finally:
            end.cancel()

    def interrupt(self, marker: str, *arguments: str, again: str = "") -> Done:
        """Run the command with pipes, and press ctrl-C once it has printed a line with *marker*.

        If it is to be pressed *again*, that happens once there is an error with this text.
        """
        process = self.start(*arguments)
        # Whatever is not said as it should be, nobody waits for it for ever.
        end = threading.Timer(240, process.kill)
        end.start()
        try:
            seen = _read_until(marker, process.stdout, process)
            process.send_signal(signal.SIGINT)
            told = b""
            if again:
                told = _read_until(again, process.stderr, process)
                process.send_signal(signal.SIGINT)
            out, err = process.communicate()
        finally:
            end.cancel()
            process.kill()
        return Done(process.returncode, (seen + out).decode(), (told + err).decode())

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start the command with pipes."""
        return subprocess.Popen(
            [*COMMAND, *arguments],
            cwd=self.folder,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def write(self, name: str, text: str) -> None:
        """Write a file into the folder."""
        (self.folder / name).write_text(text, encoding="utf-8")


@contextmanager
def _modules_left_alone() -> Iterator[None]:
    """Forget the modules that are imported from a folder of a test: another test has others of the same names."""
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if "pytest-of-" in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def _read_until(marker: str, stream: IO[bytes] | None, process: subprocess.Popen[bytes]) -> bytes:
    assert stream is not None
    seen = b""
    while marker.encode() not in seen:
        line = stream.readline()
        assert line, (seen, process.communicate())
        seen += line
    return seen


def _text(stream: io.TextIOWrapper) -> str:
    buffer = stream.buffer
    assert isinstance(buffer, io.BytesIO)
    return buffer.getvalue().decode()


def _all_of(master: int) -> str:
    out = b""
    try:
        # Linux says EIO where the other side is closed.
        while piece := os.read(master, 65536):
            out += piece
    except OSError:
        pass
    finally:
        os.close(master)
    return out.decode(errors="replace")
