# SPDX-License-Identifier: Apache-2.0
"""Shows what a stored result is, and takes its payload out, with nothing but Python's standard library.

    python read_record.py RECORD [OUT]

It does not check the tag, for which a key is needed: what comes out is what lies there. Never unpickle it.
"""

import json
import os
import struct
import sys
from pathlib import Path

TRAILER = struct.Struct("<QQ32s")  # the size of the payload, its size before the codecs, the tag


def main(path: str, out: str = "") -> None:
    """Print what the record at *path* says of itself, and write its payload to *out*."""
    with Path(path).open("rb") as record:
        line = record.readline(1 << 16)
        if not line.startswith(b"strongroom/1 ") or not line.endswith(b"\n") or len(line) % 64:
            sys.exit(f"{path} is no record of strongroom")
        record.seek(-TRAILER.size, os.SEEK_END)
        size, decoded_size, tag = TRAILER.unpack(record.read())
        if len(line) + size + TRAILER.size != record.tell():
            sys.exit(f"{path} is damaged: it is not as long as it says")
        header = json.loads(line[13:])
        print(json.dumps(header | {"size": size, "decoded_size": decoded_size, "tag": tag.hex()}, indent=2))
        if out:
            record.seek(len(line))
            with Path(out).open("xb") as payload:
                while size > 0:
                    size -= payload.write(record.read(min(size, 1 << 20)))


try:
    main(*sys.argv[1:]) if len(sys.argv) in {2, 3} else sys.exit(__doc__)
except (OSError, ValueError) as exc:
    sys.exit(f"{sys.argv[1]} was not read: {exc}")
