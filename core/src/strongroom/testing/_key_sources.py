# SPDX-License-Identifier: Apache-2.0
"""Does a place give keys, and keep them to itself, as `strongroom.KeySource` says?"""

from __future__ import annotations

import base64
import pickle
from collections.abc import Sequence
from typing import TYPE_CHECKING

import pytest

from strongroom.abc import KeySource, SupportsRotation
from strongroom.errors import KeyringError, StrongroomError
from strongroom.keyring import Keyring
from strongroom.testing._serializers import ID

if TYPE_CHECKING:
    from strongroom.keyring import Key

__all__ = ["KeySourceTests"]


def _forms(key: Key) -> list[str]:
    """The ways in which a secret gets into a text."""
    return [key.secret.hex(), base64.b64encode(key.secret).decode(), repr(key.secret)[2:-1]]


class KeySourceTests:
    """What every source of keys does. Subclass it and give the fixture `source`, and `unusable` if you can.

    ``source`` is new to each test. It may be empty if it can make a first key.
    """

    @pytest.fixture
    def unusable(self) -> Sequence[KeySource]:
        """Override to give sources that are gone, locked, damaged or out of reach."""
        pytest.skip("nobody has said what an unusable source of this kind is")

    @pytest.fixture
    def rotating(self, source: KeySource) -> SupportsRotation:
        """The source, filled, if its keys can be changed."""
        if not isinstance(source, SupportsRotation):
            pytest.skip("the keys of this source are changed by somebody else")
        source.create()
        return source

    def test_its_id_can_stand_in_the_settings(self, source: KeySource) -> None:
        assert ID.fullmatch(source.id), "letters, digits, '-', '_' and single dots"

    def test_it_gives_the_same_keys_each_time(self, source: KeySource) -> None:
        source.create()
        first = source.load()
        source.create()

        again = source.load()

        assert [key.id for key in again.keys] == [key.id for key in first.keys]
        assert again.primary == first.primary

    def test_keys_that_do_not_change_have_one_stamp(self, source: KeySource) -> None:
        source.create()
        before = source.stamp()
        source.load()

        assert source.stamp() == before
        hash(before)

    def test_what_it_seals_it_opens_in_another_process(self, source: KeySource) -> None:
        keyring = Keyring.from_source(source)

        there = pickle.loads(pickle.dumps(keyring))

        assert there.open(keyring.seal(b"message", b"context"), b"context") == b"message"

    def test_it_travels_without_its_keys(self, source: KeySource) -> None:
        source.create()
        keys = source.load().keys

        pickled = pickle.dumps(source)

        clone = pickle.loads(pickled)
        assert clone == source
        assert hash(clone) == hash(source)
        assert not [key.id for key in keys for form in (key.secret, *map(str.encode, _forms(key))) if form in pickled]

    def test_nothing_that_is_shown_has_a_secret_in_it(self, source: KeySource) -> None:
        source.create()
        keys = source.load().keys
        shown = f"{source!r} {source} {source.place}"

        assert source.place.isprintable()
        assert source.place.strip()
        assert not [key.id for key in keys for form in _forms(key) if form in shown]

    def test_a_source_that_cannot_be_used_says_so_in_one_line(self, unusable: Sequence[KeySource]) -> None:
        for source in unusable:
            with pytest.raises(StrongroomError) as caught:
                Keyring.from_source(source)

            assert isinstance(caught.value, KeyringError)
            assert str(caught.value).isprintable(), "one line"

    def test_a_new_key_opens_before_it_seals(self, source: KeySource, rotating: SupportsRotation) -> None:
        before, stamp = source.load(), source.stamp()

        added = rotating.add()

        assert [key.id for key in source.load().keys] == [*(key.id for key in before.keys), added]
        assert source.load().primary == before.primary
        assert source.stamp() != stamp

    def test_a_key_that_is_promoted_seals(self, source: KeySource, rotating: SupportsRotation) -> None:
        before, added = source.load(), rotating.add()
        stamp = source.stamp()

        rotating.promote(added)

        assert source.load().primary == added
        assert before.primary in {key.id for key in source.load().keys}
        assert source.stamp() != stamp

    def test_a_key_that_is_removed_is_gone(self, source: KeySource, rotating: SupportsRotation) -> None:
        old = source.load().primary
        rotating.promote(rotating.add())

        rotating.remove(old)

        assert old not in {key.id for key in source.load().keys}

    def test_the_key_that_seals_is_not_removed(self, source: KeySource, rotating: SupportsRotation) -> None:
        primary = source.load().primary
        rotating.add()

        with pytest.raises(KeyringError):
            rotating.remove(primary)

        assert source.load().primary == primary

    def test_a_key_that_is_not_there_is_neither_promoted_nor_removed(self, rotating: SupportsRotation) -> None:
        for change in (rotating.promote, rotating.remove):
            with pytest.raises(KeyringError):
                change("0" * 16)
