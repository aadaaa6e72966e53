# SPDX-License-Identifier: Apache-2.0
"""How is it hidden how long a sealed message is?

Lengths are rounded up by PADMÉ (Nikitin et al., "Reducing Metadata Leakage from Encrypted Files and Communication with
PURBs", PETS 2019, section 4): a length of n bytes tells O(log log n) bits, and costs at most 12 %. Whatever is shorter
than 256 bytes, as most documents are, gets that length.
"""

from __future__ import annotations

from strongroom.errors import SealError

__all__ = ["pad", "unpad"]

_LEAST = 256
# One bit and then zeros (ISO/IEC 9797-1, method 2): what was padded is known from the end, whatever it ends with.
_END = b"\x80"


def pad(message: bytes) -> bytes:
    """*message* with at least one byte more, of a length that many messages have."""
    length = len(message) + 1
    return message + _END + bytes(_padded(length) - length)


def unpad(padded: bytes) -> bytes:
    """What `pad` was given.

    Raises:
        SealError: `pad` never answers with these bytes.
    """
    message = padded.rstrip(b"\0")
    # There is one padding for each message: whoever can seal cannot write the same document in two ways.
    if message[-1:] != _END or len(padded) != _padded(len(message)):
        raise SealError
    return message[:-1]


def _padded(length: int) -> int:
    if length <= _LEAST:
        return _LEAST
    exponent = length.bit_length() - 1
    low_bits = exponent - exponent.bit_length()
    mask = (1 << low_bits) - 1
    return (length + mask) & ~mask
