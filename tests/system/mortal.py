# SPDX-License-Identifier: Apache-2.0
"""What does the process do that dies in `test_crash.py`? It writes results; it is a script, and imports no pytest."""

from __future__ import annotations

import os
import resource
import secrets
import signal
import sys

from strongroom import Keyring, ResultStore
from strongroom.errors import StrongroomError
from strongroom.keyring import Key

__all__ = ["KEY", "a_store", "value"]

KEY = "reports/current"


def a_store(folder: str) -> ResultStore:
    """Where the process that dies writes, and the test reads."""
    return ResultStore(folder, serializer="json", keyring=Keyring([Key(bytes(32))]), allow=())


def value(number: int) -> list[object]:
    """A value that tells its number, and whether all of it is there."""
    return [number, "0123456789abcdef" * 6_000, number]


def write_for_ever(folder: str, start: str) -> None:
    """Write one version after the other under one key, and each under a key of its own; say what is acknowledged."""
    store = a_store(folder)
    for number in range(int(start), int(start) + 10_000):
        store.write(value(number), KEY)
        os.write(1, b"current %d\n" % number)
        receipt = store.write(value(number), f"runs/{secrets.token_hex(16)}")
        os.write(1, f"{receipt.key} {number}\n".encode())


def die_again_and_again(folder: str) -> None:
    """For each number that is read, fork a process that writes from there on; say its pid, and when it has died."""
    for line in sys.stdin:
        pid = os.fork()
        if not pid:
            write_for_ever(folder, line)
            os._exit(0)
        os.write(1, b"pid %d\n" % pid)
        os.waitpid(pid, 0)
        os.write(1, b"dead\n")


def replace_once(folder: str, number: str) -> None:
    """Write one version under the key, and say how that went."""
    try:
        a_store(folder).write(value(int(number)), KEY)
    except StrongroomError as error:
        print(error)  # noqa: T201  # to whoever started this script
    else:
        print("acknowledged")  # noqa: T201


def replace_in_forks(folder: str) -> None:
    """For each number that is read, fork a process that stops, writes that version, and says how that went."""
    store = a_store(folder)
    # Whatever is imported late is imported now: a fork makes the calls of a commit and no others.
    store.write(value(0), "warm/up")
    for line in sys.stdin:
        pid = os.fork()
        if not pid:
            os.kill(os.getpid(), signal.SIGSTOP)
            try:
                store.write(value(int(line)), KEY)
                said = "acknowledged"
            except StrongroomError as error:
                said = str(error)
            except BaseException as error:  # what no caller expects
                said = f"ESCAPED {type(error).__name__}: {error}"
            os.write(1, f"{said}\n".encode())
            os._exit(0)
        os.waitpid(pid, os.WUNTRACED)
        os.write(1, b"pid %d\n" % pid)
        os.waitpid(pid, 0)
        os.write(1, b"dead\n")


def replace_within_limits(folder: str, *limits: str) -> None:
    """Write version 1 where no file may have more than so many bytes; say which version is there then, and why."""
    store = a_store(folder)
    store.write(value(0), "warm/up")
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    for limit in limits:
        store.write(value(0), KEY)
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), most))
        try:
            store.write(value(1), KEY)
            said = "acknowledged"
        except StrongroomError as error:
            said = str(error)
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
        found = store.read(KEY).result
        print(found[0] if found in (value(0), value(1)) else "torn", said)  # type: ignore[index]  # noqa: T201


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
