"""What the ledger's answer to a command means for the user's limits. Pure.

the answer                               the amounts that were held
a result of each transfer                counted or let go: what happened is known
CallTimeout, ProcessDown                 stay held: it may have happened, or may happen yet
any other of the runtime's errors        let go: refused before any effect. But the ledger may have been asked before by
                                         this call, and have died of it: the actor is to be rebuilt
any other error                          let go: it would be answered so at any time
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
from bitnexus.actors.transactions.allowance import DAY_US, Allowance
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
    if isinstance(result, CallTimeout | ProcessDown):
        for request in held:
            allowance.doubt(request, now_us, mine=mine)
        return True
    if mine:
        for request in held:
            allowance.release(request)
    return isinstance(result, RuntimeFault | DatabaseUnavailable)


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
