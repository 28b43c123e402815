"""A shop of one product against a till of three numbers: any purchases, at any price, under few keys."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitnexus.actors.ledger.accounts import Account, stock_account_id, units_transfer_id, world_account_id
from bitnexus.actors.ledger.blocks import decide
from bitnexus.actors.ledger.book import Book
from bitnexus.actors.ledger.commands import EVENTS_OF_PURCHASE, Item, Recorded, check_syntax, weight
from bitnexus.actors.ledger.log import Head
from bitnexus.actors.messages import Purchase, TransferResult, TransferResults
from bitnexus.actors.transactions.purchase import Bought, Differs, NotBought, is_carried_out, outcome
from bitnexus.errors import REFUSALS, BadRequest, UnknownMessage
from tests.property.test_book_machine import NOBODY

USD, MUG = "USD/2", "SKU:MUG-1/0"
SHOP, STOCK = str(UUID(int=1)), stock_account_id(MUG)
PAYERS = [str(UUID(int=10 + number)) for number in range(3)]
UNITS = [str(UUID(int=20 + number)) for number in range(3)]
BUYERS = [str(UUID(int=30 + number)) for number in range(3)]


def purchase(buyer: int, key: int, quantity: int, price: int) -> Purchase:
    return Purchase(
        BUYERS[buyer],
        "user",
        str(UUID(int=100 * (buyer + 1) + key)),
        PAYERS[buyer],
        SHOP,
        quantity * price,
        USD,
        STOCK,
        UNITS[buyer],
        quantity,
        MUG,
        f'{{"quantity":{quantity}}}',
    )


def opened(stock: int, funds: int) -> Book:
    book = Book(100)
    book.load(Account(world_account_id(USD), owner_id="", asset=USD, flags=0))
    book.load(Account(STOCK, owner_id="", asset=MUG, credits_posted=stock))
    book.load(Account(SHOP, owner_id="", asset=USD))
    for owner, payer in zip(BUYERS, PAYERS, strict=True):
        book.load(Account(payer, owner_id=owner, asset=USD, credits_posted=funds))
    return book


def balance(book: Book, account_id: str) -> int | None:
    account = book.get(account_id)
    return None if account is None else account.balance


WANTED = st.tuples(st.integers(0, 2), st.integers(0, 5), st.integers(1, 4), st.sampled_from([5, 5, 5, 7]))


@given(st.integers(0, 12), st.integers(0, 60), st.lists(st.lists(WANTED, max_size=4), max_size=8))
def test_every_purchase_is_both_or_neither_and_has_one_outcome_for_ever(stock, funds, blocks):
    book, head, recent = opened(stock, funds), Head(), dict[str, Recorded]()
    had, earned, owned = [funds] * 3, 0, [0] * 3
    first: dict[str, tuple[Purchase, object]] = {}
    for wanted in blocks:
        asked = [purchase(*each) for each in wanted]
        for each in asked:
            check_syntax(each)
        block = decide(
            book,
            head,
            [Item(each, NOBODY) for each in asked],
            recent=recent,
            looked_up={},
            now_us=1,
            entropy=bytes(16 * sum(map(weight, asked))),
        )
        assert block.plain, "plain transfers and openings: the quick way to be written"
        book.seal()
        book.commit()
        recent |= block.recorded
        head = block.head
        for (buyer, _, quantity, price), each, answer in zip(wanted, asked, block.answers, strict=True):
            assert isinstance(answer, TransferResults)
            found = outcome(each, answer.results)
            earlier = first.get(each.purchase_id)
            if earlier is None:
                if had[buyer] < quantity * price:
                    assert found == NotBought("insufficient_funds", replayed=False)
                elif stock < quantity:
                    assert found == NotBought("out_of_stock", replayed=False)
                else:
                    assert isinstance(found, Bought)
                    assert (found.payment.amount, found.units.amount) == (quantity * price, quantity)
                    assert not found.replayed
                    had[buyer] -= quantity * price
                    owned[buyer] += quantity
                    earned += quantity * price
                    stock -= quantity
                first[each.purchase_id] = each, found
            elif earlier[0] == each:
                before = earlier[1]
                assert isinstance(found, Bought | NotBought)
                assert found.replayed
                if isinstance(before, Bought):
                    assert isinstance(found, Bought)
                    assert (found.payment, found.units) == (before.payment, before.units)
                else:
                    assert isinstance(before, NotBought)
                    assert found == NotBought(before.refusal, replayed=True)
            else:
                assert isinstance(found, Differs)
                assert found.refusal == "exists_with_different_amount"
            assert is_carried_out(answer) == isinstance(found, Bought)
        assert [balance(book, payer) for payer in PAYERS] == had
        assert [balance(book, id_) for id_ in UNITS] == [count or None for count in owned]
        assert (balance(book, SHOP), balance(book, STOCK)) == (earned, stock)


@given(st.integers(1, 4), st.sampled_from(["account_frozen", "account_closed", "overflow", "chain_id_taken"]))
def test_other_refusals_keep_their_names_whichever_transfer_they_are_of(quantity, refusal):
    bought = purchase(0, 0, quantity, 5)
    ids = bought.purchase_id, units_transfer_id(bought.purchase_id)
    for refusals in ((refusal, "linked_event_failed"), ("linked_event_failed", refusal)):
        results = [TransferResult(id_, None, each) for id_, each in zip(ids, refusals, strict=True)]
        assert outcome(bought, results) == NotBought(refusal, replayed=False)
        assert refusal in REFUSALS


def test_the_words_of_the_shop_are_known_refusals():
    assert {"insufficient_funds", "out_of_stock"} <= REFUSALS.keys()


def test_an_answer_to_another_purchase_is_not_believed():
    bought = purchase(0, 0, 1, 5)
    units = units_transfer_id(bought.purchase_id)
    for ids in ((), (bought.purchase_id,), (units, bought.purchase_id), (bought.purchase_id, bought.purchase_id)):
        with pytest.raises(UnknownMessage):
            outcome(bought, [TransferResult(id_, None, "exceeds_credits") for id_ in ids])
    with pytest.raises(UnknownMessage):
        outcome(bought, [TransferResult(id_, None, "linked_event_failed") for id_ in (bought.purchase_id, units)])


@pytest.mark.parametrize(
    "changes",
    [
        {"purchase_id": "x"},
        {"user_id": ""},
        {"payer_account_id": ""},
        {"units_account_id": "x"},
        {"units_account_id": world_account_id(MUG)},
        {"amount": 0},
        {"quantity": 2**53},
        {"units_asset": "mug"},
        {"metadata": "\x00"},
    ],
)
def test_a_malformed_purchase_is_refused_before_anything(changes):
    fields = {name: getattr(purchase(0, 0, 1, 5), name) for name in Purchase.__struct_fields__}
    assert weight(Purchase(**fields)) == EVENTS_OF_PURCHASE
    with pytest.raises(BadRequest):
        check_syntax(Purchase(**(fields | changes)))
