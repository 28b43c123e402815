from __future__ import annotations

import asyncio
import uuid

import jwt
import pytest

pytestmark = pytest.mark.asyncio(loop_scope="session")

REGISTER, LOGIN = "/api/v1/auth/register", "/api/v1/auth/login"


def fields(**changes):
    return {"user": {"email": f"{uuid.uuid4().hex}@Example.com", "password": "long enough", "name": "Ann", **changes}}


async def test_a_registered_user_has_an_account_and_may_log_in(service):
    body = fields()
    status, answer, headers = await service.call("POST", REGISTER, json=body)
    assert status == 201
    made = answer["data"]
    assert headers["Location"] == f"/api/v1/users/{made['id']}"
    assert (made["name"], made["role"]) == ("Ann", "user")
    assert "password" not in str(answer)

    status, answer, _ = await service.call(
        "POST", LOGIN, json={"user": {k: body["user"][k] for k in ("email", "password")}}
    )
    assert status == 200
    granted = answer["data"]
    assert granted["token_type"] == "Bearer"
    assert granted["user"]["id"] == made["id"]
    claims = jwt.decode(granted["access_token"], options={"verify_signature": False})
    assert (claims["sub"], claims["role"], claims["exp"] - claims["iat"]) == (made["id"], "user", granted["expires_in"])

    headers = {"Authorization": f"Bearer {granted['access_token']}"}
    _, answer, _ = await service.call("GET", "/api/v1/accounts", headers=headers)
    assert [account["id"] for account in answer["data"]] == [made["account_id"]]


async def test_an_email_is_taken_once_whatever_its_case(service):
    body = fields()
    first, _, _ = await service.call("POST", REGISTER, json=body)
    body["user"]["email"] = body["user"]["email"].upper()
    second, answer, _ = await service.call("POST", REGISTER, json=body)
    assert (first, second, answer["code"]) == (201, 409, "conflict")


async def test_of_many_registrations_at_once_one_wins(service):
    body = fields()
    answers = await asyncio.gather(*(service.call("POST", REGISTER, json=body) for _ in range(5)))
    assert sorted(status for status, _, _ in answers) == [201, 409, 409, 409, 409]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("email", "no-at.example.com"),
        ("email", "a@b"),
        ("email", "a b@c.de"),
        ("email", "a@b.de\n"),
        ("email", "a\x00@b.de"),
        ("email", "x" * 250 + "@b.de"),
        ("email", 5),
        ("password", "short"),
        ("password", "x" * 257),
        ("password", "null\x00bytes"),
        ("password", "surrogate\ud800"),
        ("name", "x" * 201),
        ("name", None),
        ("role", "admin"),
        ("id", "6b2fc1ee-7d4c-4a57-9d6e-0f2f3b6a9d11"),
    ],
)
async def test_a_registration_that_breaks_a_rule_is_refused(service, field, value):
    status, answer, _ = await service.call("POST", REGISTER, json=fields(**{field: value}))
    assert status == 422
    assert list(answer["errors"]) == [field]


async def test_a_wrong_password_and_an_unknown_user_get_the_same_answer(service):
    user = await service.register()
    answers = []
    for email, password in ((user.email, "wrong password"), ("nobody@example.com", "long enough"), ("", "")):
        status, answer, headers = await service.call(
            "POST", LOGIN, json={"user": {"email": email, "password": password}}
        )
        answers.append((status, answer | {"request_id": ""}, set(headers)))
    assert answers[0] == answers[1] == answers[2]
    assert answers[0][:1] == (401,)
    assert answers[0][1]["code"] == "invalid_credentials"


async def test_a_user_sees_itself_and_no_other(service):
    ann, ben = await service.register(), await service.register()
    _, answer, _ = await service.call("GET", "/api/v1/users/me", user=ann)
    assert (answer["data"]["id"], answer["data"]["email"]) == (ann.id, ann.email)
    status, answer, _ = await service.call("GET", f"/api/v1/users/{ann.id}", user=ann)
    assert (status, answer["data"]["id"]) == (200, ann.id)
    for wanted in (ben.id, str(uuid.uuid4()), "x", ann.id.upper()):
        status, answer, _ = await service.call("GET", f"/api/v1/users/{wanted}", user=ann)
        assert (status, answer["code"]) == (404, "not_found")


async def test_an_admin_sees_every_user(service):
    ann, admin = await service.register(), await service.admin()
    status, answer, _ = await service.call("GET", f"/api/v1/users/{ann.id}", user=admin)
    assert (status, answer["data"]["email"]) == (200, ann.email)
