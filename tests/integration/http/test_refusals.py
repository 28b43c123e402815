"""Every refusal of the ledger that a client can meet: its code, status and message, over HTTP."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import orjson
import pytest
import pytest_asyncio

from bitnexus.errors import REFUSALS
from tests.integration.http.test_errors import assert_problem
from tests.service import Service, User

pytestmark = pytest.mark.asyncio(loop_scope="session")

PATH = "/api/v1/transactions"
#: An account's asset is its own for ever: whoever names other assets has named other accounts, which is told first.
NEVER_MET = {"pending_transfer_has_different_asset", "reversed_transfer_has_different_asset"}
#: Stands among the results of an atomic batch, never as its reason.
BESIDE_THE_REASON = {"linked_event_failed"}

Outcome = tuple[int, Any, Any]


def new_id() -> str:
    return str(uuid.uuid4())


@dataclass(frozen=True, slots=True)
class Bank:
    """Ann's accounts `a` and `a2`, and `e` of another asset, Ben's `b`; an admin. Both assets are this bank's alone."""

    service: Service
    ann: User
    ben: User
    admin: User
    asset: str
    other_asset: str
    a: str
    a2: str
    b: str
    e: str

    async def ask(self, user: User, *accounts: str, **fields: Any) -> Outcome:
        """POST /transactions, of 1, from the first account to the second, if any is given."""
        named = dict(zip(("debit_account_id", "credit_account_id"), accounts, strict=False))
        whole = {"amount": 1, "asset": self.asset} if accounts else {}
        body = {"transaction": {**whole, **named, **fields}}
        return await self.service.call("POST", PATH, user=user, json=body)

    async def made(self, user: User, *accounts: str, **fields: Any) -> str:
        """As `ask`; its id, when it is there."""
        status, answer, _ = await self.ask(user, *accounts, **fields)
        assert status == 201, answer
        return answer["data"]["id"]

    async def pending(self, **fields: Any) -> str:
        return await self.made(self.ann, self.a, self.b, kind="pending", **fields)

    async def twice(self, first: dict[str, Any], second: dict[str, Any]) -> Outcome:
        """One id for a transfer from `a` to `b` with the fields `first`, and then with `second`."""
        common = {"debit_account_id": self.a, "credit_account_id": self.b, "id": new_id()}
        await self.made(self.ann, **{"amount": 1, "asset": self.asset, "kind": "pending", **common, **first})
        return await self.ask(self.ann, **{"amount": 1, "asset": self.asset, "kind": "pending", **common, **second})

    async def account(self, owner: User, asset: str, **fields: Any) -> str:
        body = {"account": {"owner_id": owner.id, "asset": asset, **fields}}
        status, answer, _ = await self.service.call("POST", "/api/v1/accounts", user=self.admin, json=body)
        assert status == 201, answer
        return answer["data"]["id"]

    async def changed(self, action: str) -> str:
        """An account of Ben's, frozen or closed."""
        account = await self.account(self.ben, self.asset)
        path = f"/api/v1/accounts/{account}/{action}"
        status, answer, _ = await self.service.call("POST", path, user=self.admin)
        assert status == 200, answer
        return account


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def bank(service):
    ann, ben, admin = await service.register(), await service.register(), await service.admin()
    asset, other = (f"T{uuid.uuid4().hex}/0" for _ in range(2))
    opening = Bank(service, ann, ben, admin, asset, other, "", "", "", "")
    accounts = [
        await opening.account(owner, of) for owner, of in ((ann, asset), (ann, asset), (ben, asset), (ann, other))
    ]
    made = Bank(service, ann, ben, admin, asset, other, *accounts)
    await made.made(admin, "world", made.a, amount=1_000_000)
    return made


async def over(bank: Bank) -> Outcome:
    """1,024 times the largest amount fits an account, once more does not."""
    asset = f"T{uuid.uuid4().hex}/0"
    account = await bank.account(bank.ann, asset)
    fields = {"debit_account_id": "world", "credit_account_id": account, "amount": 2**53 - 1, "asset": asset}
    body = {"transactions": [fields] * 1_024, "atomic": True}
    status, answer, _ = await bank.service.call("POST", f"{PATH}/batch", user=bank.admin, json=body)
    assert status == 200, answer
    return await bank.ask(bank.admin, **fields)


async def expired(bank: Bank) -> Outcome:
    pending = await bank.pending(timeout_s=1)
    async with asyncio.timeout(20):
        while True:
            _, answer, _ = await bank.service.call("GET", f"{PATH}/{pending}", user=bank.ann)
            if answer["data"]["status"] == "expired":
                break
            await asyncio.sleep(0.05)
    return await bank.ask(bank.ann, kind="post_pending", pending_id=pending)


async def resolved(bank: Bank, first: str) -> Outcome:
    pending = await bank.pending()
    await bank.made(bank.ann, kind=first, pending_id=pending)
    return await bank.ask(bank.ann, kind="post_pending", pending_id=pending)


async def of_pending(bank: Bank, **fields: Any) -> Outcome:
    return await bank.ask(bank.ann, kind="void_pending", pending_id=await bank.pending(), **fields)


async def of_reversed(bank: Bank, **fields: Any) -> Outcome:
    paid = await bank.made(bank.ann, bank.a, bank.b)
    return await bank.ask(bank.admin, kind="reversal", reverses_id=paid, **fields)


async def reversed_twice(bank: Bank) -> Outcome:
    paid = await bank.made(bank.ann, bank.a, bank.b)
    await bank.made(bank.admin, kind="reversal", reverses_id=paid)
    return await bank.ask(bank.admin, kind="reversal", reverses_id=paid)


async def reversal_of_what_is_pending(bank: Bank) -> Outcome:
    return await bank.ask(bank.admin, kind="reversal", reverses_id=await bank.pending())


async def of_plain(bank: Bank) -> Outcome:
    paid = await bank.made(bank.ann, bank.a, bank.b)
    return await bank.ask(bank.ann, kind="post_pending", pending_id=paid)


async def too_much_of_pending(bank: Bank) -> Outcome:
    return await bank.ask(bank.ann, kind="post_pending", pending_id=await bank.pending(), amount=2)


async def to_changed(bank: Bank, action: str) -> Outcome:
    return await bank.ask(bank.ann, bank.a, await bank.changed(action))


async def beyond_the_other_bound(bank: Bank) -> Outcome:
    return await bank.ask(bank.ann, bank.a, await bank.account(bank.ben, bank.asset, flags=2))


async def other_reference(bank: Bank, kind: str, name: str) -> Outcome:
    made = bank.pending if name == "pending_id" else lambda: bank.made(bank.ann, bank.a, bank.b)
    one, another = await made(), await made()
    id_ = {"id": new_id(), "kind": kind}
    await bank.made(bank.admin, **id_, **{name: one})
    return await bank.ask(bank.admin, **id_, **{name: another})


async def chain_with_a_used_id(bank: Bank) -> Outcome:
    fields = {"debit_account_id": bank.a, "credit_account_id": bank.b, "amount": 1, "asset": bank.asset}
    used = await bank.made(bank.ann, id=new_id(), **fields)
    body = {"transactions": [{**fields, "id": used}, fields], "atomic": True}
    return await bank.service.call("POST", f"{PATH}/batch", user=bank.ann, json=body)


async def beyond_a_limit(bank: Bank, amount: int) -> Outcome:
    """Of 5 at once, and 3 a day."""
    options = {
        "json": {"limits": [{"asset": bank.asset, "per_transfer": 5, "per_day": 3}]},
        "headers": {"If-Match": "*"},
    }
    path = f"/api/v1/users/{bank.ben.id}/limits"
    assert (await bank.service.call("PUT", path, user=bank.admin, **options))[0] == 200
    return await bank.ask(bank.ben, bank.b, bank.a, amount=amount)


async def purchase(bank: Bank, *, price: int, quantity: int) -> Outcome:
    """By Ann, of a product of which there is one."""
    body = {"product": {"sku": f"CUP-{uuid.uuid4().hex[:12]}", "name": "Cup", "price": price, "asset": bank.asset}}
    status, answer, _ = await bank.service.call("POST", "/api/v1/products", user=bank.admin, json=body)
    assert status == 201, answer
    path = f"/api/v1/products/{answer['data']['id']}"
    restock = {"restock": {"quantity": 1}}
    assert (await bank.service.call("POST", f"{path}/restocks", user=bank.admin, json=restock))[0] == 201
    buy = {"purchase": {"quantity": quantity, "account_id": bank.a}}
    return await bank.service.call("POST", f"{path}/purchases", user=bank.ann, json=buy)


CASES: dict[str, Callable[[Bank], Awaitable[Outcome]]] = {
    "accounts_must_be_different": lambda bank: bank.ask(bank.ann, bank.a, bank.a),
    "debit_account_not_found": lambda bank: bank.ask(bank.admin, "world", bank.b, asset=f"T{uuid.uuid4().hex}/0"),
    "credit_account_not_found": lambda bank: bank.ask(bank.ann, bank.a, new_id()),
    "asset_mismatch": lambda bank: bank.ask(bank.ann, bank.a, bank.e),
    "timeout_reserved_for_pending_transfer": lambda bank: bank.ask(bank.ann, bank.a, bank.b, timeout_s=5),
    "pending_id_mismatches_kind": lambda bank: bank.ask(bank.ann, bank.a, bank.b, pending_id=new_id()),
    "reverses_id_mismatches_kind": lambda bank: bank.ask(bank.ann, bank.a, bank.b, reverses_id=new_id()),
    "pending_transfer_not_found": lambda bank: bank.ask(
        bank.ann, bank.a, bank.b, kind="void_pending", pending_id=new_id()
    ),
    "pending_transfer_not_pending": of_plain,
    "pending_transfer_has_different_debit_account_id": lambda bank: of_pending(bank, debit_account_id=bank.a2),
    "pending_transfer_has_different_credit_account_id": lambda bank: of_pending(bank, credit_account_id=bank.a2),
    "pending_transfer_has_different_amount": lambda bank: of_pending(bank, amount=2),
    "pending_transfer_already_posted": lambda bank: resolved(bank, "post_pending"),
    "pending_transfer_already_voided": lambda bank: resolved(bank, "void_pending"),
    "pending_transfer_expired": expired,
    "exceeds_pending_transfer_amount": too_much_of_pending,
    "reversed_transfer_not_found": lambda bank: bank.ask(
        bank.admin, bank.b, bank.a, kind="reversal", reverses_id=new_id()
    ),
    "reversed_transfer_not_posted": reversal_of_what_is_pending,
    "reversed_transfer_has_different_debit_account_id": lambda bank: of_reversed(bank, debit_account_id=bank.a2),
    "reversed_transfer_has_different_credit_account_id": lambda bank: of_reversed(bank, credit_account_id=bank.a2),
    "reversed_transfer_has_different_amount": lambda bank: of_reversed(bank, amount=2),
    "reversed_transfer_already_reversed": reversed_twice,
    "transfer_limit_exceeded": lambda bank: beyond_a_limit(bank, 6),
    "daily_limit_exceeded": lambda bank: beyond_a_limit(bank, 4),
    "account_closed": lambda bank: to_changed(bank, "close"),
    "account_frozen": lambda bank: to_changed(bank, "freeze"),
    "overflow": over,
    "exceeds_credits": lambda bank: bank.ask(bank.ann, bank.a, bank.b, amount=2_000_000),
    "exceeds_debits": beyond_the_other_bound,
    "exists_with_different_debit_account_id": lambda bank: bank.twice({}, {"debit_account_id": bank.a2}),
    "exists_with_different_credit_account_id": lambda bank: bank.twice({}, {"credit_account_id": bank.a2}),
    "exists_with_different_amount": lambda bank: bank.twice({}, {"amount": 2}),
    "exists_with_different_asset": lambda bank: bank.twice({}, {"asset": bank.other_asset}),
    "exists_with_different_code": lambda bank: bank.twice({}, {"code": 1}),
    "exists_with_different_description": lambda bank: bank.twice({}, {"description": "x"}),
    "exists_with_different_metadata": lambda bank: bank.twice({}, {"metadata": {"k": 1}}),
    "exists_with_different_kind": lambda bank: bank.twice({}, {"kind": "post", "timeout_s": 5}),
    "exists_with_different_pending_id": lambda bank: other_reference(bank, "void_pending", "pending_id"),
    "exists_with_different_reverses_id": lambda bank: other_reference(bank, "reversal", "reverses_id"),
    "exists_with_different_timeout_s": lambda bank: bank.twice({}, {"timeout_s": 60}),
    "chain_id_taken": chain_with_a_used_id,
    "insufficient_funds": lambda bank: purchase(bank, price=2_000_000, quantity=1),
    "out_of_stock": lambda bank: purchase(bank, price=1, quantity=2),
}


async def test_every_refusal_is_met_here_or_said_not_to_be():
    assert CASES.keys() | NEVER_MET | BESIDE_THE_REASON == REFUSALS.keys()


@pytest.mark.parametrize("code", CASES)
async def test_a_refusal_has_its_code_status_and_message(bank, code):
    status, answer, headers = await CASES[code](bank)
    assert status == REFUSALS[code].status, answer
    assert_problem(answer, headers, status, code)
    assert answer["detail"] == REFUSALS[code].message
    assert answer["instance"] in {PATH, f"{PATH}/batch"} or answer["instance"].endswith("/purchases")


async def test_the_others_of_a_refused_chain_say_so(bank):
    good = {"debit_account_id": bank.a, "credit_account_id": bank.b, "amount": 1, "asset": bank.asset}
    body = orjson.dumps({"transactions": [good, {**good, "amount": 2_000_000}, good], "atomic": True})
    options = {"data": body, "headers": {"Content-Type": "application/json"}}
    status, answer, headers = await bank.service.call("POST", f"{PATH}/batch", user=bank.ann, **options)
    assert_problem(answer, headers, status, "exceeds_credits")
    code = "linked_event_failed"
    assert [(each["code"], each["detail"]) for each in answer["results"][::2]] == [(code, REFUSALS[code].message)] * 2
