# SPDX-License-Identifier: Apache-2.0
"""A WebDAV server for a folder: FOLDER PORT."""

import sys

from cheroot.wsgi import Server
from wsgidav.wsgidav_app import WsgiDAVApp

app = WsgiDAVApp(
    {
        "provider_mapping": {"/": sys.argv[1]},
        "simple_dc": {"user_mapping": {"*": {"user": {"password": "right"}}}},
        "http_authenticator": {"accept_basic": True, "accept_digest": False, "default_to_digest": False},
        "verbose": 1,
    }
)
Server(("127.0.0.1", int(sys.argv[2])), app).start()
