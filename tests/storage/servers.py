# SPDX-License-Identifier: Apache-2.0
"""Real servers for the storages, each a process of its own in a temporary folder on a free port."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PASSWORD = "canary-of-a-password"
_PATIENCE = 300.0
STARTED: list[subprocess.Popen[bytes]] = []
"""All processes that were started, so that those can be ended whose server never came up."""


class CannotStartError(Exception):
    """Why a server cannot run here."""


@dataclass
class Server:
    """A server that runs, and what leads to a place in it."""

    port: int
    place: Callable[[str], Any]
    """A name -> what `ResultStore` takes as a storage."""
    stranger: Callable[[str], Any] | None = None
    """The same with credentials that are wrong; None if the server asks for none."""
    missing: Any = None
    """A place in a bucket that is not there."""
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    kind: str = ""
    """Which of `STARTS` or `READ_ONLY` it is."""
    files: Path | None = None
    """The folder that it shows to readers; None if it takes what is written to it."""

    def kill(self) -> None:
        """End it without a chance to say goodbye."""
        self._signal(signal.SIGKILL)
        for process in self.processes:
            process.wait()

    def hang(self) -> None:
        """Let it take what it is sent, and answer nothing any more."""
        self._signal(signal.SIGSTOP)

    def _signal(self, number: signal.Signals) -> None:
        for process in self.processes:
            for pid in [*_descendants(process.pid), process.pid]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)


def _descendants(pid: int) -> list[int]:
    """What *pid* started, such as a server's process for each connection."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    try:
        found = [int(child) for child in children.read_text().split()]
    except OSError:
        return []
    return found + [deep for child in found for deep in _descendants(child)]


def free_port(count: int = 1) -> int:
    """The first of *count* neighbouring ports that nobody uses.

    Not one of those that the system gives to whoever asks for any: it may do that before a server has bound it, even
    to the one who waits for that server.
    """
    while True:
        port = random.randrange(10_000, 32_000)
        try:
            for number in range(port, port + count):
                with socket.socket() as other:
                    other.bind(("127.0.0.1", number))
        except OSError:
            continue
        return port


def start(command: Sequence[str | Path], folder: Path, env: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
    log = (folder / f"{Path(command[0]).name}-{time.monotonic_ns()}.log").open("wb")
    with log:
        process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=folder,
            env={**os.environ, **(env or {})},
        )
    STARTED.append(process)
    return process


def wait_until(port: int, process: subprocess.Popen[bytes], url: str = "") -> None:
    """Wait until *process* answers at *port*, over HTTP if there is a *url*."""
    give_up = time.monotonic() + _PATIENCE
    while time.monotonic() < give_up:
        if process.poll() is not None:
            raise CannotStartError(f"{Path(str(process.args[0])).name} ended with {process.returncode}")
        try:
            if not url:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{url}", timeout=5):
                return
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.05)  # the process has no way to tell that it listens
    process.kill()
    process.wait()
    raise CannotStartError(f"{Path(str(process.args[0])).name} did not answer")


def need(*modules: str) -> None:
    for name in modules:
        if importlib.util.find_spec(name) is None:
            raise CannotStartError(f"the module {name} is not installed")


def program(name: str) -> str:
    """A program beside this Python, or on the path."""
    found = shutil.which(name, path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}")
    found = found or shutil.which(name, path="/usr/sbin")
    if found is None:
        raise CannotStartError(f"there is no {name} here")
    return found


def s3_options(port: int, key: str, secret: str) -> dict[str, Any]:
    return {
        "key": key,
        "secret": secret,
        "endpoint_url": f"http://127.0.0.1:{port}",
        "config_kwargs": {"s3": {"addressing_style": "path"}, "retries": {"max_attempts": 1}, "connect_timeout": 20},
    }


def start_s3(folder: Path) -> Server:
    need("moto", "s3fs", "flask")
    port = free_port()
    process = start([sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], folder)
    wait_until(port, process, "/moto-api/")
    server = _s3_server(port, "testing", "testing", [process])
    # It takes any key for the right one.
    server.stranger = None
    return server


def _s3_server(port: int, key: str, secret: str, processes: list[subprocess.Popen[bytes]]) -> Server:
    import s3fs

    options = s3_options(port, key, secret)
    s3fs.S3FileSystem(**options).mkdir("bucket")
    return Server(
        port,
        lambda name: (f"s3://bucket/{name}", options),
        lambda name: (f"s3://bucket/{name}", s3_options(port, key, PASSWORD)),
        ("s3://nowhere/results", options),
        processes,
    )


def start_swift(folder: Path) -> Server:
    need("swift", "s3fs")
    port = free_port(4)
    subprocess.run([sys.executable, HERE / "swift_config.py", folder, str(port)], check=True, capture_output=True)
    processes = [
        start([program(f"swift-{name}-server"), folder / f"{name}-server.conf", "-v"], folder)
        for name in ("account", "container", "object", "proxy")
    ]
    wait_until(port, processes[-1], "/healthcheck")
    for number in (1, 2, 3):
        wait_until(port + number, processes[number - 1])
    return _s3_server(port, "test:tester", "testing", processes)


def start_azure(folder: Path) -> Server:
    need("adlfs")
    script = os.environ.get("STRONGROOM_TEST_AZURITE") or program("azurite-blob")
    port = free_port()
    command = ["node", script] if script.endswith(".js") else [script]
    arguments = ["--silent", "--location", folder, "--blobHost", "127.0.0.1", "--blobPort", str(port)]
    process = start(
        [program(command[0]), *command[1:], *arguments, "--skipApiVersionCheck", "--disableTelemetry"], folder
    )
    wait_until(port, process, "/")
    # The account that azurite has for everybody who tries it out.
    key = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="

    def options(key: str) -> dict[str, Any]:
        endpoint = f"http://127.0.0.1:{port}/devstoreaccount1"
        text = f"DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey={key};BlobEndpoint={endpoint};"
        return {"account_name": "devstoreaccount1", "connection_string": text}

    import adlfs

    adlfs.AzureBlobFileSystem(**options(key)).mkdir("bucket")
    wrong = "Y2FuYXJ5LW9mLWEtcGFzc3dvcmQ="
    return Server(
        port,
        lambda name: (f"abfs://bucket/{name}", options(key)),
        lambda name: (f"abfs://bucket/{name}", options(wrong)),
        ("abfs://nowhere/results", options(key)),
        [process],
    )


def start_gcs(folder: Path) -> Server:
    need("gcsfs", "gcp_storage_emulator")
    # gcsfs waits a minute for a service that no emulator has, unless it is told otherwise.
    os.environ["GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT"] = "false"
    port = free_port()
    command = [program("gcp-storage-emulator"), "start", "--host", "127.0.0.1", "--port", str(port), "--in-memory"]
    process = start([*command, "--default-bucket", "bucket"], folder)
    wait_until(port, process, "/storage/v1/b")
    options = {"endpoint_url": f"http://127.0.0.1:{port}", "token": "anon", "project": "test"}
    return Server(
        port,
        lambda name: (f"gs://bucket/{name}", options),
        missing=("gs://nowhere/results", options),
        processes=[process],
    )


def start_sftp(folder: Path) -> Server:
    need("sshfs")
    sshd, keygen = program("sshd"), program("ssh-keygen")
    for name in ("host", "user", "stranger"):
        subprocess.run([keygen, "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    shutil.copy(folder / "user.pub", folder / "authorized")
    port = free_port()
    (folder / "sshd_config").write_text(
        f"ListenAddress 127.0.0.1\nPort {port}\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/authorized\n"
        f"PidFile {folder}/sshd.pid\nUsePAM no\nStrictModes no\nPasswordAuthentication no\nPermitRootLogin yes\n"
        "MaxStartups 100\nSubsystem sftp internal-sftp\n"
    )
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    process = start([sshd, "-D", "-e", "-f", folder / "sshd_config"], folder)
    wait_until(port, process)
    return _sftp_server(port, folder, process)


def start_asyncssh(folder: Path) -> Server:
    need("sshfs", "asyncssh")
    import asyncssh

    for name in ("host", "user", "stranger"):
        key = asyncssh.generate_private_key("ssh-ed25519")
        key.write_private_key(folder / name)
        key.write_public_key(folder / f"{name}.pub")
    shutil.copy(folder / "user.pub", folder / "authorized")
    port = free_port()
    process = start([sys.executable, HERE / "serve_sftp.py", folder, str(port)], folder)
    wait_until(port, process)
    return _sftp_server(port, folder, process)


def _sftp_server(port: int, folder: Path, process: subprocess.Popen[bytes]) -> Server:
    import getpass

    (folder / "files").mkdir()
    known = folder / "known_hosts"
    known.write_text(f"[127.0.0.1]:{port} {(folder / 'host.pub').read_text()}")

    def place(key: str, name: str) -> tuple[str, dict[str, Any]]:
        options = {"username": getpass.getuser(), "client_keys": [str(folder / key)], "known_hosts": str(known)}
        return f"sftp://127.0.0.1:{port}{folder}/files/{name}", options

    return Server(port, lambda name: place("user", name), lambda name: place("stranger", name), processes=[process])


def start_webdav(folder: Path) -> Server:
    need("webdav4", "wsgidav", "cheroot")
    (folder / "files").mkdir()
    port = free_port()
    process = start([sys.executable, HERE / "serve_webdav.py", folder / "files", str(port)], folder)
    wait_until(port, process)

    def place(secret: str, name: str) -> tuple[str, dict[str, Any]]:
        return f"webdav://{name}", {"base_url": f"http://127.0.0.1:{port}/", "auth": ("user", secret), "timeout": 10}

    return Server(port, lambda name: place("right", name), lambda name: place(PASSWORD, name), processes=[process])


def start_ftp(folder: Path) -> Server:
    need("pyftpdlib")
    (folder / "files").mkdir()
    port = free_port()
    process = start([sys.executable, HERE / "serve_ftp.py", folder / "files", str(port)], folder)
    wait_until(port, process)

    def place(secret: str, name: str) -> tuple[str, dict[str, Any]]:
        return f"ftp://127.0.0.1:{port}/{name}", {"username": "user", "password": secret, "timeout": 10}

    return Server(port, lambda name: place("right", name), lambda name: place(PASSWORD, name), processes=[process])


def start_http(folder: Path) -> Server:
    """What serves ranges."""
    need("aiohttp")
    return _http(folder, [sys.executable, HERE / "serve_http.py"])


def start_http_plain(folder: Path) -> Server:
    """What always sends all of a file."""
    need("aiohttp")
    return _http(folder, [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", "--directory"])


def _http(folder: Path, command: Sequence[str | Path]) -> Server:
    (folder / "files").mkdir()
    port = free_port()
    process = start([*command, folder / "files", str(port)], folder)
    wait_until(port, process, "/")
    place = f"http://127.0.0.1:{port}"
    return Server(port, lambda name: f"{place}/{name}", processes=[process], files=folder / "files")


STARTS: Mapping[str, Callable[[Path], Server]] = {
    "s3": start_s3,
    "swift": start_swift,
    "azure": start_azure,
    "gcs": start_gcs,
    "sftp": start_sftp,
    "asyncssh": start_asyncssh,
    "webdav": start_webdav,
    "ftp": start_ftp,
}
READ_ONLY: Mapping[str, Callable[[Path], Server]] = {"http": start_http, "http-plain": start_http_plain}
# What one factor of tox tests.
FACTORS: Mapping[str, tuple[str, ...]] = {
    "local": ("local", "memory"),
    "sftp": ("sftp", "asyncssh"),
    "http": ("http", "http-plain"),
}
