# SPDX-License-Identifier: Apache-2.0
"""How do the tests start the real command, in a pipe or in a terminal?"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Done", "Terminal"]

COMMAND = (sys.executable, "-m", "strongroom_cli")
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

    def run(self, *arguments: str, **environment: str) -> Done:
        """Run the command with pipes."""
        done = subprocess.run(
            [*COMMAND, *arguments],
            cwd=self.folder,
            env=self.environment(**environment),
            capture_output=True,
            check=False,
            timeout=60,
        )
        return Done(done.returncode, done.stdout.decode(errors="surrogateescape"), done.stderr.decode())

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
        out = _all_of(master)
        return Done(process.wait(60), out)

    def interrupt(self, marker: str, *arguments: str) -> Done:
        """Run the command with pipes, and press ctrl-C once it has printed a line with *marker*."""
        process = self.start(*arguments)
        assert process.stdout is not None
        assert process.stderr is not None
        with process:
            seen = b""
            while marker.encode() not in seen:
                line = process.stdout.readline()
                assert line, process.stderr.read().decode()
                seen += line
            process.send_signal(signal.SIGINT)
            seen += process.stdout.read()
            return Done(process.wait(60), seen.decode(), process.stderr.read().decode())

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
