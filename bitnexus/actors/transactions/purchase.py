"""A purchase at the buyer's transaction actor, and what the ledger's answer to it means. Pure.

    in                                       out
    Purchase, paid from an own account       to the ledger
    Purchase, from any other                 NotFound, as for a transfer
    the ledger's answer, both carried out    the account of the units is the buyer's from now on
    no answer of the ledger's                that account may be there: the actor is rebuilt

The ledger knows two transfers only. Here it is said which of them failed, in the words of a shop: ``out_of_stock`` when
it was the units, ``insufficient_funds`` when it was the payment. Both stand for ``exceeds_credits``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

from bitnexus.actors.ledger.accounts import units_transfer_id
from bitnexus.actors.messages import Purchase, Transfer, TransferResult, TransferResults
from bitnexus.errors import UnknownMessage

_LINKED: Final = "linked_event_failed"
_EXISTS: Final = "exists_with_different_"
_SHORT: Final = "exceeds_credits"
#: The payment's and the units' word for an account that has too little.
_SHORTAGES: Final = ("insufficient_funds", "out_of_stock")


@dataclass(frozen=True, slots=True)
class Bought:
    """Money and units have changed hands."""

    payment: Transfer
    units: Transfer
    replayed: bool


@dataclass(frozen=True, slots=True)
class NotBought:
    """Nothing has, for good: the code of REFUSALS."""

    refusal: str
    replayed: bool


@dataclass(frozen=True, slots=True)
class Differs:
    """The id was used with other fields: those of another command, or of this purchase at an earlier price."""

    refusal: str


Outcome: TypeAlias = Bought | NotBought | Differs


def is_carried_out(results: TransferResults) -> bool:
    """Whether both transfers were, so that there is an account of units."""
    return all(each.transfer is not None for each in results.results)


def outcome(purchase: Purchase, results: list[TransferResult]) -> Outcome:
    """What the results of the payment and of the units mean together.

    Raises:
        UnknownMessage: they are not those of this purchase.
    """
    ids = [purchase.purchase_id, units_transfer_id(purchase.purchase_id)]
    if [result.transfer_id for result in results] != ids:
        raise UnknownMessage("the answer is to another purchase")
    payment, units = results
    differs = [each.refusal for each in results if each.refusal is not None and each.refusal.startswith(_EXISTS)]
    if differs:
        return Differs(differs[0])
    if payment.transfer is not None and units.transfer is not None:
        return Bought(payment.transfer, units.transfer, payment.replayed and units.replayed)
    for result, shortage in zip(results, _SHORTAGES, strict=True):
        if result.refusal not in {None, _LINKED}:
            refusal = shortage if result.refusal == _SHORT else result.refusal
            return NotBought(refusal or "", result.replayed)
    raise UnknownMessage("neither a purchase nor a refusal")
