"""What a client leaves out, and what follows from the transfer that it refers to."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitnexus.actors.ledger.accounts import world_account_id
from bitnexus.actors.messages import TransferRequest
from bitnexus.errors import Forbidden, InvalidFields, NotFound
from bitnexus.http.api.transactions import TransactionFields
from bitnexus.http.api.transfer_requests import id_of, missing_fields, request_of, subject_id
from bitnexus.http.idempotency import transfer_id
from bitnexus.principal import Principal

A, B, C, P = (str(uuid.UUID(int=n)) for n in range(1, 5))
ANN = Principal(A, "user", 2e9)
ADMIN = Principal(B, "admin", 2e9)
SUBJECT = TransferRequest(P, A, B, 300, "EUR/2", "pending")
SUBJECTS = {P: SUBJECT}


def made(caller=ANN, subjects=SUBJECTS, *, linked=False, **fields):
    asked = TransactionFields.model_validate(fields)
    return request_of(asked, C, subjects, caller, "USD/2", "#/t", linked=linked)


def pointers(error):
    return [violation.pointer for violation in error.value.violations]


def test_what_is_given_is_asked_for():
    fields = {"debit_account_id": A, "credit_account_id": B, "amount": 5, "asset": "GBP/2", "code": 7}
    more = {"description": "d", "metadata": {"b": 1, "a": 2}, "kind": "pending", "timeout_s": 9}
    expected = TransferRequest(C, A, B, 5, "GBP/2", "pending", 7, "d", '{"a":2,"b":1}', timeout_s=9)
    assert made(**fields, **more) == expected


def test_the_default_asset_is_that_of_what_says_none():
    assert made(debit_account_id=A, credit_account_id=B, amount=5).asset == "USD/2"


@pytest.mark.parametrize("kind", ["post_pending", "void_pending"])
def test_what_resolves_a_pending_transfer_takes_the_rest_from_it(kind):
    request = made(kind=kind, pending_id=P)
    assert request == TransferRequest(C, A, B, 300, "EUR/2", kind, pending_id=P)


def test_a_part_of_a_pending_transfer_is_of_its_accounts_and_asset():
    request = made(kind="post_pending", pending_id=P, amount=1)
    assert (request.debit_account_id, request.amount, request.asset) == (A, 1, "EUR/2")


def test_a_reversal_goes_the_other_way():
    request = made(kind="reversal", reverses_id=P)
    assert (request.debit_account_id, request.credit_account_id, request.amount) == (B, A, 300)


def test_what_is_given_is_not_replaced_by_what_would_follow():
    request = made(kind="void_pending", pending_id=P, credit_account_id=C, asset="USD/2")
    assert (request.credit_account_id, request.asset) == (C, "USD/2")


def test_without_the_other_transfer_nothing_can_follow_from_it():
    with pytest.raises(NotFound):
        made(subjects={}, kind="void_pending", pending_id=P)
    whole = {"debit_account_id": A, "credit_account_id": B, "amount": 5}
    request = made(subjects={}, kind="void_pending", pending_id=P, **whole)
    assert (request.asset, request.pending_id) == ("USD/2", P), "what is complete is the ledger's to judge"


def test_what_is_missing_is_named():
    with pytest.raises(InvalidFields) as error:
        made(credit_account_id=A)
    assert pointers(error) == ["#/t/debit_account_id", "#/t/amount"]
    with pytest.raises(InvalidFields) as error:
        made(kind="reversal")
    assert pointers(error) == ["#/t/reverses_id"]


def test_two_references_are_one_too_many():
    with pytest.raises(InvalidFields) as error:
        made(kind="reversal", reverses_id=P, pending_id=P)
    assert pointers(error) == ["#/t/reverses_id"]


def test_the_world_is_for_those_who_may():
    fields = {"debit_account_id": "world", "credit_account_id": B, "amount": 5}
    assert made(ADMIN, **fields).debit_account_id == world_account_id("USD/2")
    with pytest.raises(Forbidden):
        made(**fields)


def test_metadata_is_bounded():
    with pytest.raises(InvalidFields) as error:
        made(debit_account_id=A, credit_account_id=B, amount=5, metadata={"k": "x" * 5_000})
    assert pointers(error) == ["#/t/metadata"]


kinds = st.sampled_from(["post", "pending", "post_pending", "void_pending", "reversal"])
ALL = {"debit_account_id": A, "credit_account_id": B, "amount": 300, "pending_id": P, "reverses_id": P}


@given(kinds, st.sets(st.sampled_from(list(ALL))).filter(lambda names: not names >= {"pending_id", "reverses_id"}))
def test_a_request_is_made_exactly_when_nothing_is_missing(kind, names):
    given_ = {"kind": kind, **{name: ALL[name] for name in names}}
    asked = TransactionFields.model_validate(given_)
    if missing_fields(asked):
        with pytest.raises(InvalidFields):
            made(**given_)
        return
    request = made(**given_)
    assert request.debit_account_id
    assert request.credit_account_id
    assert request.amount == 300
    assert subject_id(asked) in {None, P}


def test_an_id_comes_from_the_key_or_the_body_or_is_new():
    assert id_of("k", None, A) == transfer_id(A, "k")
    assert id_of(None, B, A) == B
    assert id_of(None, None, A) != id_of(None, None, A)
    with pytest.raises(InvalidFields):
        id_of("k", B, A)
