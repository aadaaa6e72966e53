# SPDX-License-Identifier: Apache-2.0
"""What does the process do that dies in `test_crash.py`? It writes results; it is a script, and imports no pytest."""

from __future__ import annotations

import os
import resource
import secrets
import signal
import sys
import threading

from strongroom import Keyring, ResultStore, _local_storage
from strongroom.errors import StrongroomError
from strongroom.keyring import Key

__all__ = ["KEY", "a_large_store", "a_store", "large", "value"]

KEY = "reports/current"
# Sooner than usual, so that less has to be written to see it.
_local_storage._AHEAD = 8 << 20  # type: ignore[misc]  # a constant for everybody else
LARGE = 24 << 20
"""So much that it is hashed by a second thread, and that a third one lets the disk begin before all is written."""


def a_store(folder: str) -> ResultStore:
    """Where the process that dies writes, and the test reads."""
    return ResultStore(folder, serializer="json", keyring=Keyring([Key(bytes(32))]), allow=())


def value(number: int) -> list[object]:
    """A value that tells its number, and whether all of it is there."""
    return [number, "0123456789abcdef" * 6_000, number]


def a_large_store(folder: str) -> ResultStore:
    """The same, for what is large."""
    return ResultStore(folder, serializer="json.bytes", keyring=Keyring([Key(bytes(32))]), allow=())


def large(number: int) -> bytes:
    """A large value that tells its number, and whether all of it is there."""
    return bytes([number]) * LARGE


SIZES = {"small": (a_store, value), "large": (a_large_store, large)}


def write_for_ever(store: ResultStore, start: int) -> None:
    """Write one version after the other under one key, and each under a key of its own; say what is acknowledged."""
    for number in range(start, start + 10_000):
        store.write(value(number), KEY)
        os.write(1, b"current %d\n" % number)
        receipt = store.write(value(number), f"runs/{secrets.token_hex(16)}")
        os.write(1, f"{receipt.key} {number}\n".encode())


def die_again_and_again(folder: str) -> None:
    """For each number that is read, fork a process that writes from there on; say its pid, and when it has died."""
    store = a_store(folder)
    # Whatever is imported late is imported now: a life is spent on writing, and on nothing else.
    store.write(value(0), "warm/up")
    for line in sys.stdin:
        pid = os.fork()
        if not pid:
            # Not by its parent, which may be late: whoever kills it has to know it before anything else.
            os.write(1, b"pid %d\n" % os.getpid())
            write_for_ever(store, int(line))
            os._exit(0)
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


def die_while_syncing(when: int, *, after: bool) -> None:
    """Let this process die before or after the disk is told to begin with a large record for that many times."""
    fsync, seen = os.fsync, iter(range(1, 1000))

    def deadly(descriptor: int) -> None:
        deadly_now = threading.current_thread().name == "strongroom-sync" and next(seen) == when
        if deadly_now and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        fsync(descriptor)
        if deadly_now:
            os.kill(os.getpid(), signal.SIGKILL)

    os.fsync = deadly  # type: ignore[assignment]  # nobody but us calls it


def replace_in_forks(folder: str, size: str = "small") -> None:
    """For each number that is read, fork a process that stops, writes that version, and says how that went.

    After the number there may be at which of the syncs that are begun early it dies, and whether before or after it.
    """
    open_store, make = SIZES[size]
    store = open_store(folder)
    # Whatever is imported late is imported now: a fork makes the calls of a commit and no others.
    store.write(make(0), "warm/up")
    for line in sys.stdin:
        pid = os.fork()
        if not pid:
            os.kill(os.getpid(), signal.SIGSTOP)
            number, *dying = line.split()
            if dying:
                die_while_syncing(int(dying[0]), after=dying[1] == "after")
            try:
                store.write(make(int(number)), KEY)
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


def replace_within_limits(folder: str, size: str, *limits: str) -> None:
    """Write version 1 where no file may have more than so many bytes; say which version is there then, and why."""
    open_store, make = SIZES[size]
    store = open_store(folder)
    store.write(make(0), "warm/up")
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    for limit in limits:
        store.write(make(0), KEY)
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), most))
        try:
            store.write(make(1), KEY)
            said = "acknowledged"
        except StrongroomError as error:
            said = str(error)
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
        with store.read(KEY) as record:
            found = record.result
        print(found[0] if found in (make(0), make(1)) else "torn", said)  # type: ignore[index]  # noqa: T201


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
