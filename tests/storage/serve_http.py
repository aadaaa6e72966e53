# SPDX-License-Identifier: Apache-2.0
"""A web server for a folder, which answers for parts of files, too: FOLDER PORT."""

import sys

from aiohttp import web

app = web.Application()
app.router.add_static("/", sys.argv[1], show_index=True)
web.run_app(app, host="127.0.0.1", port=int(sys.argv[2]))
