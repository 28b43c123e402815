"""What the ledger's answer to a command means for the user's limits. Pure.

What becomes of the amounts that were held:

- a result of each transfer: they are counted, or let go. What happened is known;
- CallTimeout, ProcessDown: they stay held. It may have happened, or may happen yet;
- another fault, DatabaseUnavailable: they stay held, but the actor may be rebuilt at once. This was refused before any
  effect, but by a ledger whose predecessor may have died with it in work;
- any other error: they are let go. It would be answered so at any time.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from bitnexus.actors.ledger.commands import transfers_of
from bitnexus.actors.messages import (
    PostTransfer,
    PostTransfers,
    Purchase,
    TransferReceipts,
    TransferResult,
    TransferResults,
)
from bitnexus.actors.runtime.message import Message
from bitnexus.actors.transactions.allowance import DAY_US, DOUBT_US, Allowance
from bitnexus.errors import BitNexusError, CallTimeout, DatabaseUnavailable, ProcessDown, RuntimeFault


def settle(
    allowance: Allowance,
    command: PostTransfer | PostTransfers | Purchase,
    result: Message | BitNexusError,
    *,
    own: Collection[str],
    now_us: int,
    mine: bool,
) -> bool:
    """Tell the allowance; True if storage should be asked again when there is time.

    `mine`: the command was passed on in this life of the actor.
    """
    transfers = transfers_of(command)
    if not isinstance(result, BitNexusError):
        for request, event in zip(transfers, _events(result, now_us // DAY_US), strict=True):
            if allowance.counts(request, own):
                allowance.settle(request, *event, mine=mine and not request.refuse)
        return False
    held = [request for request in transfers if not request.refuse and allowance.counts(request, own)]
    if isinstance(result, RuntimeFault | DatabaseUnavailable):
        may_happen = isinstance(result, CallTimeout | ProcessDown)
        for request in held:
            allowance.doubt(request, now_us + DOUBT_US if may_happen else now_us, mine=mine)
        return True
    if mine:
        for request in held:
            allowance.release(request)
    return False


def _events(result: Message, today: int) -> Sequence[tuple[int | None, int]]:
    """Of each transfer: its event and that one's day, or (None, …) if it was refused."""
    if isinstance(result, TransferReceipts):
        # Receipts do not say when. At midnight what was of the last day can so count on this one.
        return [(seq if at not in result.refusals else None, today) for at, seq in enumerate(result.seqs)]
    if isinstance(result, TransferResult):
        results: Sequence[TransferResult] = (result,)
    else:
        assert isinstance(result, TransferResults)
        results = result.results
    return [
        (None, today) if each.transfer is None else (each.transfer.seq, each.transfer.time_us // DAY_US)
        for each in results
    ]
