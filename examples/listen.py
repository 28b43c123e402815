"""Joins a user's topics as any Phoenix client would, prints the events that arrive, and comes back when it is cut off.

python examples/listen.py TOKEN [--seconds 30] [--url http://127.0.0.1:4000] [--notifications]

It resumes: whatever happened while it was away is printed first, and nothing twice. Where the server says that it
cannot give all of that (`recovered` is false), a real client loads what it shows by REST, and goes on from there.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import json

import aiohttp

HEARTBEAT_S = 20.0
PAUSE_S = 1.0


def user_of(token: str) -> str:
    """The user id that an access token was issued to (its `sub`; the server checks the signature, this does not)."""
    payload = token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return str(claims["sub"])


class Topic:
    """A topic, and the place in it that we have come to: {} to begin, then of which log and as which event."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.place: dict[str, object] = {}

    def joined(self, resume: dict[str, object]) -> None:
        """The answer to a join."""
        if resume["recovered"]:
            return  # the events that we missed follow, and move our place
        print(f"{self.name}: load it anew ({resume['reason']}), then go on after {resume['seq']}", flush=True)
        self.place = {"epoch": resume["epoch"], "seq": resume["seq"]}

    def happened(self, event: str, payload: dict[str, object]) -> None:
        """An event; those without `_meta` tell how something is by now, and have no place."""
        meta = payload.get("_meta")
        if isinstance(meta, dict):
            self.place = {"epoch": meta["epoch"], "seq": meta["seq"]}
        print(event, json.dumps(payload), flush=True)


async def listen(url: str, token: str, names: list[str]) -> None:
    """Print every event until cancelled."""
    topics = {name: Topic(name) for name in names}
    async with aiohttp.ClientSession() as session:
        while True:
            try:
                await listen_once(session, url, token, topics)
            except (aiohttp.ClientError, OSError) as error:
                print(f"cut off: {error!r}", flush=True)
            await asyncio.sleep(PAUSE_S)


async def listen_once(session: aiohttp.ClientSession, url: str, token: str, topics: dict[str, Topic]) -> None:
    """Join, going on from where we were, and read until the connection ends."""
    async with session.ws_connect(f"{url}/socket/websocket", params={"vsn": "2.0.0", "token": token}) as socket:
        for name, topic in topics.items():
            await socket.send_json([name, name, name, "phx_join", {"resume": topic.place}])
        while True:
            try:
                message = await socket.receive(timeout=HEARTBEAT_S)
            except TimeoutError:
                await socket.send_json([None, "hb", "phoenix", "heartbeat", {}])
                continue
            if message.type is not aiohttp.WSMsgType.TEXT:
                print(f"closed with code {socket.close_code}", flush=True)
                return
            _, ref, name, event, payload = json.loads(message.data)
            if name not in topics:
                continue  # the answer to a heartbeat
            if event == "phx_reply" and ref == name and payload["status"] == "ok":
                topics[name].joined(payload["response"]["resume"])
            elif event in ("phx_reply", "phx_error", "phx_close"):
                print(event, json.dumps(payload), flush=True)
                return  # join anew
            else:
                topics[name].happened(event, payload)


def main() -> None:
    """Parse the arguments and listen."""
    parser = argparse.ArgumentParser(description="Print the events of a user's topics.")
    parser.add_argument("token", help="the user's access token")
    parser.add_argument("--seconds", type=float, default=None, help="stop after this long (default: never)")
    parser.add_argument("--url", default="http://127.0.0.1:4000")
    parser.add_argument("--notifications", action="store_true", help="listen to the user's notifications as well")
    options = parser.parse_args()
    user_id = user_of(options.token)
    topics = [f"transaction:{user_id}"] + [f"notification:{user_id}"] * options.notifications
    with contextlib.suppress(TimeoutError, KeyboardInterrupt):
        asyncio.run(asyncio.wait_for(listen(options.url, options.token, topics), options.seconds))


if __name__ == "__main__":
    main()
