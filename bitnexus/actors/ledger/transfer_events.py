"""A transfer is given other words: an event of the log, each of them once. Pure."""

from __future__ import annotations

from bitnexus import errors
from bitnexus.actors.ledger.block import Block
from bitnexus.actors.ledger.book import Subject
from bitnexus.actors.ledger.commands import Annotated
from bitnexus.actors.ledger.leaves import leaf_of_annotation
from bitnexus.actors.ledger.log import leaf_hash
from bitnexus.actors.messages import AnnotateTransfer, TransferAnnotated


def annotate(
    block: Block, command: AnnotateTransfer, subject: Subject | None, before: Annotated, salt: bytes
) -> TransferAnnotated | errors.BitNexusError:
    """Give the transfer other words, or find that it was done; `before` has the annotations of earlier blocks."""
    known = block.annotations.get(command.annotation_id) or before.by_id.get(command.annotation_id)
    if known is not None:
        asked = (command.transfer_id, command.description, command.metadata)
        if (known.transfer_id, known.description, known.metadata) != asked:
            return errors.Conflict("The id is in use for another annotation.")
        return known
    if subject is None or subject.transfer.debit_account_id != command.debit_account_id:
        return errors.NotFound()
    present = block.words_of(command.transfer_id) or before.latest.get(command.transfer_id) or subject.transfer
    if command.if_seqs is not None and present.seq not in command.if_seqs:
        return errors.PreconditionFailed()
    event = TransferAnnotated(
        command.annotation_id,
        command.transfer_id,
        command.description,
        command.metadata,
        command.user_id,
        *block.place(),
    )
    block.plain = False
    block.leaves.append(leaf_hash(leaf_of_annotation(event, salt)))
    block.annotations[event.annotation_id] = event
    block.annotation_salts.append(salt)
    block.events.append(event)
    return event
