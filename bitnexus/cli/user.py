"""``bitnexus user``: the accounts of operators."""

from __future__ import annotations

import asyncio
import sys
import uuid
from typing import TYPE_CHECKING

import click

from bitnexus.cli._database import database_url

if TYPE_CHECKING:
    from bitnexus.storage.users import User

SHORTEST_PASSWORD = 8
LONGEST_PASSWORD = 1024


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
        user = asyncio.run(_create(url, email, name, password))
    click.echo(f"The admin {user.email} was created, with the id {user.id}.")


async def _create(url: str, email: str, name: str, password: str) -> User:
    from bitnexus.passwords import hash_password
    from bitnexus.storage import schema, users
    from bitnexus.storage.database import Database

    if not (await schema.status(url)).is_current:
        raise click.ClickException("The schema is not up to date: run `bitnexus db migrate` first.")
    database = await Database.connect(url, pool_size=1, process="user")
    try:
        async with database.connection() as connection:
            return await users.insert(
                connection,
                user_id=str(uuid.uuid4()),
                email=email,
                name=name,
                password_hash=hash_password(password),
                role="admin",
            )
    finally:
        await database.close()


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
