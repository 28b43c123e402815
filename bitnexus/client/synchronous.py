"""The synchronous client: the asynchronous one on a loop of its own, in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import TimeoutError as NotInTime
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from bitnexus.actors.messages import TransferResult
from bitnexus.actors.runtime.message import Message
from bitnexus.actors.runtime.node import DEFAULT_TIMEOUT_S
from bitnexus.client.asynchronous import CONNECT_TIMEOUT_S, Client, connect
from bitnexus.client.identity import Token
from bitnexus.config.certificates import TlsFiles
from bitnexus.errors import CallTimeout

#: What a call may take beyond its deadline before its thread is given up: the loop may be busy.
_GRACE_S: Final = 5.0

T = TypeVar("T")


class SyncClient:
    """As :class:`Client`, blocking; made by :func:`connect_sync`. Any thread may call; do not fork while it is open."""

    def __init__(self, client: Client, *, connect_timeout_s: float, timeout_s: float) -> None:
        self._client = client
        self._connect_timeout_s = connect_timeout_s
        self._timeout_s = timeout_s
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="bitnexus client", daemon=True)

    def __enter__(self) -> Self:
        """Join the node. Raises as Client does."""
        self._thread.start()
        try:
            self._run(self._client.__aenter__(), self._connect_timeout_s)
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Leave the node. Idempotent."""
        if not self._loop.is_closed():
            try:
                self._run(self._client.close(), self._timeout_s)
            finally:
                self._stop()

    def names(self) -> list[str]:
        """See Client.names."""
        return self._client.names()

    def call(self, name: str, message: Message, *, timeout_s: float | None = None, retry: bool = False) -> Message:
        """See Client.call."""
        limit_s = self._timeout_s if timeout_s is None else timeout_s
        return self._run(self._client.call(name, message, timeout_s=limit_s, retry=retry), limit_s)

    def transfer(self, *, timeout_s: float | None = None, **fields: Any) -> TransferResult:  # noqa: ANN401  # its fields
        """See Client.transfer."""
        limit_s = self._timeout_s if timeout_s is None else timeout_s
        return self._run(self._client.transfer(timeout_s=limit_s, **fields), limit_s)

    def _run(self, work: Coroutine[Any, Any, T], limit_s: float) -> T:
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result(limit_s + _GRACE_S)
        except NotInTime:
            if future.done():
                raise  # it is what the work raised
            future.cancel()
            raise CallTimeout("The client's own thread did not answer in time") from None

    def _stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_GRACE_S)
        self._loop.close()


def connect_sync(
    address: str | None = None,
    *,
    token: Token | None = None,
    cookie: str | bytes | None = None,
    tls: TlsFiles | None = None,
    connect_timeout_s: float = CONNECT_TIMEOUT_S,
    timeout_s: float = DEFAULT_TIMEOUT_S,
) -> SyncClient:
    """As :func:`bitnexus.connect`, for programs without a loop; to be entered by ``with``."""
    client = connect(
        address, token=token, cookie=cookie, tls=tls, connect_timeout_s=connect_timeout_s, timeout_s=timeout_s
    )
    return SyncClient(client, connect_timeout_s=connect_timeout_s, timeout_s=timeout_s)
