"""The document is of what is served, valid, and true: real answers are held against it."""

from __future__ import annotations

import asyncio
import functools
import json
import sys
import uuid

import jsonschema_rs
import pytest
from pydantic import TypeAdapter

from bitnexus.errors import REFUSALS, InvalidSettings, every_error
from bitnexus.http.described import Media
from bitnexus.http.openapi import unserved
from bitnexus.http.openapi.operations import operation_id, template
from bitnexus.http.openapi.unserved import all_routes
from bitnexus.http.shapes.system import Problem
from tests.service import Service

pytestmark = pytest.mark.asyncio(loop_scope="session")

API = "/api/v1"


@functools.cache
def whole_document():
    return unserved.whole_document()


@pytest.fixture(scope="module")
def routes():
    return {operation_id(route): route for route in all_routes()}


async def test_what_is_served_is_what_the_command_line_prints(service):
    async with service.session.get("/api/openapi.json") as response:
        assert (response.status, response.content_type) == (200, "application/json")
        served = await response.json()
    command = [sys.executable, "-m", "bitnexus", "openapi"]
    environment, pipe = service.environment, asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, env=environment, stdout=pipe)
    async with asyncio.timeout(60):
        printed, _ = await process.communicate()
    assert served == json.loads(printed) == json.loads(json.dumps(whole_document()))


async def test_all_schemas_are_valid_and_all_references_lead_somewhere():
    document = json.loads(json.dumps(whole_document()))
    for schema in _schemas(document):
        jsonschema_rs.Draft202012Validator({**schema, "components": document["components"]})
    for reference in _references(document):
        found = document
        for part in reference.removeprefix("#/").split("/"):
            found = found[part]


async def test_every_operation_is_described_and_named_once(routes):
    assert [name for name, route in routes.items() if route.described is None] == []
    operations = [each for path in whole_document()["paths"].values() for each in path.values()]
    assert len({each["operationId"] for each in operations}) == len(operations) == len(routes)
    for route in routes.values():
        assert "{" not in template(route.path).replace("{id}", "").replace("{level}", "").replace("{tile}", "").replace(
            "{asset}", ""
        )


async def test_every_code_of_the_service_and_of_the_ledger_is_told_and_met_somewhere():
    document = whole_document()
    told = {each["const"] for each in document["components"]["schemas"]["ErrorCode"]["oneOf"]}
    assert told == (every_error().keys() | REFUSALS.keys()) - {InvalidSettings.code}
    met = set(_codes(document))
    # Of methods that a path has not, and of paths that are another service's.
    assert told - met == {"method_not_allowed", "legacy_unavailable", "legacy_timeout"}


async def test_who_may_is_told_of_every_operation(routes):
    paths = whole_document()["paths"]
    for route in routes.values():
        security = paths[template(route.path)][route.method.lower()]["security"]
        either = route.described is not None and route.described.either_token
        public: list[object] = [{}, {"bearer": []}] if either else []
        wanted = {"public": public, "user": [{"bearer": []}], "admin": [{"bearer": ["admin"]}]}
        assert security == wanted[route.access.value]


async def test_real_answers_are_of_their_shapes(service, routes):
    """Each operation once as it succeeds, and with the answers of failures on the way."""
    holder = Holder(service, routes)
    await holder.everything()
    # What needs more than one service, or a tree to break; schemathesis meets them.
    assert routes.keys() - holder.succeeded == set()


class Holder:
    """Calls operations by their names, and holds each answer against its shape."""

    def __init__(self, service: Service, routes) -> None:
        self.service = service
        self.routes = routes
        self.succeeded: set[str] = set()

    async def do(self, name: str, *, user=None, id="", body=None, query="", headers=None, wanted=(200, 201, 202, 204)):  # noqa: A002
        route = self.routes[name]
        path = template(route.path).replace("{id}", id) + query
        options = {"headers": headers or {}, "json": body}
        if user is not None:
            options["headers"] = {**options["headers"], **user.headers}
        async with self.service.session.request(route.method, path, **options) as response:
            content = await response.read()
            status, type_, got = response.status, response.headers.get("Content-Type", ""), response.headers
        if status not in wanted:
            raise AssertionError(f"{name}: {status} {content[:500]!r}")
        described = whole_document()["paths"][template(route.path)][route.method.lower()]["responses"]
        assert str(status) in described, (name, status)
        if status >= 400 and "problem" in type_:
            Problem.model_validate_json(content)
            return json.loads(content), got
        shape = route.described.answers.get(status)
        if isinstance(shape, Media):
            assert shape.type in {type_, "*/*"}
            self.succeeded.add(name)
            return content, got
        if shape is None:
            assert content == b""
        else:
            TypeAdapter(shape).validate_json(content)
        if status < 400:
            self.succeeded.add(name)
        return (json.loads(content) if content else None), got

    async def everything(self) -> None:
        await self._sessions()
        await self._users()
        await self._money()
        await self._shop()
        await self._log()
        await self._webhooks()
        await self._operators()
        await self._system()

    async def _sessions(self) -> None:
        email = f"{uuid.uuid4().hex}@example.com"
        credentials = {"email": email, "password": "long enough"}
        await self.do("post_auth_register", body={"user": {**credentials, "name": "Ann"}})
        await self.do("post_auth_register", body={"user": credentials}, wanted=(409,))
        answer, _ = await self.do("post_auth_login", body={"user": credentials})
        await self.do("post_auth_login", body={"user": {**credentials, "password": "wrong"}}, wanted=(401,))
        token = {"session": {"refresh_token": answer["data"]["refresh_token"]}}
        answer, _ = await self.do("post_auth_refresh", body=token)
        token = {"session": {"refresh_token": answer["data"]["refresh_token"]}}
        await self.do("post_auth_logout", body=token)
        await self.do("post_auth_refresh", body=token, wanted=(401,))

    async def _users(self) -> None:
        admin, ann = await self.service.admin(), await self.service.register()
        fields = {"email": f"{uuid.uuid4().hex}@example.com", "password": "long enough", "role": "service"}
        made, got = await self.do("post_users", user=admin, body={"user": fields})
        id_ = made["data"]["id"]
        await self.do("get_users", user=admin, query="?limit=2")
        await self.do("get_users", user=ann, wanted=(403,))
        await self.do("get_users_id", user=admin, id=id_)
        await self.do("get_users_id", user=admin, id=id_, headers={"If-None-Match": got["ETag"]}, wanted=(304,))
        for method in ("put", "patch"):
            body, match = {"user": {"name": method}}, {"If-Match": "*"}
            await self.do(f"{method}_users_id", user=admin, id=id_, body=body, headers=match)
            await self.do(f"{method}_users_me", user=ann, body=body, headers=match)
            await self.do(f"{method}_users_me", user=ann, body=body, wanted=(428,))
        _, got = await self.do("get_users_me", user=ann)
        await self.do("get_users_me", user=ann, headers={"If-None-Match": got["ETag"]}, wanted=(304,))
        limits, match = {"limits": [{"asset": "USD/2", "per_day": 5}]}, {"If-Match": "*"}
        await self.do("put_users_id_limits", user=admin, id=ann.id, body=limits, headers=match)
        await self.do("get_users_id_limits", user=ann, id=ann.id)
        await self.do("delete_users_id", user=admin, id=id_, headers={"If-Match": '"99"'}, wanted=(412,))
        await self.do("delete_users_id", user=admin, id=id_, headers={"If-Match": "*"})

    async def _money(self) -> None:
        admin, ann, ben = await self.service.admin(), await self.service.register(), await self.service.register()
        await self.service.fund(ann, 1000)
        await self.do("get_accounts", user=admin)
        opened, _ = await self.do("post_accounts", user=ann, body={"account": {}}, headers={"Idempotency-Key": "one"})
        await self.do("post_accounts", user=ann, body={"account": {}}, headers={"Idempotency-Key": "one"})
        id_ = opened["data"]["id"]
        await self.do("get_accounts_id", user=ann, id=id_)
        for action in ("freeze", "unfreeze", "close"):
            await self.do(f"post_accounts_id_{action}", user=admin, id=id_)
        plain = {"debit_account_id": ann.account_id, "credit_account_id": ben.account_id, "amount": 5}
        paid = None
        for wanted in (201, 200):
            paid, got = await self.do(
                "post_transactions",
                user=ann,
                body={"transaction": plain},
                headers={"Idempotency-Key": "two"},
                wanted=(wanted,),
            )
            assert ("Idempotent-Replayed" in got) == (wanted == 200)
        assert paid is not None
        id_, seq = paid["data"]["id"], paid["data"]["seq"]
        await self.do("get_accounts_id", user=ann, id=ann.account_id, query=f"?at={seq}")
        refused = {"transaction": {**plain, "amount": 10**9}}
        await self.do("post_transactions", user=ann, body=refused, wanted=(422,))
        pending = {"transaction": {**plain, "kind": "pending", "timeout_s": 600}}
        await self.do("post_transactions", user=ann, body=pending)
        held, _ = await self.do("post_transactions", user=ann, body=pending)
        await self.do("delete_transactions_id", user=ann, id=held["data"]["id"])
        await self.do("delete_transactions_id", user=admin, id=id_)
        for method in ("put", "patch"):
            body = {"transaction": {"description": method}}
            await self.do(f"{method}_transactions_id", user=ann, id=id_, body=body, headers={"If-Match": "*"})
        await self.do("get_transactions_id", user=ann, id=id_)
        await self.do("get_transactions", user=ann, query="?limit=1")
        await self.do("get_accounts_id_history", user=ann, id=ann.account_id)
        for atomic, wanted in ((False, 200), (True, 422)):
            batch = {"transactions": [plain, refused["transaction"]], "atomic": atomic}
            await self.do("post_transactions_batch", user=ann, body=batch, wanted=(wanted,))
        await self.do("get_transactions_id_proof", user=ann, id=id_)
        await self.do("get_transactions_id_tlog_proof", user=ann, id=id_)
        await self.do("get_notifications", user=ann, query="?after=0&limit=1")
        for up_to, wanted in ((1, 200), (10_000, 422)):
            mark = {"notifications": {"read_up_to": up_to}}
            await self.do("post_notifications_read", user=ann, body=mark, wanted=(wanted,))

    async def _shop(self) -> None:
        admin, ann = await self.service.admin(), await self.service.register()
        await self.service.fund(ann, 1000)
        body = {"product": {"sku": uuid.uuid4().hex, "name": "Mug", "price": 7}}
        made, _ = await self.do("post_products", user=admin, body=body)
        id_ = made["data"]["id"]
        await self.do("post_products", user=admin, body=body, wanted=(409,))
        await self.do("post_products_id_restocks", user=admin, id=id_, body={"restock": {"quantity": 3}})
        await self.do("post_products_id_purchases", user=ann, id=id_, body={"purchase": {"quantity": 2}})
        await self.do("post_products_id_purchases", user=ann, id=id_, body={"purchase": {"quantity": 2}}, wanted=(422,))
        await self.do("get_products", user=ann)
        await self.do("get_products_id", user=ann, id=id_)
        for method in ("put", "patch"):
            body, match = {"product": {"name": method}}, {"If-Match": "*"}
            await self.do(f"{method}_products_id", user=admin, id=id_, body=body, headers=match)
        await self.do("delete_products_id", user=admin, id=id_, headers={"If-Match": "*"})

    async def _log(self) -> None:
        admin = await self.service.admin()
        await self.do("get_ledger_checkpoint")
        await self.do("get_ledger_key")
        await self.do("get_ledger_consistency", query="?old=1&new=2")
        await self.do("get_ledger_consistency", query="?old=2&new=1", wanted=(422,))
        await self.do("get_ledger_blocks", user=admin, query="?limit=2")
        await self.do("get_ledger_trial_balance", user=admin)
        async with self.service.session.get(f"{API}/ledger/tile/0/000.p/1") as response:
            assert (response.status, response.content_type) == (200, "application/octet-stream")
            assert response.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        self.succeeded.add("get_ledger_tile_level_tile")

    async def _webhooks(self) -> None:
        admin, ann = await self.service.admin(), await self.service.register()
        body = {"webhook": {"url": "https://hooks.invalid/", "events": ["account.opened"]}}
        await self.do("post_webhooks", user=ann, body=body, wanted=(403,))
        made, got = await self.do("post_webhooks", user=admin, body=body)
        id_ = made["data"]["id"]
        await self.do("get_webhooks", user=admin)
        for method in ("put", "patch"):
            changes, match = {"webhook": {"is_active": False}}, {"If-Match": "*"}
            await self.do(f"{method}_webhooks_id", user=admin, id=id_, body=changes, headers=match)
        await self.do("delete_webhooks_id", user=admin, id=id_, headers={"If-Match": got["ETag"]}, wanted=(412,))
        _, got = await self.do("get_webhooks_id", user=admin, id=id_)
        await self.do("get_webhooks_id", user=admin, id=id_, headers={"If-None-Match": got["ETag"]}, wanted=(304,))
        await self.do("post_webhooks_id_rotate", user=admin, id=id_)
        await self.do("get_webhooks_id_dead_letters", user=admin, id=id_)
        await self.do("post_webhooks_id_replays", user=admin, id=id_, body={"replay": {"seqs": [1]}})
        await self.do("delete_webhooks_id", user=admin, id=id_, headers={"If-Match": "*"})
        await self.do("get_webhooks_id", user=admin, id=id_, wanted=(404,))

    async def _operators(self) -> None:
        admin = await self.service.admin()
        for name in ("", "_top", "_state", "_history"):
            query = "?path=bitnexus/http/http-0" + ("&for_s=0.05" if name == "_top" else "")
            await self.do(f"get_admin_tree{name}", user=admin, query=query)
        await self.do("get_admin_tree_trace", user=admin, query="?path=bitnexus/ledger&within_s=0.05")
        await self.do("get_admin_tree_state", user=admin, query="?path=nowhere", wanted=(404,))
        command = {"command": {"verb": "restart", "path": "bitnexus/http/http-0", "dry_run": True}}
        await self.do("post_admin_tree_commands", user=admin, body=command)
        partitions = {"partitions": {"count": 1, "path": "bitnexus/transactions", "dry_run": True}}
        await self.do("post_admin_tree_partitions", user=admin, body=partitions)
        await self.do("get_admin_audit", user=admin)

    async def _system(self) -> None:
        for name in ("health", "health_live", "health_ready", "metrics", "api_openapi_json", "docs", "docs_errors"):
            await self.do(f"get_{name}")
        async with self.service.session.get("/docs") as response:
            page = await response.text()
            assert "script-src 'self';" in response.headers["Content-Security-Policy"]
        asset = page.partition('src="')[2].partition('"')[0]
        async with self.service.session.get(asset) as response:
            assert (response.status, response.content_type) == (200, "text/javascript")
            assert "immutable" in response.headers["Cache-Control"]
        self.succeeded.add("get_docs_assets_asset")


def _schemas(node):
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "schema":
                yield value
            else:
                yield from _schemas(value)
    elif isinstance(node, list):
        for value in node:
            yield from _schemas(value)


def _references(node):
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from _references(value)
    elif isinstance(node, list):
        for value in node:
            yield from _references(value)


def _codes(document):
    for response in [
        *document["components"]["responses"].values(),
        *(each for path in document["paths"].values() for one in path.values() for each in one["responses"].values()),
    ]:
        problem = response.get("content", {}).get("application/problem+json")
        if problem:
            yield from problem["schema"]["allOf"][1]["properties"]["code"]["enum"]
