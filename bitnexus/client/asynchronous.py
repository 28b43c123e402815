"""The asynchronous client: joins the node, keeps joined, calls."""

from __future__ import annotations

import asyncio
import contextlib
import random
from types import TracebackType
from typing import Final, Self

import structlog

from bitnexus.actors.messages import GetPartitions, Partitions, PostTransfer, TransferResult
from bitnexus.actors.runtime import tls as tls_contexts
from bitnexus.actors.runtime.connection import Connection
from bitnexus.actors.runtime.context import Context
from bitnexus.actors.runtime.message import Message
from bitnexus.actors.runtime.node import DEFAULT_TIMEOUT_S, Node
from bitnexus.actors.runtime.peers import Peers
from bitnexus.actors.transactions.partitioning import TRANSACTIONS
from bitnexus.client.identity import Identity, Token, caller_of
from bitnexus.config.certificates import TlsFiles
from bitnexus.errors import (
    BitNexusError,
    CallTimeout,
    Forbidden,
    InvalidSettings,
    Moved,
    NoProcess,
    ProcessDown,
    RuntimeFault,
    Unauthorized,
    UnknownMessage,
)
from bitnexus.identifiers import new_transfer_id
from bitnexus.supervision.slots import partition_name, slot_of

#: How long to wait for the node at first.
CONNECT_TIMEOUT_S: Final = 10.0
#: One attempt to join; the next one begins after a pause that doubles from the first to the longest, with jitter.
JOIN_TIMEOUT_S: Final = 5.0
FIRST_PAUSE_S: Final = 0.05
LONGEST_PAUSE_S: Final = 2.0
#: A node that does not answer this often is taken for lost: no network tells of a host that has vanished.
PROBE_S: Final = 5.0
#: A user's command that is not answered for so long is sent again, to whichever partition serves the user by then.
ATTEMPT_S: Final = 2.0
#: How soon it is sent again while the user is on the way from one partition to another.
MOVING_S: Final = 0.02

log = structlog.get_logger("bitnexus.client")


class Client:
    """One program's way into a node; made by :func:`connect`, used as an asynchronous context manager.

    While the node is away calls with ``retry=True`` wait for it until their deadline; others raise ProcessDown or
    NoProcess. When the node will not have this client any more (its token has expired, and no function gives a new one)
    every call raises Unauthorized.
    """

    def __init__(self, identity: Identity, *, connect_timeout_s: float, timeout_s: float) -> None:
        self._identity = identity
        self._connect_timeout_s = connect_timeout_s
        self._timeout_s = timeout_s
        self._joined = asyncio.Event()
        self._lost = asyncio.Event()
        self._end: BitNexusError | None = None  # why no call can succeed any more
        self._trouble: BitNexusError | None = None  # why the last attempt to join failed
        self._owners: list[int] | None = None  # the partition of each slot
        self._keeper: asyncio.Task[None] | None = None
        self._peers: Peers
        self._node: Node

    # -- joining ---------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        """Join the node.

        Raises:
            Unauthorized: the node does not accept the access token.
            NoProcess: there is no node, or it does not accept the cookie or the certificate.
            InvalidSettings: the files of TLS are of no use.
        """
        loop = asyncio.get_running_loop()
        self._peers = Peers(loop, self._identity.keys, _no_envelopes, tls_contexts.contexts(self._identity.tls))
        self._node = Node(self._peers, _no_messages, self._registry_lost, _fault)
        self._keeper = loop.create_task(self._keep_joined(), name="bitnexus client")
        self._keeper.add_done_callback(self._keeper_ended)
        joined = loop.create_task(self._joined.wait())
        try:
            await asyncio.wait(
                {joined, self._keeper}, timeout=self._connect_timeout_s, return_when=asyncio.FIRST_COMPLETED
            )
            self._check_joined(self._keeper)
        except BaseException:
            await self.close()
            raise
        finally:
            joined.cancel()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Leave the node; calls that wait raise ProcessDown."""
        self._finish(ProcessDown("The client was closed"))
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait({self._keeper})
            self._keeper = None
            self._peers.close()
            await self._peers.closed_all()

    def _check_joined(self, keeper: asyncio.Task[None]) -> None:
        if self._joined.is_set():
            return
        if keeper.done():
            keeper.result()  # raises what should never have happened
        trouble = self._trouble or "it does not answer"
        raise self._end or NoProcess(f"No node could be joined at {self._identity.place}: {trouble}")

    def _keeper_ended(self, keeper: asyncio.Task[None]) -> None:
        if not keeper.cancelled() and (error := keeper.exception()) is not None:
            log.error("client_fault", exc_info=error)
            self._finish(ProcessDown("The client has failed"))

    async def _keep_joined(self) -> None:
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                await self._join()
                pause_s = FIRST_PAUSE_S
                await self._until_lost()
            except Unauthorized as error:
                self._trouble = error
                if not self._identity.renews_token:
                    self._finish(error)
                    return
            except (RuntimeFault, Forbidden, InvalidSettings) as error:
                self._trouble = error  # Forbidden: another process has the port that was the root's
            self._joined.clear()
            await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))  # noqa: S311  # jitter
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    async def _join(self) -> None:
        address, instance = self._identity.find()
        self._peers.token = self._identity.token()
        self._lost.clear()
        self._owners = None
        try:
            async with asyncio.timeout(JOIN_TIMEOUT_S):
                await self._node.join(address, instance)
        except TimeoutError:
            self._peers.forget(address, "it did not answer in time")
            raise NoProcess(f"{address} does not answer") from None
        self._joined.set()

    async def _until_lost(self) -> None:
        """Return when the connection to the root is gone. Raises RuntimeFault when the root does not answer."""
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._lost.wait(), PROBE_S)
                return
            try:
                await self._node.resynchronise()
            except RuntimeFault:
                self._peers.close()  # no answers come over the others either
                raise

    def _registry_lost(self) -> None:
        self._lost.set()

    def _finish(self, error: BitNexusError) -> None:
        if self._end is None:
            self._end = error
            if self._keeper is not None:
                self._node.fail_calls(error)

    # -- the node --------------------------------------------------------------------------------------------

    @property
    def is_joined(self) -> bool:
        """Whether the node is there just now."""
        return self._joined.is_set()

    def names(self) -> list[str]:
        """The names of the node's processes, sorted, as far as is known just now."""
        return self._node.names()

    async def call(
        self, name: str, message: Message, *, timeout_s: float | None = None, retry: bool = False
    ) -> Message:
        """Send `message` to the process `name` and wait for its answer.

        With `retry` (idempotent messages only) it is repeated whenever the process, or the node, restarts.

        Raises:
            CallTimeout: no answer within `timeout_s` (else the client's); it may have had its effect.
            NoProcess, Overloaded: before any effect.
            ProcessDown: the process or the connection died; it may have had its effect.
            Forbidden, Unauthorized: the access token does not allow it, or has expired.
            BitNexusError: what else the process answered.
        """
        if self._end is not None:
            raise self._end
        limit_s = self._timeout_s if timeout_s is None else timeout_s
        return await self._node.call(name, message, timeout_s=limit_s, retry=retry)

    async def transfer(
        self,
        *,
        debit: str,
        credit: str,
        amount: int,
        asset: str,
        transfer_id: str | None = None,
        code: int = 0,
        description: str = "",
        metadata: str = "",
        timeout_s: float | None = None,
    ) -> TransferResult:
        """Post a transfer in the name of this client's access token; repeated under one id until it is answered.

        `amount` is in minor units. Give a `transfer_id` (a UUID) that you have kept, to repeat the transfer after a
        crash of your own. The result has the `transfer`, or the ledger's `refusal`.

        Raises:
            BitNexusError: as `call`; NotFound when the debit account is not the caller's.
        """
        caller = caller_of(self._peers.token)
        message = PostTransfer(
            user_id=caller.user_id,
            role=caller.role,
            transfer_id=transfer_id or new_transfer_id(),
            debit_account_id=debit,
            credit_account_id=credit,
            amount=amount,
            asset=asset,
            code=code,
            description=description,
            metadata=metadata,
        )
        result = await self._command(caller.user_id, message, self._timeout_s if timeout_s is None else timeout_s)
        if not isinstance(result, TransferResult):
            raise UnknownMessage(f"A transfer was answered by {type(result).__name__}")
        return result

    async def _command(self, user_id: str, message: Message, timeout_s: float) -> Message:
        """A user's command, to whichever partition serves the user; repeated until it is answered or the time is up."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        while True:
            name = await self.partition_of(user_id, timeout_s=deadline - loop.time())
            left_s = deadline - loop.time()
            try:
                return await self.call(name, message, timeout_s=min(left_s, ATTEMPT_S), retry=True)
            except Moved:
                await asyncio.sleep(MOVING_S)
            except CallTimeout:
                if left_s <= ATTEMPT_S:
                    raise
            self._owners = None  # the user may have moved, and the partition be gone

    async def partition_of(self, user_id: str, *, timeout_s: float | None = None) -> str:
        """The name of the process that takes the commands of this user.

        That may change at any time: then it answers by Moved, before any effect. Raises as `call`.
        """
        if self._owners is None:
            answer = await self.call(TRANSACTIONS, GetPartitions(), timeout_s=timeout_s, retry=True)
            if not isinstance(answer, Partitions):
                raise UnknownMessage(f"{TRANSACTIONS} answered by {type(answer).__name__}")
            self._owners = answer.owners
        return partition_name(TRANSACTIONS, self._owners[slot_of(user_id)])


def connect(
    address: str | None = None,
    *,
    token: Token | None = None,
    cookie: str | bytes | None = None,
    tls: TlsFiles | None = None,
    connect_timeout_s: float = CONNECT_TIMEOUT_S,
    timeout_s: float = DEFAULT_TIMEOUT_S,
) -> Client:
    """A client of the node at `address` ("host:port" of its root), to be entered by ``async with``.

    What is None comes from the environment (see the package). `token` may be a function that gives a fresh token: then
    the client outlives each of them. `timeout_s` holds for calls that give none.

    Raises:
        InvalidSettings: the environment is wrong, or there is no cookie.
    """
    return Client(Identity(address, token, cookie, tls), connect_timeout_s=connect_timeout_s, timeout_s=timeout_s)


def _no_envelopes(connection: Connection, body: bytes) -> bool:  # noqa: ARG001  # Thespian's messages are pickles
    connection.close("a client takes no envelopes")
    return False


def _no_messages(message: Message, context: Context) -> None:
    context.fail(UnknownMessage(f"A client does not take {type(message).__name__}"))


def _fault(error: Exception) -> None:
    log.error("client_fault", exc_info=error)
