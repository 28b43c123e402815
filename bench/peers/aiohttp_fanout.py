"""The peer of the channels' benchmark: a bare aiohttp server that passes every POST on to all its WebSockets.

    python -m bench.peers.aiohttp_fanout --port …

As little as it can be: one process, no tokens, no topics, no positions, no bounds; the text is made once for all. It
answers the joins of the benchmark's clients, and speaks the frames of Phoenix as far as they need.
"""

from __future__ import annotations

import argparse
import gc
import json
from typing import Final

import uvloop
from aiohttp import WSMsgType, web

PUBLISH: Final = "/publish"
SOCKET: Final = "/socket"


class Fanout:
    """The sockets, and the two handlers."""

    def __init__(self) -> None:
        self._sockets: set[web.WebSocketResponse] = set()

    async def socket(self, request: web.Request) -> web.StreamResponse:
        """A client: answered when it joins, in the set until it goes."""
        websocket = web.WebSocketResponse(compress=False)
        await websocket.prepare(request)
        try:
            async for message in websocket:
                if message.type is WSMsgType.TEXT:
                    join_ref, ref, topic, _, _ = json.loads(message.data)
                    self._sockets.add(websocket)
                    await websocket.send_json(
                        [join_ref, ref, topic, "phx_reply", {"status": "ok", "response": {}}],
                        dumps=lambda value: json.dumps(value, separators=(",", ":")),
                    )
        finally:
            self._sockets.discard(websocket)
        return websocket

    async def publish(self, request: web.Request) -> web.Response:
        """Pass the body on."""
        text = f'[null,null,"bench","event",{await request.text()}]'
        for websocket in tuple(self._sockets):
            await websocket.send_str(text)
        return web.Response(status=204)


def main() -> None:
    """Serve until it is ended."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, required=True)
    port = parser.parse_args().port
    fanout, app = Fanout(), web.Application()
    app.router.add_get(SOCKET, fanout.socket)
    app.router.add_post(PUBLISH, fanout.publish)
    gc.freeze()
    uvloop.install()
    web.run_app(app, host="127.0.0.1", port=port, access_log=None, print=None)


if __name__ == "__main__":
    main()
