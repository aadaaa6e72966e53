# SPDX-License-Identifier: Apache-2.0
"""Does each document of a run follow the one before it, whoever sent it and with which key?"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from strongroom import Flow, task
from strongroom._links import Chain, Links
from strongroom._memory_backend import MemoryBackend
from strongroom.abc import Envelope
from strongroom.keyring import Key, Keyring
from strongroom.project import Project
from strongroom.triggers import manual_only

OLD, NEW = Key(b"\x01" * 32), Key(b"\x02" * 32)


def an_envelope(keyring: Keyring, sequence: int) -> Envelope:
    return Envelope("a" * 32, "t", -1, sequence, "state", "t", "Success", 1, 1, keyring.seal(b"x", b""))


def test_threads_that_send_at_once_make_one_chain() -> None:
    keyring, sent = Keyring([OLD]), []
    links = Links(keyring, sent.append)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda number: links.put(an_envelope(keyring, number)), range(400)))

    chain = Chain(keyring)
    assert all(chain.follow(each) for each in sent)
    assert chain.head == links.head


def test_a_chain_goes_on_under_a_new_key_and_in_another_process() -> None:
    before, after, sent = Keyring([OLD]), Keyring([NEW, OLD]), []
    first = Links(before, sent.append)
    first.put(an_envelope(before, 0))
    second = Links(after, sent.append, first.head)
    second.put(an_envelope(after, 1))

    chain = Chain(after)
    assert [chain.follow(each) for each in sent] == [True, True]
    # Whoever does not have the new key cannot tell.
    chain = Chain(before)
    assert [chain.follow(each) for each in sent] == [True, False]


def test_what_could_not_be_handed_on_leaves_no_gap() -> None:
    keyring, sent = Keyring([OLD]), []

    def put(envelope: Envelope) -> None:
        if envelope.sequence == 1:
            raise ValueError
        sent.append(envelope)

    links = Links(keyring, put)
    for number in range(3):
        try:
            links.put(an_envelope(keyring, number))
        except ValueError:
            continue

    chain = Chain(keyring)
    assert [chain.follow(each) for each in sent] == [True, True]


def test_a_chain_misses_what_must_be_there_until_it_comes() -> None:
    keyring, sent = Keyring([OLD]), []
    links = Links(keyring, sent.append)
    heads = []
    for number in range(3):
        links.put(an_envelope(keyring, number))
        heads.append(links.head)

    chain = Chain(keyring, heads[1])
    seen = [(chain.follow(each), chain.is_cut, chain.is_at_known) for each in sent]

    assert seen == [(True, True, False), (True, False, True), (True, False, False)]
    assert not Chain(keyring).is_cut
    # What comes in another order is not what must be there.
    chain = Chain(keyring, heads[1])
    assert [chain.follow(sent[1]), chain.is_cut, chain.is_at_known] == [False, True, False]


def test_a_resumed_run_is_one_chain() -> None:
    @task(trigger=manual_only)
    def one() -> None:
        pass

    with Flow("flow") as flow:
        one()
    backend = MemoryBackend()
    run_id = str(flow.run(backend=backend).context["run_id"])
    flow.resume(run_id, backend=backend)

    assert len(list(Project.open().documents(backend, run_id))) > 4
