"""``bitnexus openapi``: the API's description."""

from __future__ import annotations

import click
import orjson


@click.command("openapi")
def command() -> None:
    """Print the OpenAPI 3.1 document of the HTTP API, as JSON; no service needs to run."""
    from bitnexus.http.openapi.unserved import whole_document

    click.echo(orjson.dumps(whole_document(), option=orjson.OPT_INDENT_2).decode())
