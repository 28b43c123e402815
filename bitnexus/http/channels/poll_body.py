"""What a polling client posts: one message, or a batch of them by lines. Pure."""

from __future__ import annotations

import base64
import binascii
from typing import Final

from bitnexus.errors import BadRequest, PayloadTooLarge
from bitnexus.http.channels.socket import MAX_FRAME_BYTES

MAX_BODY_BYTES: Final = 256 * 1024
#: The npm client's.
MAX_BATCH: Final = 100
BATCH_TYPE: Final = "application/x-ndjson"


def messages_of(body: bytes, *, batched: bool) -> list[str | bytes]:
    """The messages, in their order.

    One of :data:`BATCH_TYPE` is `batched` and has one a line: JSON as it is, or a binary message in base64. Any other
    is one JSON message; the npm client up to 1.6 says nothing else.

    Raises:
        BadRequest: not UTF-8, a line that is neither, or more than :data:`MAX_BATCH`.
        PayloadTooLarge: a message larger than a WebSocket's may be.
    """
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise BadRequest("The body is not UTF-8") from error
    if batched:
        lines = [line.removesuffix("\r") for line in text.split("\n", MAX_BATCH + 1)]
        lines = [line for line in lines if line]
    else:
        lines = [text]
    if len(lines) > MAX_BATCH:
        raise BadRequest(f"A batch may have {MAX_BATCH} messages")
    return [_message(line, batched=batched) for line in lines]


def _message(line: str, *, batched: bool) -> str | bytes:
    message: str | bytes = line
    if batched and not line.startswith(("[", "{")):
        try:
            message = base64.b64decode(line, validate=True)
        except (binascii.Error, ValueError) as error:
            raise BadRequest("A line is neither JSON nor base64") from error
    size = len(message.encode()) if isinstance(message, str) else len(message)
    if size > MAX_FRAME_BYTES:
        raise PayloadTooLarge(f"A message may have {MAX_FRAME_BYTES} bytes")
    return message
