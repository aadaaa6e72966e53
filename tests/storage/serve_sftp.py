# SPDX-License-Identifier: Apache-2.0
"""An SFTP server made of Python alone: FOLDER PORT. The folder has the keys."""

import asyncio
import sys

import asyncssh


async def main(folder: str, port: int) -> None:
    server = await asyncssh.listen(
        "127.0.0.1",
        port,
        server_host_keys=[f"{folder}/host"],
        authorized_client_keys=f"{folder}/authorized",
        sftp_factory=True,
    )
    await server.wait_closed()


asyncio.run(main(sys.argv[1], int(sys.argv[2])))
