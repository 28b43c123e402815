"""How the operators' commands of the command line reach the running node, and as whom.

With BITNEXUS_TOKEN the operator is the admin (or, to look, the service) of that token. Without it, whoever can read
the node's own secret is its operator: the command signs itself a token for a minute. The audit knows the operator by
the name of the account on this host.
"""

from __future__ import annotations

import asyncio
import os
import platform
import pwd
import sys
import uuid
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from bitnexus.errors import Unauthorized, UnknownMessage

if TYPE_CHECKING:
    from bitnexus.actors.operator_messages import Operator
    from bitnexus.actors.runtime.message import Message
    from bitnexus.client import Client
    from bitnexus.client.identity import Token

CONNECT_TIMEOUT_S: Final = 5.0
#: For looking; what changes the tree says itself how long it may take.
ANSWER_S: Final = 15.0
_TOKEN_S: Final = 60
_SPACE: Final = uuid.UUID("9d0c3b4e-6f5a-4e0e-9a53-0b8c1f6a7d21")

M = TypeVar("M", bound="Message")
T = TypeVar("T")

#: Options that many commands share.
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
path_argument = click.argument("path")
optional_path_argument = click.argument("path", default="")


def run(work: Callable[[Connected], Awaitable[T]], *, lasting: bool = False) -> T:
    """Join the node, do `work`, leave; with `lasting` it outlives tokens and the node's restarts.

    Raises BitNexusError.
    """
    import structlog

    # Our own output is for programs: what the client logs must not come between.
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    return asyncio.run(_run(work, lasting=lasting))


class Connected:
    """A way into the node, and the operator who came by it."""

    def __init__(self, client: Client, operator: Operator) -> None:
        self._client = client
        self.operator = operator

    async def ask(self, message: Message, wanted: type[M], *, timeout_s: float = ANSWER_S, retry: bool = False) -> M:
        """The answer of the node's operations. Raises BitNexusError."""
        from bitnexus.actors.operator_messages import OPERATIONS

        return await self.call(OPERATIONS, message, wanted, timeout_s=timeout_s, retry=retry)

    async def call(self, name: str, message: Message, wanted: type[M], *, timeout_s: float, retry: bool = False) -> M:
        """The answer of the process `name`. Raises BitNexusError."""
        answer = await self._client.call(name, message, timeout_s=timeout_s, retry=retry)
        if not isinstance(answer, wanted):
            raise UnknownMessage(f"The node answered by {type(answer).__name__}: it is of another version")
        return answer


async def _run(work: Callable[[Connected], Awaitable[T]], *, lasting: bool) -> T:
    from bitnexus.client import connect
    from bitnexus.client.identity import Identity

    token, operator = _identity(Identity(None, None, None, None))
    if callable(token) and not lasting:
        token = token()  # one that is refused is not tried again
    try:
        async with connect(token=token, connect_timeout_s=CONNECT_TIMEOUT_S) as client:
            return await work(Connected(client, operator))
    except Unauthorized as error:
        raise Unauthorized(
            f"{error.detail}. Set BITNEXUS_TOKEN (`bitnexus user token`), or run this where the node's settings are."
        ) from error


def _identity(known: Any) -> tuple[Token, Operator]:  # noqa: ANN401 - imported where it is needed
    from bitnexus.actors.operator_messages import Operator
    from bitnexus.client.identity import caller_of
    from bitnexus.config import get_settings
    from bitnexus.tokens import AccessTokens

    known.find()  # before anything is made for a node that is not there. Raises NoProcess
    name = _name()
    given: str = known.token()
    if given:
        caller = caller_of(given)
        return given, Operator(caller.user_id, caller.role, name, "cli")
    settings = get_settings()
    tokens = AccessTokens(settings.secret_key_base.get_secret_value(), _TOKEN_S)
    operator = on_this_host()
    return lambda: tokens.issue(operator.user_id, "admin"), operator


def on_this_host() -> Operator:
    """The operator whom the secrets of this host's settings admit: the account that runs the command."""
    from bitnexus.actors.operator_messages import Operator

    name = _name()
    return Operator(str(uuid.uuid5(_SPACE, name)), "admin", name, "cli", platform.node())


def _name() -> str:
    return f"{_login()}@{platform.node()}"


def _login() -> str:
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # an account without a name, as containers have
        name = f"uid {os.getuid()}"
    before = os.environ.get("SUDO_USER")
    return f"{before} as {name}" if before else name


def print_json(message: object) -> None:
    """An answer as JSON, indented on a terminal, else on one line."""
    import msgspec

    text = msgspec.json.encode(msgspec.to_builtins(plain(message)))
    click.echo((msgspec.json.format(text, indent=2) if sys.stdout.isatty() else text).decode())


def plain(message: object) -> object:
    """A message as an object with named fields; it travels as an array."""
    import msgspec

    if isinstance(message, msgspec.Struct):
        return {name: plain(getattr(message, name)) for name in message.__struct_fields__}
    if isinstance(message, list):
        return [plain(each) for each in message]
    return message
