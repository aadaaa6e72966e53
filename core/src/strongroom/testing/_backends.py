# SPDX-License-Identifier: Apache-2.0
"""Does a backend keep what it is given, as `strongroom.Backend` says?"""

from __future__ import annotations

import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import msgspec
import pytest

from strongroom.abc import Envelope, SupportsTrial
from strongroom.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from strongroom.abc import Backend

__all__ = ["BackendTests"]

_BIG = 5 << 20
# A test runs beside the backend, so this is for a slow machine and not for a wrong clock.
_SKEW = 60.0


def _a_run() -> str:
    return uuid.uuid4().hex


def _state(run_id: str, sequence: int = 0, *, task: str = "load-1", map_index: int = -1) -> Envelope:
    """A document whose columns and bytes all differ, so that none can be taken for another."""
    return Envelope(
        run_id=run_id,
        task=task,
        map_index=map_index,
        sequence=sequence,
        kind="state",
        name="load ünïcode",
        type="Success",
        at=1_780_000_000_123_456 + sequence,
        run_count=3,
        sealed=bytes(range(256)) + sequence.to_bytes(4),
    )


def _opening(run_id: str) -> Envelope:
    return msgspec.structs.replace(_state(run_id, task=""), kind="run", type="", run_count=0)


def _states(run_id: str, count: int) -> list[Envelope]:
    return [_state(run_id, sequence) for sequence in range(count)]


class BackendTests:
    """What every backend does. Subclass it and give the fixture `backend`; `reopen` if it outlives its connection.

    ``backend`` is open and new to each test. ``reopen()`` closes it and gives another one of the same database.
    """

    @pytest.fixture
    def reopen(self) -> Callable[[], Backend]:
        """Override to give what closes `backend` and opens it again."""
        pytest.skip("this backend does not outlive its connection")

    def test_has_an_id(self, backend: Backend) -> None:
        assert backend.id

    def test_a_document_comes_back_as_it_was(self, backend: Backend) -> None:
        run_id = _a_run()
        for document in (_opening(run_id), _state(run_id), _state(run_id, map_index=7)):
            backend.append([document])

            assert list(backend.read(run_id))[-1] == document

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("task", ""),
            ("name", ""),
            ("name", "n\u00e4me '\"; -- % _ \\ \u6f22 \U0001f512"),
            ("type", ""),
            ("sealed", b""),
            ("sealed", b"\x00\xff" * 500),
            ("at", 0),
            ("at", -1),
            ("at", 2**63 - 1),
            ("map_index", 2**31 - 1),
            ("run_count", 2**31 - 1),
        ],
    )
    def test_the_bounds_of_a_field_come_back(self, backend: Backend, field: str, value: object) -> None:
        document = msgspec.structs.replace(_state(_a_run()), **{field: value})

        backend.append([document])

        assert list(backend.read(document.run_id)) == [document]

    def test_a_document_after_one_that_is_missing_is_refused(self, backend: Backend) -> None:
        run_id = _a_run()
        backend.append([_opening(run_id), *_states(run_id, 2)])

        for gap in ([_state(run_id, 3)], [_state(run_id, 3), _state(run_id, 2)], [_state(run_id, 1, task="new")]):
            with pytest.raises(BackendError):
                backend.append([_state(run_id, 0, task="other"), *gap])
        with pytest.raises(BackendError):
            backend.append([_state(run_id, 1, map_index=0)])

        assert len(list(backend.read(run_id))) == 3
        backend.append([_state(run_id, 2), _state(run_id, 3)])
        backend.append([_state(run_id, 3)])
        assert [each.sequence for each in backend.read(run_id, task="load-1")] == [0, 1, 2, 3]

    def test_many_documents_that_go_on_with_what_is_there_are_kept(self, backend: Backend) -> None:
        run_id = _a_run()
        first = [_state(run_id, 0, map_index=index) for index in range(300)]
        backend.append(first)
        then = [_state(run_id, 1, map_index=index) for index in range(300)]

        backend.append(then)

        assert list(backend.read(run_id)) == first + then

    def test_five_megabytes_come_back(self, backend: Backend) -> None:
        run_id = _a_run()
        documents = [msgspec.structs.replace(d, sealed=bytes([d.sequence]) * _BIG) for d in _states(run_id, 3)]

        backend.append(documents)

        assert list(backend.read(run_id)) == documents

    def test_a_trial_gives_back_what_it_took_and_keeps_nothing(self, backend: Backend) -> None:
        if not isinstance(backend, SupportsTrial):
            pytest.skip("this backend offers no trial")
        kept, tried = _a_run(), _a_run()
        backend.append([_opening(kept)])

        assert backend.trial(_opening(tried)) == _opening(tried)
        assert not list(backend.read(tried))
        assert list(backend.runs()) == [kept]
        backend.append([_opening(tried)])
        assert list(backend.read(tried)) == [_opening(tried)]

    def test_its_clock_goes_like_ours(self, backend: Backend) -> None:
        if not isinstance(backend, SupportsTrial):
            pytest.skip("this backend offers no trial")

        assert abs(backend.clock() - time.time()) < _SKEW

    @pytest.mark.parametrize("count", [0, 1, 2, 1000, 5000])
    def test_a_batch_of_any_size_comes_back_in_order(self, backend: Backend, count: int) -> None:
        run_id = _a_run()
        documents = _states(run_id, count)

        backend.append(documents)

        assert list(backend.read(run_id)) == documents

    def test_documents_come_in_the_order_in_which_they_were_appended(self, backend: Backend) -> None:
        run_id, other = _a_run(), _a_run()
        documents = [
            _state(run_id, 0, task="z"),
            _state(run_id, 0, task="a"),
            _state(run_id, 0, task="z", map_index=5),
            _state(run_id, 0, task=""),
            _state(run_id, 1, task="z"),
        ]
        for number, document in enumerate(documents):
            backend.append([_state(other, number), document])

        assert list(backend.read(run_id)) == documents

    def test_documents_of_one_task_can_be_read(self, backend: Backend) -> None:
        run_id = _a_run()
        backend.append([_state(_a_run(), task="b"), _opening(run_id), _state(run_id, task="a")])
        backend.append([_state(run_id, task="b"), _state(run_id, task="b", map_index=3), _state(run_id, 1, task="")])

        of_b = [(d.task, d.map_index, d.sequence) for d in backend.read(run_id, task="b")]
        of_the_flow_run = [(d.task, d.sequence) for d in backend.read(run_id, task="")]

        assert of_b == [("b", -1, 0), ("b", 3, 0)]
        assert of_the_flow_run == [("", 0), ("", 1)]

    def test_an_unknown_run_or_task_has_no_documents(self, backend: Backend) -> None:
        run_id = _a_run()
        backend.append([_opening(run_id)])

        assert list(backend.read(_a_run())) == []
        assert list(backend.read(run_id, task="nobody")) == []

    def test_appending_goes_on_while_somebody_reads(self, backend: Backend) -> None:
        run_id = _a_run()
        documents = _states(run_id, 1000)
        backend.append(documents)

        reader = backend.read(run_id)
        first = next(reader)
        backend.append([_state(_a_run()), _state(run_id, 1000)])

        # Whether what came meanwhile is read as well is left to the backend.
        assert [first, *reader][:1000] == documents

    def test_a_batch_may_be_sent_twice(self, backend: Backend) -> None:
        run_id = _a_run()
        documents = _states(run_id, 300)

        backend.append(documents[:200])
        backend.append(documents[100:])
        backend.append(documents)

        assert list(backend.read(run_id)) == documents

    def test_a_document_may_be_twice_in_a_batch(self, backend: Backend) -> None:
        run_id = _a_run()
        backend.append([_state(run_id), _state(run_id, 1), _state(run_id)])

        assert list(backend.read(run_id)) == _states(run_id, 2)

    @pytest.mark.parametrize(
        ("field", "value"),
        [("kind", "run"), ("name", "x"), ("type", "Failed"), ("at", 0), ("run_count", 0), ("sealed", b"x")],
    )
    def test_another_document_with_the_same_identity_is_refused(
        self, backend: Backend, field: str, value: object
    ) -> None:
        document = _state(_a_run())
        backend.append([document])

        with pytest.raises(BackendError):
            backend.append([msgspec.structs.replace(document, **{field: value})])

        assert list(backend.read(document.run_id)) == [document]

    @pytest.mark.parametrize("place", [0, 150, 299])
    def test_nothing_is_kept_of_a_batch_that_is_refused(self, backend: Backend, place: int) -> None:
        run_id = _a_run()
        documents = _states(run_id, 300)
        kept = [*documents[:place], msgspec.structs.replace(documents[place], sealed=b"kept")]
        backend.append(kept)

        with pytest.raises(BackendError):
            backend.append(documents)

        assert list(backend.read(run_id)) == kept

    def test_two_different_documents_with_one_identity_in_a_batch_are_refused(self, backend: Backend) -> None:
        document = _state(_a_run())

        with pytest.raises(BackendError):
            backend.append([document, msgspec.structs.replace(document, name="x")])

        assert list(backend.read(document.run_id)) == []

    def test_a_refused_batch_does_not_stop_the_next(self, backend: Backend) -> None:
        document = _state(_a_run())
        backend.append([document])
        with pytest.raises(BackendError):
            backend.append([msgspec.structs.replace(document, name="x")])

        backend.append([_state(document.run_id, 1)])

        assert [d.sequence for d in backend.read(document.run_id)] == [0, 1]

    def test_an_error_does_not_show_sealed_bytes(self, backend: Backend) -> None:
        document = msgspec.structs.replace(_state(_a_run()), sealed=b"canary-of-sealed-bytes")
        backend.append([document])

        with pytest.raises(BackendError) as caught:
            backend.append([msgspec.structs.replace(document, name="x")])

        assert "canary" not in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_runs_are_listed_newest_first(self, backend: Backend) -> None:
        run_ids = [_a_run() for _ in range(30)]
        for run_id in run_ids:
            backend.append([_opening(run_id), _state(run_id)])
        backend.append([_state(run_ids[0], 1)])

        assert list(backend.runs(limit=100)) == run_ids[::-1]
        assert list(backend.runs()) == run_ids[:-21:-1]
        assert list(backend.runs(limit=3)) == run_ids[:-4:-1]
        assert list(backend.runs(limit=0)) == []

    def test_runs_are_found_by_how_their_ids_begin(self, backend: Backend) -> None:
        run_ids = ["aa" + "0" * 30, "ab" + "0" * 30, "ba" + "0" * 30, "ab" + "f" * 30]
        backend.append([_opening(run_id) for run_id in run_ids])

        assert list(backend.runs(prefix="ab")) == [run_ids[3], run_ids[1]]
        assert list(backend.runs(prefix="ab", limit=1)) == [run_ids[3]]
        assert list(backend.runs(prefix=run_ids[2])) == [run_ids[2]]
        assert list(backend.runs(prefix="c")) == []

    @pytest.mark.parametrize("prefix", ["%", "_", "a%", "a_", "_b", "*", "a*", "?", "[a]", "\\", "'", "AB"])
    def test_no_prefix_has_a_special_meaning(self, backend: Backend, prefix: str) -> None:
        backend.append([_opening("ab" + "0" * 30)])

        assert list(backend.runs(prefix=prefix)) == []

    def test_threads_may_append_at_once(self, backend: Backend) -> None:
        run_ids = [_a_run() for _ in range(8)]

        def append(run_id: str) -> None:
            documents = _states(run_id, 200)
            for start in range(0, 200, 20):
                backend.append(documents[start : start + 20])

        with ThreadPoolExecutor(len(run_ids)) as threads:
            list(threads.map(append, run_ids))

        assert all(list(backend.read(run_id)) == _states(run_id, 200) for run_id in run_ids)

    def test_threads_may_send_the_same_at_once(self, backend: Backend) -> None:
        documents = _states(_a_run(), 100)

        with ThreadPoolExecutor(8) as threads:
            list(threads.map(backend.append, [documents] * 8))

        assert list(backend.read(documents[0].run_id)) == documents

    def test_closing_twice_is_allowed(self, backend: Backend) -> None:
        backend.close()
        backend.close()

    @pytest.mark.parametrize("call", ["append", "runs", "read"])
    def test_a_closed_backend_says_so(self, backend: Backend, call: str) -> None:
        calls: dict[str, Callable[[], object]] = {
            "append": lambda: backend.append([_state(_a_run())]),
            "runs": backend.runs,
            "read": lambda: list(backend.read(_a_run())),
        }
        with backend as entered:
            assert entered is backend

        with pytest.raises(BackendError):
            calls[call]()

    def test_documents_outlive_the_connection(self, backend: Backend, reopen: Callable[[], Backend]) -> None:
        run_id = _a_run()
        documents: Sequence[Envelope] = [_opening(run_id), *_states(run_id, 100)]
        backend.append(documents)

        again = reopen()

        assert list(again.read(run_id)) == documents
        assert list(again.runs()) == [run_id]
