"""``bitnexus ledger``: verify and export the ledger, its books, last checkpoint, proofs of its transfers, the key.

Everything is read from the database and the data directory, at one moment; the service may run meanwhile. Verifying an
exported file needs neither. Exit code 1 when something is wrong with the ledger, and the first wrong place on the
standard error output.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import click

from bitnexus.cli._books import blocks, trial_balance
from bitnexus.cli._database import at_one_moment

if TYPE_CHECKING:
    from bitnexus.actors.ledger.audit import Verified
    from bitnexus.actors.ledger.checkpoint import Checkpoint, Verifier

#: How long the reader of an export may take for what it was given before the database's snapshot is given up.
_SLOW_READER: Final = "1h"


@click.group("ledger")
def command() -> None:
    """Verify the ledger, read its books, and show what outsiders can verify it with."""


command.add_command(blocks)
command.add_command(trial_balance)


@command.command()
@click.argument("file", required=False)
@click.option("--key", "key_text", metavar="KEY", help="The verifier key that you know; else the file's own is taken.")
@click.option(
    "--checkpoint",
    "checkpoints",
    multiple=True,
    type=click.File("rb"),
    help="A checkpoint that you have kept, which the ledger must extend. May be repeated.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def verify(*, file: str | None, key_text: str | None, checkpoints: tuple[BinaryIO, ...], as_json: bool) -> None:
    """Recompute every hash, block, signature and balance, from the database or from an exported FILE ("-": a pipe)."""
    from bitnexus.actors.ledger.audit import Wrong
    from bitnexus.actors.ledger.checkpoint import LONGEST_NOTE, NoteInvalid, Verifier

    notes = [kept.read(4 * LONGEST_NOTE + 1).decode("utf-8", "replace") for kept in checkpoints]
    try:
        trusted = None if key_text is None else Verifier.from_text(key_text)
    except NoteInvalid as error:
        raise click.BadParameter(str(error), param_hint="--key") from error
    try:
        found, verifier = _verify_stored(trusted, notes) if file is None else _verify_file(file, trusted, notes)
    except Wrong as wrong:
        raise click.ClickException(str(wrong)) from wrong
    _show(found, None if verifier is None else verifier.text, known=file is None or trusted is not None, json=as_json)


def _show(found: Verified, key: str | None, *, known: bool, json: bool) -> None:
    import orjson

    if json:
        shown = dataclasses.asdict(found) | {"root": found.root.hex(), "key": key, "key_given": known}
        click.echo(orjson.dumps(shown, option=orjson.OPT_INDENT_2).decode())
        return
    click.echo(f"blocks    {found.blocks}")
    click.echo(f"events    {found.events}")
    click.echo(f"accounts  {found.accounts}")
    click.echo(f"root      {found.root.hex()}")
    click.echo(f"signed    {found.signed or 'nothing yet'}")
    if key is not None and found.signed:
        click.echo(f"key       {key}")
    if key is not None and not known:
        click.echo("The key is the file's own: compare it with the one that you know, or give it with --key.")
    click.echo("Everything is in order.")


def _verify_stored(trusted: Verifier | None, notes: list[str]) -> tuple[Verified, Verifier]:
    from bitnexus.actors.ledger.verification import verify as verify_stored
    from bitnexus.cli._progress import progress_bar

    verifier = trusted or _verifier()
    note = _last_note()
    signed = [_verified(each, verifier) for each in (*([] if note is None else [note]), *notes)]

    async def run(db: Any) -> Verified:  # noqa: ANN401 - asyncpg has no types
        with progress_bar("events") as progress:
            return await verify_stored(db, *signed, progress=progress)

    return at_one_moment(run), verifier


def _verify_file(file: str, trusted: Verifier | None, notes: list[str]) -> tuple[Verified, Verifier | None]:
    from bitnexus.actors.ledger.export_audit import verify_lines
    from bitnexus.actors.ledger.export_lines import MAX_LINE_BYTES, Unreadable
    from bitnexus.cli._compressed import lines_of
    from bitnexus.cli._progress import progress_bar

    try:
        with lines_of(file, MAX_LINE_BYTES, Unreadable) as lines, progress_bar("events") as progress:
            return verify_lines(lines, trusted=trusted, notes=notes, progress=progress)
    except OSError as error:
        raise click.FileError(file, error.strerror) from error


@command.command()
@click.argument("file")
@click.option("--force", is_flag=True, help="Replace FILE if there is one.")
def export(*, file: str, force: bool) -> None:
    """Write all that `verify FILE` needs, and any other verifier: JSON lines, compressed if FILE ends in .gz or .zst.

    "-" is the standard output. The file holds descriptions, metadata and the owners of accounts: it is readable by
    yourself alone.
    """
    from bitnexus.actors.ledger.audit import Wrong
    from bitnexus.actors.ledger.export import export_lines
    from bitnexus.cli._compressed import created
    from bitnexus.cli._progress import progress_bar

    note = _last_note()
    verifier = None if note is None else _verifier()
    if note is not None:
        _verified(note, verifier)
    key = None if verifier is None else verifier.text

    async def run(db: Any) -> None:  # noqa: ANN401 - asyncpg has no types
        await db.execute(f"SET LOCAL idle_in_transaction_session_timeout = '{_SLOW_READER}'")
        async for piece in export_lines(db, key=key, checkpoint=note, progress=progress):
            try:
                output.write(piece)
            except OSError as error:
                raise _NotWritten from error  # here an OSError would be the database's

    try:
        with created(file, replace=force) as output, progress_bar("events") as progress:
            at_one_moment(run)
    except Wrong as wrong:
        raise click.ClickException(f"the stored ledger cannot be exported: {wrong}") from wrong
    except FileExistsError as error:
        raise click.ClickException(f"{file} is there already: --force replaces it") from error
    except (_NotWritten, OSError) as error:
        reason = error.__cause__ if isinstance(error, _NotWritten) else error
        if isinstance(reason, BrokenPipeError):
            raise reason from None
        raise click.ClickException(f"{file} cannot be written: {reason}") from error


class _NotWritten(Exception):
    """The output does not take what was exported."""


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
@click.option("--tlog-proof", "as_text", is_flag=True, help="As a C2SP tlog-proof, a text that is verified offline.")
def proof(transfer_id: object, *, as_text: bool) -> None:
    """Print the proof that a transfer is in the last signed tree, as JSON."""
    import orjson

    from bitnexus.actors.ledger.archive import inclusion_proof, leaf_of
    from bitnexus.actors.ledger.checkpoint import tlog_proof
    from bitnexus.actors.ledger.log import leaf_hash
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
        seq = row.transfer.seq
        if seq >= signed.size:
            raise click.ClickException("the transfer is newer than the last checkpoint")
        return seq, leaf_of(row), await inclusion_proof(db, seq, signed.size)

    try:
        seq, leaf, nodes = at_one_moment(run)
        hashed = leaf_hash(leaf)
        verify_inclusion(hashed, seq, signed.size, nodes, signed.root)
    except ProofInvalid as wrong:
        raise click.ClickException(f"the stored ledger does not prove it: {wrong}") from wrong
    if as_text:
        click.echo(tlog_proof(leaf, seq, nodes, note), nl=False)
        return
    shown = {"index": seq, "leaf_hash": hashed.hex(), "proof": [node.hex() for node in nodes], "checkpoint": note}
    click.echo(orjson.dumps(shown, option=orjson.OPT_INDENT_2).decode())


def _last_note() -> str | None:
    from bitnexus.actors.ledger.notary import FILE
    from bitnexus.config import get_settings

    try:
        return (get_settings().data_dir / FILE).read_text("utf-8")
    except FileNotFoundError:
        return None


def _verifier() -> Verifier:
    from bitnexus.actors.ledger.checkpoint import Signer
    from bitnexus.config import get_settings
    from bitnexus.config.ledger_key import ledger_key

    settings = get_settings()
    return Signer(settings.log_origin, ledger_key(settings)).verifier


def _verified(note: str, verifier: Verifier | None = None) -> Checkpoint:
    from bitnexus.actors.ledger.checkpoint import NoteInvalid

    try:
        return (verifier or _verifier()).verify(note)
    except NoteInvalid as wrong:
        raise click.ClickException(f"a checkpoint is not signed by the ledger's key: {wrong}") from wrong
