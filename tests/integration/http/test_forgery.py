"""What is made up or broken on purpose: headers, paths, cursors, tags, bodies, pages of other sites."""

from __future__ import annotations

import base64
import json

import pytest
import pytest_asyncio

from tests.integration.http.test_errors import assert_problem, exchange
from tests.integration.http.test_security import API, UPGRADE, paid

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def ann(service):
    """She has money, and has paid."""
    made = await service.register()
    await service.fund(made, 1_000)
    return made


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def ben(service):
    return await service.register()


# -- injection ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given", ["a\tb", "a b", "ä", "<script>", "a" * 129, "../etc", "a\\nb", "%0d%0aSet-Cookie:x", "${jndi:ldap://a}"]
)
async def test_a_request_id_that_could_do_harm_is_not_repeated(service, given):
    request = b"GET /health/live HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX-Request-Id: %s\r\n\r\n" % given.encode()
    status, headers, _ = await exchange(service, request)
    assert status == 200
    assert headers["X-Request-Id"] != given
    assert "Set-Cookie" not in headers


async def test_headers_are_not_split_by_what_a_client_sends(service, ann):
    split = "%0d%0aSet-Cookie:%20a=b%0d%0a%0d%0a"
    for path in (f"{API}/accounts?limit=1&cursor={split}", f"{API}/{split}", f"/docs/assets/{split}", f"/{split}"):
        status, answer, headers = await service.call("GET", path, user=ann)
        assert status in {400, 404}
        assert "Set-Cookie" not in headers
        assert "\r" not in answer["instance"]
    body = {"transaction": {"debit_account_id": ann.account_id, "credit_account_id": ann.account_id, "amount": 1}}
    for key in ("ä", "a" * 256, '"a', ""):
        headers = {"Idempotency-Key": key}
        status, answer, _ = await service.call("POST", f"{API}/transactions", user=ann, json=body, headers=headers)
        assert (status, list(answer["errors"])) == (422, ["Idempotency-Key"])


@pytest.mark.parametrize(
    "path",
    [
        "/docs/assets/../../config/settings.py",
        "/docs/assets/..%2f..%2fconfig%2fsettings.py",
        "/docs/assets/%2e%2e/%2e%2e/errors.py",
        "/docs/assets/rapidoc-min.js",
        "/docs/assets/%2fetc%2fpasswd",
        "/docs/..;/admin",
        "/api/v1/ledger/tile/0/../../../../etc/passwd",
        "/api/v1/ledger/tile/0/000%00",
        "/api/v1/ledger/tile/0/x%F0%9F%98%80",
        "/api/v1/users/%ff",
        "/api/v1/accounts/%00",
        "/api/v1/accounts/..%2fusers",
        "/api/v1/accounts/'%20OR%201=1--",
        "/api/v1//accounts",
        "//api/v1/accounts",
        "/api/v1/accounts/",
        "/API/V1/ACCOUNTS",
        "http://elsewhere.example/api/v1/users/me/x",
        "/api/v1/accounts%3Flimit=1",
        "/api/v1/accounts;limit=1",
    ],
)
async def test_a_path_that_is_none_leads_nowhere(service, ann, path):
    head = f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: Bearer {ann.token}\r\n\r\n"
    status, headers, body = await exchange(service, head.encode())
    answer = json.loads(body)
    assert_problem(answer, headers, status, answer["code"])
    assert (status, answer["code"]) in {(404, "not_found"), (400, "bad_request")}


# -- forged cursors and tags -------------------------------------------------------------------------------------


async def test_a_cursor_is_good_for_its_list_and_its_user_alone(service, ann, ben):
    for _ in range(2):
        await paid(service, ann, ben)
    first = f"{API}/transactions?limit=1"
    _, answer, _ = await service.call("GET", first, user=ann)
    cursor = answer["page"]["next"]
    assert (await service.call("GET", f"{first}&cursor={cursor}", user=ann))[0] == 200
    raw = bytearray(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    forgeries = [cursor[:-1], cursor + "A", cursor + "=", cursor[::-1], "A" * 40, "null", "W10", "é"]
    for at in range(0, len(raw), 3):
        changed = raw.copy()
        changed[at] ^= 1
        forgeries.append(base64.urlsafe_b64encode(changed).rstrip(b"=").decode())
    for forgery in forgeries:
        status, answer, _ = await service.call(
            "GET", f"{API}/transactions", user=ann, params={"limit": "1", "cursor": forgery}
        )
        assert (forgery, status, answer["code"]) == (forgery, 400, "bad_cursor")
    for path, user in (
        (first, ben),
        (f"{first}&account_id={ann.account_id}", ann),
        (f"{API}/accounts?limit=1", ann),
        (f"{API}/accounts/{ann.account_id}/history?limit=1", ann),
        (f"{API}/products?limit=1", ann),
        (f"{API}/users?limit=1", await service.admin()),
    ):
        status, answer, _ = await service.call("GET", f"{path}&cursor={cursor}", user=user)
        assert (path, status, answer["code"]) == (path, 400, "bad_cursor")


async def test_a_forged_tag_changes_nothing(service, ann):
    _, answer, headers = await service.call("GET", f"{API}/users/me", user=ann)
    tag = headers["ETag"]
    body = {"user": {"name": "forged"}}
    for given, wanted in (
        (f"W/{tag}", 412),
        ('"999999999999999999"', 412),
        ('"1 OR 1=1"', 400),
        ('"-1"', 412),
        ('""', 412),
        (tag.strip('"'), 400),
        ("**", 400),
        (tag + ' "', 400),
        ('"' + "9" * 400 + '"', 412),
        ('"0x1"', 412),
        ('"٣"', 400),
    ):
        status, _, _ = await service.call("PATCH", f"{API}/users/me", user=ann, json=body, headers={"If-Match": given})
        assert (given, status) in {(given, wanted), (given, 412)}
    _, again, _ = await service.call("GET", f"{API}/users/me", user=ann)
    assert again == answer


# -- bodies that break readers -----------------------------------------------------------------------------------

FIELDS = b'"debit_account_id":"%s","credit_account_id":"%s"'
BODIES: dict[str, tuple[bytes, int]] = {
    "nested deep": (b'{"transaction":' + b"[" * 30_000 + b"]" * 30_000 + b"}", 400),
    "objects nested deep": (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, 400),
    "nested metadata": (b'{"transaction":{@,"amount":1,"metadata":' + b'{"a":' * 50 + b"1" + b"}" * 50 + b"}}", 422),
    "too large": (b'{"transaction":{@,"amount":1,"description":"' + b"x" * 70_000 + b'"}}', 413),
    "a key twice": (b'{"transaction":{@,"amount":1,"amount":900}}', 400),
    "the whole twice": (b'{"transaction":{@,"amount":1},"transaction":{@,"amount":900}}', 400),
    "a key twice, once escaped": (b'{"transaction":{@,"amount":1,"\\u0061mount":900}}', 400),
    "NaN": (b'{"transaction":{@,"amount":NaN}}', 400),
    "Infinity": (b'{"transaction":{@,"amount":Infinity}}', 400),
    "minus Infinity": (b'{"transaction":{@,"amount":-Infinity}}', 400),
    "beyond a float": (b'{"transaction":{@,"amount":1e999}}', 422),
    "beyond 53 bits": (b'{"transaction":{@,"amount":9007199254740992}}', 422),
    "beyond 64 bits": (b'{"transaction":{@,"amount":18446744073709551617}}', 422),
    "ten thousand digits": (b'{"transaction":{@,"amount":' + b"9" * 10_000 + b"}}", 400),
    "a fraction": (b'{"transaction":{@,"amount":1.5}}', 422),
    "an exponent": (b'{"transaction":{@,"amount":1e0}}', 422),
    "a text": (b'{"transaction":{@,"amount":"1"}}', 422),
    "a truth": (b'{"transaction":{@,"amount":true}}', 422),
    "nothing": (b'{"transaction":{@,"amount":0}}', 422),
    "less than nothing": (b'{"transaction":{@,"amount":-1}}', 422),
    "minus nothing": (b'{"transaction":{@,"amount":-0}}', 422),
    "a leading zero": (b'{"transaction":{@,"amount":01}}', 400),
    "no UTF-8": (b'{"transaction":{@,"amount":1,"description":"\xff\xfe"}}', 400),
    "overlong UTF-8": (b'{"transaction":{@,"amount":1,"description":"\xc0\xaf"}}', 400),
    "surrogates in UTF-8": (b'{"transaction":{@,"amount":1,"description":"\xed\xa0\x80"}}', 400),
    "a lone surrogate": (b'{"transaction":{@,"amount":1,"description":"\\ud800"}}', 422),
    "a surrogate in metadata": (b'{"transaction":{@,"amount":1,"metadata":{"\\udfff":1}}}', 422),
    "a null byte": (b'{"transaction":{@,"amount":1,"description":"a\x00b"}}', 400),
    "an escaped null byte": (b'{"transaction":{@,"amount":1,"description":"a\\u0000b"}}', 422),
    "a null byte in metadata": (b'{"transaction":{@,"amount":1,"metadata":{"a\\u0000":1}}}', 422),
    "UTF-16": ('{"transaction":{}}'.encode("utf-16"), 400),
    "a byte order mark": (b'\xef\xbb\xbf{"transaction":{@,"amount":1}}', 400),
    "a comment": (b'{"transaction":{@,"amount":1}/* */}', 400),
    "a trailing comma": (b'{"transaction":{@,"amount":1,}}', 400),
    "single quotes": (b"{'transaction':{}}", 400),
    "something behind it": (b'{"transaction":{@,"amount":1}}{}', 400),
    "a list": (b"[]", 422),
    "null": (b"null", 422),
    "empty": (b"", 400),
}


@pytest.mark.parametrize("what", BODIES)
async def test_a_body_that_breaks_other_readers_is_refused_and_moves_nothing(service, ann, ben, what):
    body, wanted = BODIES[what]
    body = body.replace(b"@", FIELDS % (ann.account_id.encode(), ben.account_id.encode()))
    _, before, _ = await service.call("GET", f"{API}/accounts/{ann.account_id}", user=ann)
    options = {"data": body, "headers": {"Content-Type": "application/json"}}
    status, answer, headers = await service.call("POST", f"{API}/transactions", user=ann, **options)
    assert status == wanted, answer
    assert_problem(answer, headers, wanted, answer["code"])
    _, after, _ = await service.call("GET", f"{API}/accounts/{ann.account_id}", user=ann)
    assert after == before


# -- pages of others ---------------------------------------------------------------------------------------------


async def test_a_page_of_another_site_learns_nothing(service, ann):
    for origin in ("https://evil.example", "null", "http://localhost", f"http://127.0.0.1:{service.port}.evil.example"):
        headers = {"Origin": origin, "Access-Control-Request-Method": "POST"}
        async with service.session.options(f"{API}/transactions", headers=headers) as response:
            assert not [name for name in response.headers if name.startswith("Access-Control-")]
        for user in (ann, None):
            _, _, got = await service.call("GET", f"{API}/users/me", user=user, headers={"Origin": origin})
            assert not [name for name in got if name.startswith("Access-Control-")]
            assert "Set-Cookie" not in got
        url = f"/socket/websocket?vsn=2.0.0&token={ann.token}"
        async with service.session.get(url, headers={**UPGRADE, "Origin": origin}) as response:
            assert response.status == 403
