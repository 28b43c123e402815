from __future__ import annotations

import statistics
import time
import uuid
from typing import Any

import pytest
import pytest_asyncio

from tests.service import Service

pytestmark = pytest.mark.asyncio(loop_scope="session")

REGISTER, LOGIN, ME, CHECKPOINT = (
    "/api/v1/auth/register",
    "/api/v1/auth/login",
    "/api/v1/users/me",
    "/api/v1/ledger/checkpoint",
)
PASSWORD = "long enough"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def limited(database_url, tmp_path_factory):
    """A service of one front, which believes this host about addresses, so that each test comes from its own."""
    running = await Service.start(
        database_url,
        tmp_path_factory.mktemp("limited"),
        BITNEXUS_FRONTS="1",
        BITNEXUS_RATE_LIMITS="true",
        BITNEXUS_RATE_LIMIT_USER="2",
        BITNEXUS_RATE_LIMIT_ADDRESS="2",
        BITNEXUS_LOGIN_LIMIT_ACCOUNT="3",
        BITNEXUS_LOGIN_LIMIT_ADDRESS="6",
        BITNEXUS_REGISTER_LIMIT_ADDRESS="3",
        BITNEXUS_TRUSTED_PROXIES="127.0.0.0/8",
    )
    yield running
    assert await running.stop() == 0


addresses = iter(range(1, 250))


@pytest.fixture
def address():
    return {"X-Forwarded-For": f"198.51.100.{next(addresses)}"}


async def log_in(service, email, password, headers):
    body = {"user": {"email": email, "password": password}}
    return await service.call("POST", LOGIN, json=body, headers=headers)


async def register(service, headers, email=None):
    email = email or f"{uuid.uuid4().hex}@example.com"
    body = {"user": {"email": email, "password": PASSWORD}}
    status, _, _ = await service.call("POST", REGISTER, json=body, headers=headers)
    return status, email


def is_429(refused, policy):
    status, answer, headers = refused
    assert (status, answer["code"]) == (429, "too_many_requests")
    assert headers["RateLimit-Policy"].startswith(f'"{policy}";q=')
    assert headers["RateLimit"] == f'"{policy}";r=0;t={headers["Retry-After"]}'
    return int(headers["Retry-After"]) >= 1


async def test_failed_logins_are_bounded_for_an_email_alike_whether_there_is_such_a_user(limited, address):
    _, known = await register(limited, address)
    answers = {}
    for email in (known, f"{uuid.uuid4().hex}@example.com"):
        found = []
        for number in range(4):
            # From anywhere: it is the email that counts, in any case.
            elsewhere = {"X-Forwarded-For": f"203.0.113.{next(addresses)}"}
            spelled = email.upper() if number % 2 else email
            found.append(await log_in(limited, spelled, "wrong password", elsewhere))
        assert [status for status, _, _ in found] == [401, 401, 401, 429]
        assert is_429(found[-1], "login-account")
        answers[email] = [(status, answer | {"request_id": ""}) for status, answer, _ in found]
    first, second = answers.values()
    assert first == second
    status, _, _ = await log_in(limited, known, PASSWORD, address)
    assert status == 429, "the right password does not tell either"


async def test_logins_that_succeed_do_not_count(limited, address):
    _, email = await register(limited, address)
    for _ in range(8):
        assert (await log_in(limited, email, PASSWORD, address))[0] == 200


async def test_failed_logins_are_bounded_for_an_address_whichever_emails_it_tries(limited, address):
    found = [await log_in(limited, f"{uuid.uuid4().hex}@example.com", "wrong password", address) for _ in range(7)]
    assert [status for status, _, _ in found] == [401] * 6 + [429]
    assert is_429(found[-1], "login-address")
    elsewhere = {"X-Forwarded-For": f"203.0.113.{next(addresses)}"}
    assert (await log_in(limited, "nobody@example.com", "wrong password", elsewhere))[0] == 401


async def test_registrations_are_bounded_for_an_address(limited, address):
    assert [(await register(limited, address))[0] for _ in range(4)] == [201, 201, 201, 429]


async def test_who_asks_again_and_again_for_one_email_learns_no_more(limited, address):
    _, email = await register(limited, address)
    found = []
    for _ in range(3):
        elsewhere = {"X-Forwarded-For": f"203.0.113.{next(addresses)}"}
        found.append((await register(limited, elsewhere, email))[0])
    assert found == [409, 409, 429]


async def test_a_password_that_is_changed_is_guarded_as_a_login(limited, address):
    _, email = await register(limited, address)
    _, answer, _ = await log_in(limited, email, PASSWORD, address)
    headers = {"Authorization": f"Bearer {answer['data']['access_token']}", "If-Match": "*"}
    body = {"user": {"password": "quite another", "current_password": "wrong password"}}
    found = [(await limited.call("PATCH", ME, json=body, headers=headers | address))[0] for _ in range(4)]
    assert found == [422, 422, 422, 429]


async def test_requests_of_a_user_are_bounded_and_no_other_user_is_hindered(limited, address):
    (_, ann), (_, ben) = await register(limited, address), await register(limited, address)
    tokens = [(await log_in(limited, email, PASSWORD, address))[1]["data"]["access_token"] for email in (ann, ben)]
    first, second = ({"Authorization": f"Bearer {token}"} | address for token in tokens)
    answers: list[Any] = []
    started = time.monotonic()
    while not answers or answers[-1][0] == 200:
        answers.append(await limited.call("GET", ME, headers=first))
        assert len(answers) < 100
    least, most = 21, 21 + 2 * (time.monotonic() - started) + 1
    assert least <= len(answers) <= most
    assert is_429(answers[-1], "user")
    assert "RateLimit" not in answers[0][2], "while much is left, nothing is said"
    assert answers[-2][2]["RateLimit"].startswith('"user";r=0;t=')
    assert (await limited.call("GET", ME, headers=second))[0] == 200
    admin = await limited.admin()
    for _ in range(25):
        assert (await limited.call("GET", ME, user=admin))[0] == 200


async def test_requests_without_a_valid_token_are_bounded_by_address(limited, address):
    for path, headers, good in ((CHECKPOINT, {}, 200), (ME, {"Authorization": "Bearer x"}, 401)):
        elsewhere = {"X-Forwarded-For": f"203.0.113.{next(addresses)}"}
        found = [await status_of(limited, path, headers | elsewhere) for _ in range(40)]
        assert set(found) == {good, 429}
        assert found[:20] == [good] * 20
        assert await status_of(limited, path, headers | address) == good
    found = [await status_of(limited, "/health/live", elsewhere) for _ in range(40)]
    assert set(found) == {200}


async def status_of(service, path, headers):
    async with service.session.get(path, headers=headers) as response:
        return response.status


async def test_a_login_takes_as_long_for_an_unknown_user_as_for_a_wrong_password(service):
    user = await service.register()
    took: dict[bool, list[float]] = {True: [], False: []}
    for number in range(40):
        known = bool(number % 2)
        started = time.perf_counter()
        status, _, _ = await log_in(service, user.email if known else "nobody@example.com", "wrong password", {})
        took[known].append(time.perf_counter() - started)
        assert status == 401
    # The machine's noise is in each of them alike, and least in the fastest ones.
    known_s, unknown_s = (statistics.mean(sorted(each)[:8]) for each in (took[True], took[False]))
    assert abs(known_s - unknown_s) < 0.25 * max(known_s, unknown_s)
