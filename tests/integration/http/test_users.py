from __future__ import annotations

import asyncio
import uuid

import aiohttp
import asyncpg
import pytest

from tests.service import new_session

pytestmark = pytest.mark.asyncio(loop_scope="session")

USERS, LOGIN, REFRESH = "/api/v1/users", "/api/v1/auth/login", "/api/v1/auth/refresh"
PASSWORD = "long enough"


async def change(service, user, fields, *, who=None, method="PATCH", match="*"):
    headers = {} if match is None else {"If-Match": match}
    return await service.call(method, f"{USERS}/{(who or user).id}", user=user, json={"user": fields}, headers=headers)


async def delete(service, user, *, who=None, match="*"):
    headers = {} if match is None else {"If-Match": match}
    return await service.call("DELETE", f"{USERS}/{(who or user).id}", user=user, headers=headers)


async def may_log_in(service, email, password=PASSWORD):
    status, _, _ = await service.call("POST", LOGIN, json={"user": {"email": email, "password": password}})
    assert status in (200, 401)
    return status == 200


async def refused_within_5_s(service, user):
    async with asyncio.timeout(5):
        while True:
            found = set()
            for _ in range(20):
                async with (
                    new_session(service.port) as session,
                    session.get("/api/v1/accounts", headers=user.headers) as response,
                ):
                    found.add(response.status)
            if found == {401}:
                return


async def test_a_user_changes_name_and_email(service):
    ann = await service.register()
    email = f"{uuid.uuid4().hex}@example.com"
    status, answer, headers = await change(service, ann, {"name": "Ann", "email": email})
    assert status == 200
    assert (answer["data"]["name"], answer["data"]["email"]) == ("Ann", email)
    assert headers["ETag"] == '"2"'
    assert await may_log_in(service, email)
    assert not await may_log_in(service, ann.email)
    status, answer, _ = await change(service, ann, {"name": "Anna"}, method="PUT")
    assert (status, answer["data"]["name"], answer["data"]["email"]) == (200, "Anna", email)


async def test_a_change_of_what_has_changed_meanwhile_is_refused(service):
    ann = await service.register()
    _, _, headers = await service.call("GET", f"{USERS}/me", user=ann)
    tag = headers["ETag"]
    assert (await change(service, ann, {"name": "one"}, match=tag))[0] == 200
    status, answer, _ = await change(service, ann, {"name": "two"}, match=tag)
    assert (status, answer["code"]) == (412, "precondition_failed")
    admin = await service.admin()
    assert (await delete(service, admin, who=ann, match=tag))[0] == 412
    for answer in (
        await change(service, ann, {"name": "two"}, match=None),
        await delete(service, admin, who=ann, match=None),
    ):
        assert (answer[0], answer[1]["code"]) == (428, "precondition_required")
    for path in (ann.id, "me", "me"):
        status, _, headers = await service.call("GET", f"{USERS}/{path}", user=ann, headers={"If-None-Match": '"2"'})
        assert (status, headers["ETag"]) == (304, '"2"')


async def test_an_email_that_is_taken_is_refused(service):
    ann, ben = await service.register(), await service.register()
    status, answer, _ = await change(service, ann, {"email": ben.email.upper()})
    assert (status, answer["code"]) == (409, "conflict")


async def test_another_user_can_be_neither_seen_nor_changed_nor_deleted(service):
    ann, ben = await service.register(), await service.register()
    for status, answer, _ in (
        await service.call("GET", f"{USERS}/{ben.id}", user=ann),
        await change(service, ann, {"name": "x"}, who=ben),
    ):
        assert (status, answer["code"]) == (404, "not_found")
    for whom in (ben, ann):
        status, answer, _ = await delete(service, ann, who=whom)
        assert (status, answer["code"]) == (403, "forbidden")
    for method, body in (("GET", None), ("POST", {"user": {"email": "a@b.de", "password": PASSWORD}})):
        status, answer, _ = await service.call(method, USERS, user=ann, json=body)
        assert (status, answer["code"]) == (403, "forbidden")


@pytest.mark.parametrize("field", ["role", "id", "version", "password_hash", "deleted_at", "inserted_at"])
async def test_what_is_not_the_users_to_change_is_refused_as_unknown(service, field):
    ann = await service.register()
    status, answer, _ = await change(service, ann, {"name": "x", field: "admin"})
    assert (status, list(answer["errors"])) == (422, [field])
    _, answer, _ = await service.call("GET", f"{USERS}/me", user=ann)
    assert (answer["data"]["role"], answer["data"]["name"]) == ("user", "")


async def test_a_new_password_needs_the_old_one_and_ends_all_sessions(service):
    ann = await service.register()
    _, granted, _ = await service.call("POST", LOGIN, json={"user": {"email": ann.email, "password": PASSWORD}})
    for given in ({}, {"current_password": "something else"}):
        status, answer, _ = await change(service, ann, {"password": "quite another", **given})
        assert (status, list(answer["errors"])) == (422, ["current_password"])
    status, _, _ = await change(service, ann, {"password": "quite another", "current_password": PASSWORD})
    assert status == 200
    await refused_within_5_s(service, ann)
    body = {"session": {"refresh_token": granted["data"]["refresh_token"]}}
    assert (await service.call("POST", REFRESH, json=body))[0] == 401
    assert not await may_log_in(service, ann.email)
    assert await may_log_in(service, ann.email, "quite another")


async def test_an_admin_sets_a_users_password_without_the_old_one(service):
    ann, admin = await service.register(), await service.admin()
    assert (await change(service, admin, {"password": "set by an admin"}, who=ann))[0] == 200
    await refused_within_5_s(service, ann)
    assert await may_log_in(service, ann.email, "set by an admin")


async def test_an_admin_makes_users_of_any_role(service):
    admin = await service.admin()
    for role in ("user", "service", "admin"):
        fields = {"email": f"{uuid.uuid4().hex}@example.com", "password": PASSWORD, "role": role}
        status, answer, headers = await service.call("POST", USERS, user=admin, json={"user": fields})
        assert (status, answer["data"]["role"]) == (201, role)
        assert headers["Location"] == f"{USERS}/{answer['data']['id']}"
        assert answer["data"]["account_id"]
        assert await may_log_in(service, fields["email"])
        fields["role"] = "root"
    assert (await service.call("POST", USERS, user=admin, json={"user": fields}))[0] == 422


async def test_the_list_of_users_has_each_once(service):
    made = [await service.register() for _ in range(5)]
    admin = await service.admin()
    found: list[str] = []
    path: str | None = f"{USERS}?limit=2"
    while path and not {user.id for user in made} <= set(found):
        status, answer, headers = await service.call("GET", path, user=admin)
        assert status == 200
        found += [user["id"] for user in answer["data"]]
        assert "password" not in str(answer)
        path = headers["Link"].split(">")[0][1:] if answer["page"]["has_more"] else None
    assert len(found) == len(set(found))
    order = [found.index(user.id) for user in made]
    assert order == sorted(order, reverse=True), "newest first"


async def test_a_user_with_money_is_not_deleted_and_one_without_is_logged_out_for_good(service):
    ann, ben, admin = await service.register(), await service.register(), await service.admin()
    await service.fund(ann, 100)
    status, answer, _ = await delete(service, admin, who=ann)
    assert (status, answer["code"]) == (409, "accounts_not_empty")
    assert (await service.transfer(ann, ben, 100))[0] == 201, "nothing was closed"
    socket = await service.session.ws_connect(f"/socket/websocket?vsn=2.0.0&token={ann.token}")
    assert (await delete(service, admin, who=ann))[0] == 204
    async with asyncio.timeout(5):
        assert (await socket.receive()).type is aiohttp.WSMsgType.CLOSE
    await refused_within_5_s(service, ann)
    assert not await may_log_in(service, ann.email)
    assert (await service.call("GET", f"{USERS}/{ann.id}", user=admin))[0] == 404
    status, answer, _ = await service.call("GET", f"/api/v1/accounts/{ann.account_id}", user=admin)
    assert (status, answer["data"]["status"]) == (200, "closed")
    status, answer, _ = await service.transfer(ben, ann, 1)
    assert (status, answer["code"]) == (422, "account_closed")
    again = await service.register(ann.email)
    assert (again.id != ann.id, again.account_id != ann.account_id) == (True, True)


async def test_a_user_with_something_pending_is_not_deleted(service):
    ann, ben = await service.register(), await service.register()
    await service.fund(ann, 5)
    fields = {"kind": "pending", "timeout_s": 600}
    assert (await service.transfer(ann, ben, 5, fields=fields))[0] == 201
    status, answer, _ = await delete(service, await service.admin(), who=ben)
    assert (status, answer["code"]) == (409, "accounts_not_empty")


async def test_an_admin_deletes_a_user_and_the_last_admin_stays(service):
    ann, admin = await service.register(), await service.admin()
    assert (await delete(service, admin, who=ann))[0] == 204
    assert (await delete(service, admin, who=ann))[0] == 404
    connection = await asyncpg.connect(service.environment["DATABASE_URL"])
    try:
        await connection.execute("UPDATE users SET role = 'user' WHERE role = 'admin' AND id <> $1", admin.id)
    finally:
        await connection.close()
    status, answer, _ = await delete(service, admin)
    assert (status, answer["detail"]) == (409, "This is the last admin")
