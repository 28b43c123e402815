"""Pages of transfers: whose they are, where they begin, and where the next one does."""

from __future__ import annotations

from collections.abc import Sequence

from bitnexus.http.pages import PageQuery, Place, cursor_of, one_page, place_of
from bitnexus.http.services import Services
from bitnexus.principal import Principal
from bitnexus.storage.ledger_pages import HistoryAsked, TransferPage
from bitnexus.storage.ledger_transfer_now import AsItIs


def viewer_of(principal: Principal) -> str | None:
    """Whose accounts alone the caller may see; None: an admin, who sees all."""
    return None if principal.is_admin else principal.user_id


def begins_at(services: Services, query: PageQuery, bound_to: str) -> tuple[int | None, int | None]:
    """As of which event the list is, and before which one its page begins; None where the list begins.

    Raises:
        BadCursor: it is not of this list.
    """
    place = place_of(services.cursors, query.cursor, bound_to)
    return (None, None) if place is None else (place.as_of_seq, int(place.position))


def asked_of(
    services: Services, principal: Principal, account_id: str, query: PageQuery, bound_to: str
) -> HistoryAsked:
    """The page of an account's transfers that is asked for, with one more if the list goes on; `BadCursor` as above."""
    as_of_seq, before_seq = begins_at(services, query, bound_to)
    return HistoryAsked(account_id, viewer_of(principal), as_of_seq, before_seq, query.limit + 1)


def shown_of(
    services: Services, found: TransferPage, query: PageQuery, bound_to: str
) -> tuple[Sequence[AsItIs], str | None]:
    """The transfers of a page, without the one more, and the cursor of the next page."""
    shown, following = one_page(found.transfers, query.limit, lambda last: Place(last[0].seq, found.as_of_seq))
    return shown, cursor_of(services.cursors, following, bound_to)
