"""The yardstick of reads: one aiohttp process whose handler returns a constant.

    python -m bench.peers.bare_aiohttp --port … [--bytes 200]

No middleware, no access log, uvloop, what is there at the start frozen for the garbage collector.
"""

from __future__ import annotations

import argparse
import gc
from typing import Final

import uvloop
from aiohttp import web

PATH: Final = "/bare"


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--bytes", type=int, default=200, help="of JSON in the answer")
    options = parser.parse_args()
    body = b'{"data":"' + b"x" * (options.bytes - len('{"data":""}')) + b'"}'

    async def handle(_: web.Request) -> web.Response:
        return web.Response(body=body, content_type="application/json")

    app = web.Application()
    app.router.add_get(PATH, handle)
    gc.collect()
    gc.freeze()
    web.run_app(app, host="127.0.0.1", port=options.port, access_log=None, print=None, loop=uvloop.new_event_loop())


if __name__ == "__main__":
    main()
