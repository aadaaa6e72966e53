# SPDX-License-Identifier: Apache-2.0
"""What do the tests of keys in KMS share? A server that answers like KMS, and one that answers what a test wants."""

from __future__ import annotations

import importlib.util
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from .service import SECRET_ACCESS_KEY, Service, free_port

_PATIENCE = 180.0
_SERVE = "import sys; from moto.server import main; main(sys.argv[1:])"


def _listens(port: int, process: subprocess.Popen[bytes]) -> bool:
    give_up = time.monotonic() + _PATIENCE
    while process.poll() is None and time.monotonic() < give_up:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return process.poll() is None
        except OSError:
            time.sleep(0.05)  # the process has no way to tell that it listens
    return False


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of moto's server, a process of its own."""
    missing = [name for name in ("moto", "flask", "flask_cors") if importlib.util.find_spec(name) is None]
    if missing:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(
            f"{missing[0]} is not installed, which is in the dependency group `test`"
        )
    for _ in range(3):
        # Another may have bound it by the time that the server does.
        port = free_port()
        with (tmp_path_factory.mktemp("kms") / "log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-c", _SERVE, "-H", "127.0.0.1", "-p", str(port)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            if _listens(port, process):
                yield f"http://127.0.0.1:{port}"
                return
        finally:
            process.kill()
            process.wait()
    pytest.fail("moto's server did not come up")


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of this machine's own settings for AWS, and credentials with a canary."""
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    for name, value in {
        "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
        "AWS_SECRET_ACCESS_KEY": SECRET_ACCESS_KEY,
        "AWS_REGION": "eu-central-1",
        "AWS_DEFAULT_REGION": "eu-central-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": str(tmp_path / "no-config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "no-credentials"),
    }.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def service(server: str, aws: None, monkeypatch: pytest.MonkeyPatch) -> Service:
    monkeypatch.setenv("AWS_ENDPOINT_URL_KMS", server)
    return Service(server)


@pytest.fixture
def name(service: Service, tmp_path: Path) -> str:
    """The alias of a key that is this test's alone."""
    alias = f"alias/{tmp_path.name}"
    service.make_key(alias)
    return alias


class _Refusing(BaseHTTPRequestHandler):
    code: ClassVar[str] = ""

    def do_POST(self) -> None:
        answer = json.dumps({"__type": self.code, "message": "canary of what AWS says"}).encode()
        self.send_response(400)
        self.send_header("Content-Type", "application/x-amz-json-1.1")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def refusing(aws: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Has all that is asked of KMS answered with an error of the given code."""
    httpd = HTTPServer(("127.0.0.1", 0), _Refusing)
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("AWS_ENDPOINT_URL_KMS", f"http://127.0.0.1:{httpd.server_port}")
    yield lambda code: setattr(_Refusing, "code", code)
    httpd.shutdown()
    thread.join()
    httpd.server_close()
