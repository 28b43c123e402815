"""Every error code that a client can be answered with, but the ledger's refusals: its status and message, over HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from bitnexus import errors
from bitnexus.actors.ledger.notary import FILE as CHECKPOINT_FILE
from bitnexus.actors.transactions.user import MAX_ACCOUNTS
from bitnexus.operations.audit import FILE as AUDIT_FILE
from tests.integration.http import test_front_life, test_legacy, test_limits
from tests.integration.http.test_errors import assert_problem
from tests.service import RESTART_TIMEOUT_S, Service, User

pytestmark = pytest.mark.asyncio(loop_scope="session")

API = "/api/v1"
TRANSACTIONS = f"{API}/transactions"
Outcome = tuple[int, Any, Any]

#: What no client can bring about, and why.
NEVER_MET = {
    "internal_error": "a fault of the service itself",
    "invalid_settings": "said at the start, to who starts it",
    "unknown_message": "between processes of different versions",
    "moved": "nodes ask again by themselves",
}
#: What has a test of its own: it takes a service of its own.
ELSEWHERE = {
    "database_unavailable": test_front_life.test_without_its_database_the_service_says_so_and_recovers_by_itself,
    "legacy_timeout": test_legacy.test_a_silent_old_service_is_a_504_problem,
    "legacy_unavailable": test_legacy.test_what_the_old_service_leaves_without_an_answer_is_not_asked_again,
    "too_many_requests": test_limits.test_failed_logins_are_bounded_for_an_address_whichever_emails_it_tries,
}


@dataclass(slots=True)
class World:
    """A usual service, and a strict one: one command of a user in flight, four waiting, and 3 s for an answer."""

    usual: Service
    strict: Service
    admin: User  # of the strict one
    slow: asyncio.Task[Outcome]

    async def pay(self, user: User, service: Service | None = None) -> Outcome:
        """A transfer that the ledger refuses: there is no money."""
        fields = {"debit_account_id": user.account_id, "credit_account_id": str(uuid.uuid4()), "amount": 1}
        return await (service or self.strict).call("POST", TRANSACTIONS, user=user, json={"transaction": fields})

    async def operate(self, verb: str, path: str) -> Outcome:
        body = {"command": {"verb": verb, "path": path}}
        return await self.strict.call("POST", f"{API}/admin/tree/commands", user=self.admin, json=body)

    async def operated(self, verb: str, path: str) -> None:
        status, answer, _ = await self.operate(verb, path)
        assert status == 200, answer

    @contextlib.asynccontextmanager
    async def suspended(self, user: User) -> AsyncIterator[None]:
        """The user's actor receives nothing during this block."""
        await self.operated("suspend", path_of(user))
        try:
            yield
        finally:
            await self.operated("resume", path_of(user))

    async def waiting(self, user: User, count: int) -> list[asyncio.Task[Outcome]]:
        """So many transfers of a suspended user, once all of them wait."""
        tasks = [asyncio.create_task(self.pay(user)) for _ in range(count)]
        async with asyncio.timeout(10):
            while True:
                query = {"path": path_of(user)}
                _, answer, _ = await self.strict.call("GET", f"{API}/admin/tree/state", user=self.admin, params=query)
                if answer["data"]["state"]["waiting"] >= count:
                    return tasks


def path_of(user: User) -> str:
    return f"bitnexus/transactions/transactions-0/{user.id}"


async def late_body(service: Service) -> Outcome:
    """A request whose body never comes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    head = f"POST {API}/auth/login HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n"
    writer.write(head.encode())
    async with asyncio.timeout(40):
        lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines[1:] if line)
        body = await reader.readexactly(int(headers["Content-Length"]))
    writer.close()
    return int(lines[0].split()[1]), json.loads(body), headers


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def world(service, postgres, template_database, tmp_path_factory):
    name = "error_codes"
    connection = await asyncpg.connect(postgres.url)
    await connection.execute(f"CREATE DATABASE {name} TEMPLATE {template_database}")
    await connection.close()
    slow = asyncio.create_task(late_body(service))  # the time for a body is long: the others are tried meanwhile
    strict = await Service.start(
        postgres.url_of(name),
        tmp_path_factory.mktemp("strict"),
        BITNEXUS_FRONTS="1",
        BITNEXUS_PARTITIONS="1",
        BITNEXUS_MAX_IN_FLIGHT="1",
        BITNEXUS_CALL_TIMEOUT_S="3",
    )
    yield World(service, strict, await strict.admin(), slow)
    slow.cancel()
    assert await strict.stop() == 0


# -- how each is met ---------------------------------------------------------------------------------------------------


async def as_user(world: World, method: str, path: str, **options: Any) -> Outcome:
    return await world.usual.call(method, API + path, user=await world.usual.newcomer(), **options)


async def login(world: World, **options: Any) -> Outcome:
    return await world.usual.call("POST", f"{API}/auth/login", **options)


async def email_that_is_taken(world: World) -> Outcome:
    known = await world.usual.newcomer()
    body = {"user": {"email": known.email, "password": "long enough"}}
    return await world.usual.call("POST", f"{API}/auth/register", json=body)


async def user_with_money_is_deleted(world: World) -> Outcome:
    ann = await world.usual.newcomer()
    await world.usual.fund(ann, 5)
    return await world.usual.call("DELETE", f"{API}/users/{ann.id}", user=ann, headers={"If-Match": "*"})


async def one_account_too_many(world: World) -> Outcome:
    ann, at_once = await world.usual.newcomer(), asyncio.Semaphore(32)

    async def one() -> Outcome:
        async with at_once:
            return await world.usual.call("POST", f"{API}/accounts", user=ann, json={"account": {}})

    made = await asyncio.gather(*(one() for _ in range(MAX_ACCOUNTS - 1)))
    assert {status for status, _, _ in made} == {201}
    return await one()


async def one_in_flight_too_many(world: World) -> Outcome:
    ann = await world.strict.newcomer()
    async with world.suspended(ann):
        waiting = await world.waiting(ann, 2)
    outcomes = await asyncio.gather(*waiting)
    assert sorted(status for status, _, _ in outcomes) == [422, 429]
    return max(outcomes, key=lambda outcome: outcome[0])


async def one_waiting_too_many(world: World) -> Outcome:
    ann = await world.strict.newcomer()
    async with world.suspended(ann):
        waiting = await world.waiting(ann, 4)
        outcome = await world.pay(ann)
    await asyncio.gather(*waiting)
    return outcome


async def no_answer_in_time(world: World) -> Outcome:
    ann = await world.strict.newcomer()
    async with world.suspended(ann):
        return await world.pay(ann)


async def killed_too_often(world: World) -> tuple[Outcome, Outcome]:
    """What waited for the actor when it was killed once too often, and what came afterwards."""
    ann = await world.strict.newcomer()
    for _ in range(5):
        await world.pay(ann)  # activates it
        await world.operated("kill", path_of(ann))
    await world.pay(ann)
    await world.operated("suspend", path_of(ann))
    (waited,) = await world.waiting(ann, 1)
    await world.operated("kill", path_of(ann))
    return await waited, await world.pay(ann)


async def killed_at_work(world: World) -> tuple[Outcome, Outcome]:
    """What a process was at when it was killed, and what came before its successor: looks are not repeated."""
    before = (await world.strict.pids())["operations"]

    async def look(for_s: float) -> Outcome:
        query = {"for_s": str(for_s)}
        return await world.strict.call("GET", f"{API}/admin/tree/top", user=world.admin, params=query)

    looking = asyncio.create_task(look(2))
    await look(0.05)  # it is being answered when this one, which came later, has been
    os.kill(before, signal.SIGKILL)
    cut_off = await looking
    absent = await look(0.05)
    async with asyncio.timeout(RESTART_TIMEOUT_S):
        while not world.strict.running.has_pid("operations", other_than=before):
            await asyncio.sleep(0.02)
    return cut_off, absent


async def no_record_anywhere(world: World) -> Outcome:
    obstacle = world.strict.running.data_dir / AUDIT_FILE
    connection = await asyncpg.connect(world.strict.environment["DATABASE_URL"])
    try:
        async with connection.transaction():
            await connection.execute("LOCK TABLE operator_commands IN EXCLUSIVE MODE")
            await asyncio.to_thread(obstacle.mkdir)
            return await world.operate("restart", "bitnexus/notifier")
    finally:
        await asyncio.to_thread(obstacle.rmdir)
        await connection.close()


async def another_history_was_signed(world: World) -> Outcome:
    """By a file that does not fit; the ledger looks at it when it signs first."""
    kept = world.strict.running.data_dir / CHECKPOINT_FILE
    await asyncio.to_thread(kept.write_text, "torn")
    try:
        return await world.strict.call("GET", f"{API}/ledger/checkpoint")
    finally:
        await asyncio.to_thread(kept.unlink)


@dataclass(frozen=True, slots=True)
class Case:
    """The status, the message (a pattern), and how it is met."""

    status: int
    message: str
    ask: Callable[[World], Awaitable[Outcome]]


JSON = {"Content-Type": "application/json"}
NOBODY = {"user": {"email": "nobody@example.com", "password": "long enough"}}
CASES = {
    "bad_request": Case(400, "The body is not JSON: .*", lambda world: login(world, data=b"{", headers=JSON)),
    "bad_cursor": Case(
        400,
        "The cursor does not belong to this list",
        lambda world: as_user(world, "GET", "/transactions", params={"cursor": "x" * 40}),
    ),
    "unauthorized": Case(401, "Authentication required", lambda world: world.usual.call("GET", f"{API}/users/me")),
    "invalid_credentials": Case(401, "Invalid email or password", lambda world: login(world, json=NOBODY)),
    "invalid_refresh_token": Case(
        401,
        "The refresh token is not valid: log in again",
        lambda world: world.usual.call("POST", f"{API}/auth/refresh", json={"session": {"refresh_token": "x"}}),
    ),
    "forbidden": Case(403, "Not allowed", lambda world: as_user(world, "GET", "/users")),
    "not_found": Case(404, "Not found", lambda world: as_user(world, "GET", f"/accounts/{uuid.uuid4()}")),
    "unknown_path": Case(
        404,
        "There is no 'bitnexus/nowhere'; did you mean .*",
        lambda world: world.operate("restart", "bitnexus/nowhere"),
    ),
    "method_not_allowed": Case(
        405, "DELETE is not allowed here", lambda world: as_user(world, "DELETE", "/auth/login")
    ),
    "conflict": Case(409, "The email has already been taken.", email_that_is_taken),
    "command_refused": Case(
        409,
        "The root is the node: it is started and stopped with the service.*",
        lambda world: world.operate("restart", "bitnexus"),
    ),
    "accounts_not_empty": Case(
        409, "There is money in the user's accounts, or something pending.*", user_with_money_is_deleted
    ),
    "precondition_failed": Case(
        412,
        "The resource has changed meanwhile",
        lambda world: as_user(world, "PATCH", "/users/me", json={"user": {}}, headers={"If-Match": '"99"'}),
    ),
    "payload_too_large": Case(
        413,
        "A body may have 65536 bytes",
        lambda world: login(world, data=b" " * 70_000, headers=JSON),
    ),
    "unsupported_media_type": Case(415, "The body must be application/json", lambda world: login(world, data=b"{}")),
    "invalid_fields": Case(422, "Some fields are not valid", lambda world: login(world, json={})),
    "too_many_accounts": Case(422, "You have as many accounts as a user may have", one_account_too_many),
    "precondition_required": Case(
        428,
        "Send the ETag .* as If-Match, or If-Match: \\*",
        lambda world: as_user(world, "PATCH", "/users/me", json={"user": {}}),
    ),
    "too_many_in_flight": Case(429, "Too many requests in flight", one_in_flight_too_many),
    "overloaded": Case(503, "The service is overloaded: too many messages wait for this actor", one_waiting_too_many),
    "timeout": Case(503, "transactions-0 did not answer in time", no_answer_in_time),
    "audit_unavailable": Case(
        503, "Neither the database nor operator_commands.jsonl takes the record.*", no_record_anywhere
    ),
    "checkpoint_refused": Case(503, "The file ledger_checkpoint of the data directory.*", another_history_was_signed),
    # Last: it is waited for while the others are tried.
    "request_timeout": Case(408, "The request did not arrive in time", lambda world: world.slow),
}
#: Met one after the other.
AFTER_CRASHES = {
    "unavailable": (503, "The actor of this request ended unexpectedly"),
    "quarantined": (503, "Set aside after repeated failures for another [0-9]+ s"),
}
AFTER_A_DEATH = {
    "process_down": (503, "operations: .*[Pp]eer"),
    "no_process": (503, "no process 'operations'"),
}
RETRY_AFTER = {429, 503}


async def test_every_error_is_met_here_or_elsewhere_or_said_not_to_be():
    met = [*CASES, *AFTER_CRASHES, *AFTER_A_DEATH, *ELSEWHERE, *NEVER_MET]
    family = errors._family(errors.BitNexusError).items()
    # Programs that are not the front have errors of their own, which stop them.
    expected = [code for code, error in family if error.__module__ == errors.__name__]
    assert sorted(met) == sorted(expected)


def assert_met(outcome: Outcome, code: str, status: int, message: str) -> None:
    got, answer, headers = outcome
    assert got == status, answer
    assert_problem(answer, headers, status, code)
    assert re.fullmatch(message, answer["detail"], re.DOTALL), answer["detail"]
    assert ("Retry-After" in headers) is (status in RETRY_AFTER and code != "checkpoint_refused")


@pytest.mark.parametrize("code", CASES)
async def test_an_error_has_its_code_status_and_message(world, code):
    case = CASES[code]
    assert_met(await case.ask(world), code, case.status, case.message)


async def test_who_looks_at_the_tree_when_its_process_dies_is_told_so(world):
    outcomes = await killed_at_work(world)
    for outcome, (code, (status, message)) in zip(outcomes, AFTER_A_DEATH.items(), strict=True):
        assert_met(outcome, code, status, message)


async def test_an_actor_that_ends_too_often_is_set_aside_and_says_so(world):
    outcomes = await killed_too_often(world)
    for outcome, (code, (status, message)) in zip(outcomes, AFTER_CRASHES.items(), strict=True):
        assert_met(outcome, code, status, message)
