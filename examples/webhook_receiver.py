"""Receives webhooks, with Python's standard library alone: checks the signature, the time, and what came before.

    python examples/webhook_receiver.py whsec_… [--port 8099]

Register http://127.0.0.1:8099/ at POST /api/v1/webhooks; the secret is in the answer, once.
"""

from __future__ import annotations

import argparse
import base64
import hmac
import json
import time
from collections import OrderedDict
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Final

#: Older messages, and those of clocks that differ by more, are refused: somebody may have recorded them.
TOLERANCE_S: Final = 300
MAX_BODY_BYTES: Final = 1024 * 1024
REMEMBERED: Final = 10_000


class Refused(Exception):
    """The message is not from the service, or too old."""


def verified(secret: str, headers: Mapping[str, str], body: bytes, now_s: float) -> dict[str, object]:
    """The message, if its signature is right. `body` must be the bytes as they came. Raises Refused."""
    message_id, sent_at, signatures = (headers.get(f"webhook-{name}", "") for name in ("id", "timestamp", "signature"))
    if not sent_at.isdecimal() or abs(now_s - int(sent_at)) > TOLERANCE_S:
        raise Refused("not of this time")
    key = base64.b64decode(secret.removeprefix("whsec_"))
    expected = base64.b64encode(hmac.digest(key, f"{message_id}.{sent_at}.".encode() + body, "sha256")).decode()
    # There may be several: by the former secret as well, while it is being changed.
    if not any(hmac.compare_digest(f"v1,{expected}", given) for given in signatures.split(" ")):
        raise Refused("not signed by this secret")
    message: dict[str, object] = json.loads(body)
    return message


class Receiver(BaseHTTPRequestHandler):
    """Answers 204 to what is right, 400 to anything else; each event is handled once."""

    secret: str
    seen: OrderedDict[str, None] = OrderedDict()  # noqa: RUF012 - of the server; a real one keeps it with its data

    def do_POST(self) -> None:
        """One message."""
        length = int(self.headers.get("Content-Length", "0"))
        if not 0 < length <= MAX_BODY_BYTES:
            self._answer(413)
            return
        try:
            message = verified(self.secret, dict(self.headers.items()), self.rfile.read(length), time.time())
        except Refused as why:
            self.log_error("refused: %s", why)
            self._answer(400)
            return
        message_id = self.headers["webhook-id"]
        if message_id not in self.seen:  # it is delivered at least once, so perhaps not for the first time
            self.seen[message_id] = None
            if len(self.seen) > REMEMBERED:
                self.seen.popitem(last=False)
            print(json.dumps(message), flush=True)
        self._answer(204)

    def _answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()


def main() -> None:
    """Serve until Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("secret")
    parser.add_argument("--port", type=int, default=8099)
    options = parser.parse_args()
    Receiver.secret = options.secret
    HTTPServer(("127.0.0.1", options.port), Receiver).serve_forever()


if __name__ == "__main__":
    main()
