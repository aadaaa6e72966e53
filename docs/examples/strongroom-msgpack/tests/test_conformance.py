# SPDX-License-Identifier: Apache-2.0
"""Does the plugin keep the promises of a serializer?"""

from __future__ import annotations

from strongroom_msgpack import MsgPack

from strongroom.testing import SerializerTests


class TestMsgPack(SerializerTests):
    serializer = MsgPack()
    values = (None, True, -(2**63), 1.5, "text", b"bytes", [1, [2]], {"a": {1: None}})
    refused = ((1, 2), bytearray(b"x"), 2**64)
