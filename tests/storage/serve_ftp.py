# SPDX-License-Identifier: Apache-2.0
"""An FTP server for a folder: FOLDER PORT."""

import sys

from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import FTPHandler
from pyftpdlib.servers import FTPServer


class Handler(FTPHandler):
    """Nothing but the one user may do anything."""

    authorizer = DummyAuthorizer()
    auth_failed_timeout = 0


Handler.authorizer.add_user("user", "right", sys.argv[1], perm="elradfmwMT")
FTPServer(("127.0.0.1", int(sys.argv[2])), Handler).serve_forever()
