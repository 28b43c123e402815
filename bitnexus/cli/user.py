"""``bitnexus user``: the accounts of operators and of services, and tokens for them."""

from __future__ import annotations

import asyncio
import contextlib
import re
import secrets
import sys
import uuid
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import click

from bitnexus.cli._database import database_url

if TYPE_CHECKING:
    from bitnexus.storage.database import Executor
    from bitnexus.storage.users import Role, User

SHORTEST_PASSWORD = 8
LONGEST_PASSWORD = 1024
LONGEST_TOKEN_S = 366 * 86_400

_LIFETIME = re.compile(r"([0-9]{1,9})([smhd])")
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


@click.group("user")
def command() -> None:
    """Manage users."""


@command.command("create-admin")
@click.option("--email", required=True, help="The email to log in with.")
@click.option("--name", default="Administrator", show_default=True, help="The name shown.")
@click.option("--password-stdin", is_flag=True, help="Read the password from the first line of standard input.")
def create_admin(*, email: str, name: str, password_stdin: bool) -> None:
    """Create a user who may administrate the service."""
    _check_email(email)
    password = _read_password(from_stdin=password_stdin)
    with database_url() as url:
        user = asyncio.run(_create(url, email, name, password, "admin"))
    click.echo(f"The admin {user.email} was created, with the id {user.id}.")


@command.command("create-service")
@click.option("--email", required=True, help="What the account is called by; it has no password.")
@click.option("--name", default="Service", show_default=True, help="The name shown.")
def create_service(*, email: str, name: str) -> None:
    """Create an account for a program; `bitnexus user token` gives it what it comes in with."""
    _check_email(email)
    with database_url() as url:
        # Nobody keeps this password, so nobody logs in by it.
        user = asyncio.run(_create(url, email, name, secrets.token_urlsafe(32), "service"))
    click.echo(f"The service account {user.email} was created, with the id {user.id}.")


@command.command()
@click.option("--email", required=True, help="Whose token.")
@click.option("--lifetime", default="24h", show_default=True, help="How long it is valid: 90s, 15m, 12h, 30d.")
def token(*, email: str, lifetime: str) -> None:
    """Print an access token for a user, and nothing else. Whoever has it acts as that user until it ends."""
    from bitnexus.config import get_settings
    from bitnexus.tokens import AccessTokens

    ttl_s = _seconds(lifetime)
    with database_url() as url:
        user = asyncio.run(_find(url, email))
    settings = get_settings()
    tokens = AccessTokens(settings.secret_key_base.get_secret_value(), settings.access_token_ttl_s)
    click.echo(tokens.issue(user.id, user.role, ttl_s=ttl_s))


async def _create(url: str, email: str, name: str, password: str, role: Role) -> User:
    from bitnexus.passwords import hash_password
    from bitnexus.storage import users

    async with _connection(url) as connection:
        return await users.insert(
            connection,
            user_id=str(uuid.uuid4()),
            email=email,
            name=name,
            password_hash=hash_password(password),
            role=role,
        )


async def _find(url: str, email: str) -> User:
    from bitnexus.storage import users

    async with _connection(url) as connection:
        user = await users.by_email(connection, email)
    if user is None:
        raise click.ClickException("There is no user with this email.")
    return user


@contextlib.asynccontextmanager
async def _connection(url: str) -> AsyncIterator[Executor]:
    from bitnexus.storage import schema
    from bitnexus.storage.database import Database

    if not (await schema.status(url)).is_current:
        raise click.ClickException("The schema is not up to date: run `bitnexus db migrate` first.")
    database = await Database.connect(url, pool_size=1, process="user")
    try:
        async with database.connection() as connection:
            yield connection
    finally:
        await database.close()


def _seconds(lifetime: str) -> int:
    found = _LIFETIME.fullmatch(lifetime)
    seconds = int(found[1]) * _UNITS_S[found[2]] if found else 0
    if not 0 < seconds <= LONGEST_TOKEN_S:
        raise click.BadParameter("must be a number with s, m, h or d, at most 366d", param_hint="--lifetime")
    return seconds


def _check_email(email: str) -> None:
    local, _, domain = email.partition("@")
    if not local or not domain or any(c.isspace() for c in email) or "@" in domain:
        raise click.BadParameter("is not an email address", param_hint="--email")


def _read_password(*, from_stdin: bool) -> str:
    if from_stdin:
        password = sys.stdin.readline(LONGEST_PASSWORD + 2).removesuffix("\n").removesuffix("\r")
    else:
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        raise click.ClickException(f"A password has {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters.")
    return password
