"""``bitnexus node``: what the hosts of a node need to know each other."""

from __future__ import annotations

import re
from pathlib import Path

import click

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")


@click.group("node")
def command() -> None:
    """Prepare what a node and its clients prove to each other."""


@command.command()
@click.option(
    "--out",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="The directory of CA and certificates.",
)
@click.option(
    "--host", "hosts", multiple=True, help="An address or name of the node; may be repeated. [127.0.0.1, localhost]"
)
@click.option("--days", default=365, show_default=True, type=click.IntRange(1, 3650), help="How long it is valid.")
@click.option("--client", metavar="NAME", help="Make a certificate for the client NAME instead of the node.")
def cert(*, out: Path, hosts: tuple[str, ...], days: int, client: str | None) -> None:
    """Make a certificate and its key, and a development CA if DIR has none.

    A CA that is there is kept, so that what it issued stays valid; the certificate and its key are made anew.
    """
    from bitnexus.config.authority import issue

    name = "node" if client is None else client
    if not _NAME.fullmatch(name) or name == "ca" or (client is not None and name == "node"):
        raise click.BadParameter("must be letters, digits, - and _, and neither ca nor node", param_hint="--client")
    issued = issue(
        out.absolute(),
        name,
        hosts=list(hosts) or ["127.0.0.1", "localhost"],
        days=days,
        as_node=client is None,
    )
    files = issued.files
    click.echo(f"The CA {files.ca} was made." if issued.new_ca else f"The CA {files.ca} was kept.", err=True)
    click.echo(f"The certificate {files.cert} is valid until {issued.ends:%Y-%m-%d}. Set:", err=True)
    click.echo(f"BITNEXUS_NODE_TLS_CERT={files.cert}")
    click.echo(f"BITNEXUS_NODE_TLS_KEY={files.key}")
    click.echo(f"BITNEXUS_NODE_TLS_CA={files.ca}")
