"""To be somebody else, to be more than one is, to come in with a token that is none."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time
import uuid

import jwt
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from bitnexus.keys import derive_key
from bitnexus.tokens import ALGORITHM, AUDIENCE, ISSUER, AccessTokens
from tests.integration.http.test_errors import assert_problem
from tests.service import User

pytestmark = pytest.mark.asyncio(loop_scope="session")

API = "/api/v1"
SECRET = "test-" * 16


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def ann(service):
    """She has money, and has paid."""
    made = await service.register()
    await service.fund(made, 1_000)
    return made


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def ben(service):
    return await service.register()


async def paid(service, payer: User, payee: User) -> str:
    status, answer, _ = await service.transfer(payer, payee, 1)
    assert status == 201, answer
    return answer["data"]["id"]


# -- somebody else -----------------------------------------------------------------------------------------------


async def test_of_another_users_account_there_is_nothing(service, ann, ben):
    one = f"{API}/accounts/{ann.account_id}"
    for path in (one, f"{one}?at=0", f"{one}/history", f"{API}/transactions?account_id={ann.account_id}"):
        status, answer, headers = await service.call("GET", path, user=ben)
        assert_problem(answer, headers, 404, "not_found")
        assert status == 404
    for action in ("freeze", "unfreeze", "close"):
        status, _, _ = await service.call("POST", f"{one}/{action}", user=ben)
        assert status == 403
    fields = {"debit_account_id": ann.account_id, "credit_account_id": ben.account_id, "amount": 1}
    for more in ({}, {"kind": "pending", "timeout_s": 60}):
        status, answer, _ = await service.call(
            "POST", f"{API}/transactions", user=ben, json={"transaction": {**fields, **more}}
        )
        assert (status, answer["code"]) == (404, "not_found")
    for atomic in (False, True):
        body = {"transactions": [fields], "atomic": atomic}
        status, answer, _ = await service.call("POST", f"{API}/transactions/batch", user=ben, json=body)
        assert (status, answer["code"]) == (404, "not_found")


async def test_of_another_users_transaction_there_is_nothing(service, ann, ben):
    carl = await service.register()
    one = f"{API}/transactions/{await paid(service, ann, ben)}"
    body, match = {"transaction": {"description": "mine"}}, {"If-Match": "*"}
    for method, path, options in (
        ("GET", one, {}),
        ("GET", f"{one}/proof", {}),
        ("PUT", one, {"json": body, "headers": match}),
        ("PATCH", one, {"json": body, "headers": match}),
        ("DELETE", one, {}),
    ):
        status, answer, _ = await service.call(method, path, user=carl, **options)
        assert (method, status, answer["code"]) == (method, 404, "not_found")
    _, answer, _ = await service.call("GET", f"{API}/transactions", user=carl)
    assert answer["data"] == []


async def test_another_users_pending_transfer_is_neither_posted_nor_voided(service, ann, ben):
    carl = await service.register()
    _, answer, _ = await service.transfer(ann, ben, 1, fields={"kind": "pending", "timeout_s": 600})
    pending = answer["data"]["id"]
    for user, kind in ((ben, "post_pending"), (ben, "void_pending"), (carl, "post_pending"), (carl, "void_pending")):
        body = {"transaction": {"kind": kind, "pending_id": pending}}
        status, answer, _ = await service.call("POST", f"{API}/transactions", user=user, json=body)
        assert (status, answer["code"]) == (404, "not_found")
        whole = {**body["transaction"], "debit_account_id": ann.account_id, "credit_account_id": ben.account_id}
        body = {"transaction": {**whole, "amount": 1}}
        status, answer, _ = await service.call("POST", f"{API}/transactions", user=user, json=body)
        assert (status, answer["code"]) == (404, "not_found")


async def test_another_users_notifications_are_neither_seen_nor_marked(service, ann, ben):
    await paid(service, ann, ben)
    carl = await service.register()

    async def anns():
        async with asyncio.timeout(10):
            while True:  # the notifier is a little behind
                _, answer, _ = await service.call("GET", f"{API}/notifications?after=0", user=ann)
                if answer["seq"]:
                    return answer
                await asyncio.sleep(0.05)

    before = await anns()
    for asked in ("", f"&user_id={ann.id}"):
        _, answer, _ = await service.call("GET", f"{API}/notifications?after=0{asked}", user=carl)
        assert not answer.get("data"), answer
    body = {"notifications": {"read_up_to": before["seq"]}}
    status, _, _ = await service.call("POST", f"{API}/notifications/read", user=carl, json=body)
    assert status == 422
    body["notifications"]["user_id"] = ann.id
    status, answer, _ = await service.call("POST", f"{API}/notifications/read", user=carl, json=body)
    assert (status, list(answer["errors"])) == (422, ["user_id"])
    assert (await anns())["read_up_to"] == before["read_up_to"]
    async with service.session.ws_connect(f"/socket/websocket?vsn=2.0.0&token={carl.token}") as socket:
        await socket.send_json(["1", "1", f"notification:{ann.id}", "phx_join", {}])
        async with asyncio.timeout(10):
            assert (await socket.receive_json())[4]["status"] == "error"


async def test_another_users_channel_is_not_joined_nor_polled(service, ann, ben):
    async with service.session.ws_connect(f"/socket/websocket?vsn=2.0.0&token={ben.token}") as socket:
        for topic in (f"transaction:{ann.id}", f"transaction:{ann.id.upper()}", "transaction:*", "transaction:"):
            await socket.send_json(["1", "1", topic, "phx_join", {"user_id": ann.id, "token": ann.token}])
            async with asyncio.timeout(10):
                assert (await socket.receive_json())[4]["status"] == "error"


# -- more than one is --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["role", "is_admin", "id", "account_id", "version", "__class__", "constructor"])
async def test_nobody_registers_as_more_than_a_user(service, field):
    fields = {"email": f"{uuid.uuid4().hex}@example.com", "password": "long enough", field: "admin"}
    status, answer, _ = await service.call("POST", f"{API}/auth/register", json={"user": fields})
    assert (status, list(answer["errors"])) == (422, [field])
    body = {"user": {key: value for key, value in fields.items() if key != field}, "role": "admin"}
    status, answer, _ = await service.call("POST", f"{API}/auth/register", json=body)
    assert (status, list(answer["errors"])) == (422, ["role"])


async def test_a_user_makes_no_money_and_no_bound_of_its_own(service, ann, ben):
    for fields in ({"credit_limit": 1_000_000}, {"flags": 0}, {"owner_id": ann.id}):
        status, answer, _ = await service.call("POST", f"{API}/accounts", user=ben, json={"account": fields})
        assert (status, answer["code"]) == (403, "forbidden")
    for fields in ({"balance": 5}, {"status": "open"}, {"kind": "world"}):
        status, answer, _ = await service.call("POST", f"{API}/accounts", user=ben, json={"account": fields})
        assert (status, list(answer["errors"])) == (422, list(fields))
    world = {"debit_account_id": "world", "credit_account_id": ben.account_id, "amount": 1}
    for more in ({}, {"kind": "reversal", "reverses_id": str(uuid.uuid4())}, {"kind": "pending"}):
        body = {"transaction": {**world, **more}}
        status, answer, _ = await service.call("POST", f"{API}/transactions", user=ben, json=body)
        assert (status, answer["code"]) == (403, "forbidden")
    plain = {"debit_account_id": ben.account_id, "credit_account_id": ann.account_id, "amount": 1}
    for field in ("user_id", "role", "seq", "status", "linked", "block", "time_us"):
        body = {"transaction": {**plain, field: 1}}
        status, answer, _ = await service.call("POST", f"{API}/transactions", user=ben, json=body)
        assert (status, list(answer["errors"])) == (422, [field])


# -- tokens ------------------------------------------------------------------------------------------------------


def claims(user: User, **changes) -> dict[str, object]:
    now = int(time.time())
    return {"iss": ISSUER, "aud": AUDIENCE, "sub": user.id, "role": "admin", "iat": now, "exp": now + 600, **changes}


def key_of(secret: str) -> tuple[bytes, str]:
    tokens = AccessTokens(secret, 60)
    return derive_key(secret, "access-token"), jwt.get_unverified_header(tokens.issue(str(uuid.uuid4()), "user"))["kid"]


def part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def forged(user: User) -> dict[str, str]:
    """Tokens that claim to be of an admin."""
    key, kid = key_of(SECRET)
    other_key, other_kid = key_of("other" * 16)
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    named = {"kid": kid}
    good = jwt.encode(claims(user, role="user"), key, ALGORITHM, headers=named)
    head, _, signature = good.split(".")
    unsigned = f"{part({'alg': 'none', 'typ': 'JWT', 'kid': kid})}.{part(claims(user))}"
    empty_key = hmac.digest(b"", f"{head}.{part(claims(user))}".encode(), hashlib.sha256)
    return {
        "unsigned": f"{unsigned}.",
        "unsigned, with the signature of another": f"{unsigned}.{signature}",
        "unsigned, in capitals": f"{part({'alg': 'NoNe', 'kid': kid})}.{part(claims(user))}.",
        "without a signature": f"{head}.{part(claims(user))}.",
        "two parts": f"{head}.{part(claims(user))}",
        "other claims under a signature": f"{head}.{part(claims(user))}.{signature}",
        "the empty key": f"{head}.{part(claims(user))}.{base64.urlsafe_b64encode(empty_key).rstrip(b'=').decode()}",
        "another algorithm of the same key": jwt.encode(
            claims(user), key + key, algorithm="HS512", headers={"kid": kid}
        ),
        "a key pair": jwt.encode(claims(user), pem, algorithm="RS256", headers={"kid": kid}),
        "another key": jwt.encode(claims(user), other_key, algorithm=ALGORITHM, headers={"kid": other_kid}),
        "another key under this one's name": jwt.encode(
            claims(user), other_key, algorithm=ALGORITHM, headers={"kid": kid}
        ),
        "no name of a key": jwt.encode(claims(user), key, algorithm=ALGORITHM),
        "a name that is a path": jwt.encode(
            claims(user), b"\x00" * 32, ALGORITHM, headers={"kid": "../../../dev/null"}
        ),
        "expired": jwt.encode(claims(user, exp=int(time.time()) - 1), key, ALGORITHM, headers={"kid": kid}),
        "for ever": jwt.encode(
            {name: value for name, value in claims(user).items() if name != "exp"}, key, ALGORITHM, headers={"kid": kid}
        ),
        "of another issuer": jwt.encode(claims(user, iss="other"), key, ALGORITHM, headers={"kid": kid}),
        "for another audience": jwt.encode(claims(user, aud="other"), key, ALGORITHM, headers={"kid": kid}),
        "of no known role": jwt.encode(claims(user, role="root"), key, ALGORITHM, headers={"kid": kid}),
        "of nobody": jwt.encode(claims(user, sub="x"), key, ALGORITHM, headers={"kid": kid}),
        "of too many characters": good + "A" * 10_000 if len(good) < 8_000 else "",
    }


async def test_a_forged_token_is_nobodys_on_every_way_in(service, ann, ben):
    for what, token in forged(ann).items():
        nobody = User("", ann.account_id, "", token)
        for method, path in (("GET", f"{API}/users/me"), ("GET", f"{API}/users"), ("GET", f"{API}/admin/tree")):
            status, answer, headers = await service.call(method, path, user=nobody)
            if what == "of too many characters" and status == 400:
                continue  # no request at all, with such a header
            assert (what, status, answer["code"]) == (what, 401, "unauthorized")
            assert headers["WWW-Authenticate"].startswith("Bearer")
        status, _, _ = await service.transfer(nobody, ben, 1)
        assert (what, status) in {(what, 401), ("of too many characters", 400)}
        async with service.session.get(f"/socket/websocket?vsn=2.0.0&token={token}", headers=UPGRADE) as response:
            assert (what, response.status) in {(what, 403), ("of too many characters", 400)}


UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
}


async def test_a_token_is_taken_from_its_header_alone(service, ann):
    for headers in (
        {"Authorization": f"Basic {ann.token}"},
        {"Authorization": ann.token},
        {"Authorization": f"Bearer{ann.token}"},
        {"Authorization": "Bearer "},
        {"Cookie": f"token={ann.token}; access_token={ann.token}"},
        {"X-User-Id": ann.id, "X-Forwarded-User": ann.email, "X-Role": "admin"},
    ):
        status, _, _ = await service.call("GET", f"{API}/users/me", headers=headers)
        assert status == 401
    status, _, _ = await service.call("GET", f"{API}/users/me?token={ann.token}&access_token={ann.token}")
    assert status == 401


async def test_a_refresh_token_used_twice_ends_what_came_of_it(service):
    carl = await service.register()
    body = {"user": {"email": carl.email, "password": "long enough"}}
    _, answer, _ = await service.call("POST", f"{API}/auth/login", json=body)
    first = {"session": {"refresh_token": answer["data"]["refresh_token"]}}
    _, answer, _ = await service.call("POST", f"{API}/auth/refresh", json=first)
    access, second = answer["data"]["access_token"], {"session": {"refresh_token": answer["data"]["refresh_token"]}}
    for body in (first, second):
        status, answer, _ = await service.call("POST", f"{API}/auth/refresh", json=body)
        assert (status, answer["code"]) == (401, "invalid_refresh_token")
    thief = User(carl.id, carl.account_id, carl.email, access)
    async with asyncio.timeout(10):
        for ask in (
            lambda: service.call("GET", f"{API}/users/me", user=thief),
            lambda: service.transfer(thief, carl, 1),
        ):
            while (await ask())[0] != 401:  # each may come to another front
                await asyncio.sleep(0.05)
    for token in (access, second["session"]["refresh_token"][:-1], "", "a.b.c", "x" * 2048):
        status, _, _ = await service.call("POST", f"{API}/auth/refresh", json={"session": {"refresh_token": token}})
        assert status == 401
