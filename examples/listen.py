"""Joins a user's topic as any Phoenix client would and prints the events that arrive.

python examples/listen.py TOKEN [--seconds 30] [--url http://127.0.0.1:4000]
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import json

import aiohttp

HEARTBEAT_S = 20.0


def user_of(token: str) -> str:
    """The user id that an access token was issued to (its `sub`; the server checks the signature, this does not)."""
    payload = token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return str(claims["sub"])


async def listen(url: str, token: str) -> None:
    """Print every event until cancelled."""
    topic = f"transaction:{user_of(token)}"
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{url}/socket/websocket", params={"vsn": "2.0.0", "token": token}) as socket,
    ):
        await socket.send_json(["1", "1", topic, "phx_join", {}])
        while True:
            try:
                message = await socket.receive(timeout=HEARTBEAT_S)
            except TimeoutError:
                await socket.send_json([None, "hb", "phoenix", "heartbeat", {}])
                continue
            if message.type is not aiohttp.WSMsgType.TEXT:
                print(f"closed with code {socket.close_code}", flush=True)
                return
            _, _, _, event, payload = json.loads(message.data)
            print(event, json.dumps(payload), flush=True)


def main() -> None:
    """Parse the arguments and listen."""
    parser = argparse.ArgumentParser(description="Print the events of a user's topic.")
    parser.add_argument("token", help="the user's access token")
    parser.add_argument("--seconds", type=float, default=None, help="stop after this long (default: never)")
    parser.add_argument("--url", default="http://127.0.0.1:4000")
    options = parser.parse_args()
    with contextlib.suppress(TimeoutError, KeyboardInterrupt):
        asyncio.run(asyncio.wait_for(listen(options.url, options.token), options.seconds))


if __name__ == "__main__":
    main()
