"""``bitnexus ledger``: verify the ledger that is stored, its books, last checkpoint, proofs of its transfers, the key.

Everything is read from the database and the data directory; the service may run meanwhile. Exit code 1 when something
is wrong with the ledger, and the first wrong place on the standard error output.
"""

from __future__ import annotations

from typing import Any

import click

from bitnexus.cli._books import blocks, trial_balance
from bitnexus.cli._database import at_one_moment


@click.group("ledger")
def command() -> None:
    """Verify the ledger, read its books, and show what outsiders can verify it with."""


command.add_command(blocks)
command.add_command(trial_balance)


@command.command()
def verify() -> None:
    """Recompute every hash, block, signature and balance from the stored rows."""
    from bitnexus.actors.ledger.audit import Wrong
    from bitnexus.actors.ledger.verification import Verified
    from bitnexus.actors.ledger.verification import verify as verify_stored

    checkpoint = None
    note = _last_note()
    if note is not None:
        checkpoint = _verified(note)

    async def run(db: Any) -> Verified:  # noqa: ANN401 - asyncpg has no types
        return await verify_stored(db, checkpoint)

    try:
        found = at_one_moment(run)
    except Wrong as wrong:
        raise click.ClickException(str(wrong)) from wrong
    click.echo(f"blocks    {found.blocks}")
    click.echo(f"events    {found.events}")
    click.echo(f"accounts  {found.accounts}")
    click.echo(f"root      {found.root.hex()}")
    click.echo(f"signed    {'nothing yet' if checkpoint is None else checkpoint.size}")
    click.echo("Everything is in order.")


@command.command()
def checkpoint() -> None:
    """Print the last signed checkpoint."""
    note = _last_note()
    if note is None:
        raise click.ClickException("nothing has been signed yet in this data directory")
    _verified(note)
    click.echo(note, nl=False)


@command.command()
def key() -> None:
    """Print the verifier key of the checkpoints."""
    click.echo(_verifier().text)


@command.command()
@click.argument("transfer_id", type=click.UUID)
def proof(transfer_id: object) -> None:
    """Print the proof that a transfer is in the last signed tree, as JSON."""
    import orjson

    from bitnexus.actors.ledger.archive import inclusion_proof, seq_and_leaf
    from bitnexus.actors.ledger.proofs import ProofInvalid, verify_inclusion
    from bitnexus.storage import ledger_tree

    note = _last_note()
    if note is None:
        raise click.ClickException("nothing has been signed yet in this data directory")
    signed = _verified(note)

    async def run(db: Any) -> tuple[int, bytes, list[bytes]]:  # noqa: ANN401 - asyncpg has no types
        row = await ledger_tree.transfer_with_salt(db, str(transfer_id))
        if row is None:
            raise click.ClickException("there is no such transfer")
        seq, leaf = seq_and_leaf(row)
        if seq >= signed.size:
            raise click.ClickException("the transfer is newer than the last checkpoint")
        return seq, leaf, await inclusion_proof(db, seq, signed.size)

    try:
        seq, leaf, nodes = at_one_moment(run)
        verify_inclusion(leaf, seq, signed.size, nodes, signed.root)
    except ProofInvalid as wrong:
        raise click.ClickException(f"the stored ledger does not prove it: {wrong}") from wrong
    shown = {"index": seq, "leaf_hash": leaf.hex(), "proof": [node.hex() for node in nodes], "checkpoint": note}
    click.echo(orjson.dumps(shown, option=orjson.OPT_INDENT_2).decode())


def _last_note() -> str | None:
    from bitnexus.actors.ledger.notary import FILE
    from bitnexus.config import get_settings

    try:
        return (get_settings().data_dir / FILE).read_text("utf-8")
    except FileNotFoundError:
        return None


def _verifier() -> Any:  # noqa: ANN401 - imported where it is needed
    from bitnexus.actors.ledger.checkpoint import Signer
    from bitnexus.config import get_settings
    from bitnexus.config.ledger_key import ledger_key

    settings = get_settings()
    return Signer(settings.log_origin, ledger_key(settings)).verifier


def _verified(note: str) -> Any:  # noqa: ANN401 - as above
    from bitnexus.actors.ledger.checkpoint import NoteInvalid

    try:
        return _verifier().verify(note)
    except NoteInvalid as wrong:
        raise click.ClickException(f"the last checkpoint is not signed by this ledger's key: {wrong}") from wrong
