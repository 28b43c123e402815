"""The operators' commands on a whole running service: by the command line, by HTTP and by messages."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest

import bitnexus
from bitnexus.actors.operator_messages import (
    OPERATIONS,
    ChangeTree,
    HistoryShown,
    MessagesTraced,
    Operator,
    ShowHistory,
    ShowState,
    ShowTop,
    ShowTree,
    StateShown,
    TraceMessages,
    TreeChanged,
    TreeShown,
)
from bitnexus.actors.transactions.partitioning import TRANSACTIONS
from bitnexus.client import Client
from bitnexus.config.cookie import COOKIE_FILE
from bitnexus.errors import Conflict, Forbidden, UnknownPath
from bitnexus.supervision.slots import partition_name, slot_of, table_of
from bitnexus.tokens import AccessTokens
from tests.customers import Customer, Teller, session_with
from tests.running import RunningService, wait_until

pytestmark = pytest.mark.long

SECRET = "operators-" * 8
ADMIN, SERVICE_ACCOUNT, SOMEBODY = str(uuid.uuid4()), str(uuid.uuid4()), str(uuid.uuid4())
PATIENCE_S = 20.0
#: What a command may take on a busy machine.
COMMAND_S = 45
REFUSED = 422


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    directory = tmp_path_factory.mktemp("operators")
    with RunningService(directory, {"SECRET_KEY_BASE": SECRET}) as running:
        running.start()
        yield running


def cli(service: RunningService, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run ``bitnexus …`` on the service's host, where nobody can be asked."""
    return subprocess.run(
        [sys.executable, "-m", "bitnexus", *arguments],
        env={**service.environment, **variables},
        cwd=service.directory,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=COMMAND_S,
        check=False,
    )


def printed(service: RunningService, *arguments: str) -> Any:
    """What the command prints as JSON."""
    done = cli(service, *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def token(user_id: str, role: str) -> str:
    return AccessTokens(SECRET, 3600).issue(user_id, role)


def connect(service: RunningService, user_id: str = ADMIN, role: str = "admin") -> Client:
    address = json.loads((service.data_dir / "node.json").read_text())["address"]
    cookie = (service.data_dir / COOKIE_FILE).read_text().strip()
    return bitnexus.connect(address, token=token(user_id, role), cookie=cookie)


async def request(service: RunningService, method: str, path: str, *, role: str = "admin", **options: Any) -> Any:
    """Status and body of an HTTP request by somebody of this role."""
    async with session_with(service) as session:
        headers = {"Authorization": f"Bearer {token(ADMIN, role)}"} if role else {}
        async with session.request(method, f"/api/v1/admin{path}", headers=headers, **options) as response:
            return response.status, await response.json(content_type=None)


def newest_in_audit(service: RunningService, **wanted: str) -> dict[str, Any]:
    """The newest row of the audit that has these fields."""

    def look() -> dict[str, Any]:
        rows = printed(service, "audit", "--limit", "100")
        return next((row for row in rows if wanted.items() <= row.items()), {})

    return wait_until(look, PATIENCE_S, lambda: f"not in the audit: {wanted}")


def customer_of(service: RunningService) -> Customer:
    async def make() -> Customer:
        async with session_with(service) as session:
            teller = await Teller.begin(service, session)
            return (await teller.customers(1, funds=1000))[0]

    return asyncio.run(make())


async def pay_oneself(session: aiohttp.ClientSession, customer: Customer) -> int:
    """The status of a transfer that goes all the way to the ledger, which refuses it: REFUSED."""
    account_id = customer.account_id
    body = {"transaction": {"debit_account_id": account_id, "credit_account_id": account_id, "amount": 1}}
    headers = {"Authorization": f"Bearer {customer.token}"}
    async with session.post("/api/v1/transactions", json=body, headers=headers) as answer:
        return answer.status


@pytest.fixture(scope="module")
def customer(service: RunningService) -> Customer:
    return customer_of(service)


def path_of(customer: Customer) -> str:
    owner = table_of(2)[slot_of(customer.user_id)]
    return f"bitnexus/transactions/{partition_name(TRANSACTIONS, owner)}/{customer.user_id}"


# -- the command line ---------------------------------------------------------------------------------------------


def test_the_tree_is_shown_with_all_that_an_operator_wants_to_know(service: RunningService) -> None:
    rows = {row["path"]: row for row in printed(service, "tree")}
    assert list(rows) == [
        "bitnexus",
        "bitnexus/operations",
        "bitnexus/ledger",
        "bitnexus/transactions",
        "bitnexus/transactions/transactions-0",
        "bitnexus/transactions/transactions-1",
        "bitnexus/notifier",
        "bitnexus/webhooks",
        "bitnexus/http",
        "bitnexus/http/http-0",
        "bitnexus/http/http-1",
    ]
    for row in rows.values():
        assert row["status"] == "running"
        assert row["memory"] > 10_000_000
        assert row["uptime_s"] > 0
    assert rows["bitnexus"]["pid"] == service.pid_of("bitnexus")
    assert rows["bitnexus/ledger"]["pid"] == service.pid_of("ledger")
    assert (rows["bitnexus/http"]["restarts_allowed"], rows["bitnexus/http"]["period_s"]) == (10, 10)
    drawn = cli(service, "tree").stdout
    assert "├─ transactions-0" in drawn
    assert "│  └─ transactions-1" in drawn
    assert "\x1b" not in drawn
    assert [row["path"] for row in printed(service, "tree", "bitnexus/http")] == [*rows][-3:]


def test_a_dry_run_prints_the_steps_that_are_then_done_and_the_audit_keeps_them(service: RunningService) -> None:
    before = {row["path"]: row["pid"] for row in printed(service, "tree")}
    would = printed(service, "restart", "bitnexus/transactions", "--dry-run")
    assert would["outcome"] == "would"
    assert [(step["action"], step["path"]) for step in would["steps"]] == [
        ("stop", "bitnexus/transactions/transactions-1"),
        ("stop", "bitnexus/transactions/transactions-0"),
        ("stop", "bitnexus/transactions"),
        ("start", "bitnexus/transactions"),
        ("start", "bitnexus/transactions/transactions-0"),
        ("start", "bitnexus/transactions/transactions-1"),
    ]
    assert {row["path"]: row["pid"] for row in printed(service, "tree")} == before
    done = printed(service, "restart", "bitnexus/transactions", "--yes")
    assert (done["outcome"], done["steps"]) == ("done", would["steps"])
    after = {row["path"]: row["pid"] for row in printed(service, "tree")}
    assert {path for path in after if after[path] != before[path]} == {step["path"] for step in would["steps"]}
    row = newest_in_audit(service, id=done["command_id"])
    assert (row["verb"], row["path"], row["outcome"]) == ("restart", "bitnexus/transactions", "done")
    assert (row["entrance"], row["operator_role"]) == ("cli", "admin")
    assert "@" in row["operator_name"]
    assert row["address"].startswith("127.0.0.1:")
    assert row["begun_us"] < row["finished_us"]
    assert [step["path"] for step in row["steps"]] == [step["path"] for step in would["steps"]]


def test_what_interrupts_somebody_wants_a_yes_where_nobody_can_be_asked(service: RunningService) -> None:
    for verb in ("restart", "stop", "kill", "drain", "suspend"):
        refused = cli(service, verb, "bitnexus/notifier")
        assert refused.returncode == 2
        assert "--yes" in refused.stderr
    assert cli(service, "resume", "bitnexus/notifier").returncode == 0


#: The command on a terminal that is its own, so that Ctrl-C reaches it.
_AT_ITS_TERMINAL = """
import fcntl, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
from bitnexus.cli import main
main(sys.argv[1:])
"""


def _plain(environment: Mapping[str, str]) -> dict[str, str]:
    """Without what the one who runs the tests thinks of colours."""
    return {name: value for name, value in environment.items() if name not in {"NO_COLOR", "FORCE_COLOR"}}


def on_a_terminal(service: RunningService, *arguments: str, answer: str, when: str = "[y/N]") -> tuple[int, str]:
    """Exit code and output of a command whose operator sits at a terminal, and types `answer` after `when`."""
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", _AT_ITS_TERMINAL, *arguments],
        env={**_plain(service.environment), "TERM": "xterm-256color", "COLUMNS": "200"},
        cwd=service.directory,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    seen = b""
    with contextlib.suppress(OSError):  # the other end is closed when the process has ended
        while chunk := os.read(ours, 65_536):
            seen += chunk
            if answer and when.encode() in seen:
                os.write(ours, answer.encode())
                answer = ""
    os.close(ours)
    return process.wait(COMMAND_S), seen.decode()


def test_on_a_terminal_the_operator_sees_the_steps_in_colour_and_is_asked(service: RunningService) -> None:
    pid = service.pid_of("notifier")
    code, seen = on_a_terminal(service, "restart", "bitnexus/notifier", answer="n\n")
    assert (code, "Restart bitnexus/notifier? [y/N]" in seen) == (130, True)
    assert "\x1b[33mstop" in seen
    assert service.pid_of("notifier") == pid
    code, seen = on_a_terminal(service, "restart", "bitnexus/notifier", answer="y\n")
    assert (code, "Done." in seen) == (0, True)
    wait_until(lambda: service.has_pid("notifier", other_than=pid), PATIENCE_S, lambda: "it was not restarted")
    code, seen = on_a_terminal(service, "tree", answer="")
    assert (code, "\x1b[32mrunning" in seen) == (0, True)


def test_an_unknown_path_says_what_comes_near(service: RunningService) -> None:
    refused = cli(service, "restart", "ledger", "--yes")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == "error: There is no 'ledger'; did you mean bitnexus/ledger?\n"
    row = newest_in_audit(service, verb="restart", path="ledger")
    assert (row["outcome"], row["detail"]) == ("refused", refused.stderr.removeprefix("error: ").strip())


def test_stop_and_start_and_the_history_of_it(service: RunningService) -> None:
    assert cli(service, "stop", "bitnexus/notifier", "--yes").returncode == 0
    tree = {row["path"]: row for row in printed(service, "tree")}
    assert (tree["bitnexus/notifier"]["status"], tree["bitnexus/notifier"]["pid"]) == ("stopped", None)
    again = cli(service, "stop", "bitnexus/notifier", "--yes")
    assert (again.returncode, again.stdout) == (0, "There is nothing to do.\n")
    assert cli(service, "kill", "bitnexus/notifier", "--yes").returncode == 1
    assert printed(service, "start", "bitnexus/notifier")["outcome"] == "done"
    pid = printed(service, "state", "bitnexus/notifier")["fields"]["pid"]
    assert printed(service, "kill", "bitnexus/notifier", "--yes")["outcome"] == "done"
    state = printed(service, "state", "bitnexus/notifier")["fields"]
    assert state["pid"] != pid
    assert (state["class"], state["last_exit"], state["restarts"]) == ("Notifier", "killed by signal 9 (SIGKILL)", 1)
    exits = printed(service, "history", "bitnexus/notifier")
    assert [end["reason"] for end in exits][:2] == ["killed by signal 9 (SIGKILL)", "shutdown"]
    assert exits[0]["uptime_s"] > 0


def test_top_shows_who_uses_most(service: RunningService) -> None:
    rows = printed(service, "top", "--sort", "memory", "--for", "0.1", "--limit", "3")
    assert len(rows) == 3
    assert rows == sorted(rows, key=lambda row: -row["memory"])
    assert all(row["cpu"] is not None for row in rows)


def test_a_user_can_be_looked_at_suspended_and_restarted_without_anybody_else(
    service: RunningService, customer: Customer
) -> None:
    path = path_of(customer)
    partition = path.rpartition("/")[0]
    wrong = partition[:-1] + ("1" if partition.endswith("0") else "0")
    for elsewhere in (wrong, "bitnexus/transactions"):
        refused = cli(service, "state", f"{elsewhere}/{customer.user_id}")
        assert f"did you mean {path}?" in refused.stderr
    assert "has nothing below it" in cli(service, "state", f"bitnexus/ledger/{customer.user_id}").stderr

    async def suspended() -> None:
        async with session_with(service) as session:
            assert await pay_oneself(session, customer) == REFUSED
            await asyncio.to_thread(printed, service, "suspend", path, "--yes")
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(pay_oneself(session, customer), 0.5)
            state = await asyncio.to_thread(printed, service, "state", path)
            assert state["fields"]["status"] == "suspended"
            assert state["fields"]["accounts"] == 1
            rows = await asyncio.to_thread(printed, service, "tree", partition)
            assert [row["status"] for row in rows if row["path"] == path] == ["suspended"]
            waiting = asyncio.create_task(pay_oneself(session, customer))
            await asyncio.to_thread(printed, service, "resume", path)
            assert await waiting == REFUSED
            assert (await asyncio.to_thread(printed, service, "restart", path, "--yes"))["outcome"] == "done"
            assert await pay_oneself(session, customer) == REFUSED
            await asyncio.to_thread(printed, service, "kill", path, "--yes")
            assert await pay_oneself(session, customer) == REFUSED
            ends = await asyncio.to_thread(printed, service, "history", path)
            assert [end["reason"] for end in ends] == ["killed by signal 9 (SIGKILL)"]
            tracing = asyncio.create_task(asyncio.to_thread(printed, service, "trace", path, "--count", "1"))
            while not tracing.done():
                await pay_oneself(session, customer)
            (message,) = await tracing
            assert (message["message"], message["sender"][:5]) == ("PostTransfer", "http-")

    asyncio.run(suspended())


def test_a_suspended_ledger_keeps_everybody_waiting_and_goes_on_where_it_was(
    service: RunningService, customer: Customer
) -> None:
    async def pay() -> None:
        async with session_with(service) as session:
            await asyncio.to_thread(printed, service, "suspend", "bitnexus/ledger", "--yes")
            paying = asyncio.create_task(pay_oneself(session, customer))
            tree = {row["path"]: row for row in await asyncio.to_thread(printed, service, "tree")}
            assert tree["bitnexus/ledger"]["status"] == "suspended"
            assert not paying.done()
            await asyncio.to_thread(printed, service, "resume", "bitnexus/ledger")
            assert await paying == REFUSED

    asyncio.run(pay())


def test_following_the_tree_ends_cleanly_at_ctrl_c(service: RunningService) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "bitnexus", "tree", "--watch", "--every", "0.1", "--json"],
        env=service.environment,
        cwd=service.directory,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    for _ in range(3):
        assert json.loads(process.stdout.readline())[0]["path"] == "bitnexus"
    process.send_signal(signal.SIGINT)
    _, complaint = process.communicate(timeout=COMMAND_S)
    assert (process.returncode, complaint.strip()) == (130, "")


def test_following_the_tree_on_a_terminal_leaves_it_as_it_was(service: RunningService) -> None:
    code, seen = on_a_terminal(service, "tree", "--watch", "--every", "0.1", answer="\x03", when="http-1")
    assert code == 130
    assert seen.count("\x1b[?1049h") == seen.count("\x1b[?1049l") == 1  # the other screen, and back
    assert "\x1b[?25h" in seen  # the cursor
    assert "Traceback" not in seen


def test_without_a_node_and_without_a_right_the_command_says_so(service: RunningService, tmp_path: Path) -> None:
    alone = cli(service, "tree", BITNEXUS_DATA_DIR=str(tmp_path))
    assert alone.returncode == 1
    assert "BITNEXUS_COOKIE is not set" in alone.stderr
    (tmp_path / COOKIE_FILE).write_text("c" * 32)
    (tmp_path / COOKIE_FILE).chmod(0o600)
    nobody = cli(service, "tree", BITNEXUS_DATA_DIR=str(tmp_path))
    assert "no node has published its address" in nobody.stderr
    stranger = cli(service, "tree", SECRET_KEY_BASE="another-" * 10)
    assert stranger.returncode == 1
    assert "Set BITNEXUS_TOKEN" in stranger.stderr
    user = cli(service, "tree", BITNEXUS_TOKEN=token(SOMEBODY, "user"))
    assert (user.returncode, "may not send this ShowTree" in user.stderr) == (1, True)
    for answer in (alone, nobody, stranger, user):
        assert "Traceback" not in answer.stderr


# -- messages -----------------------------------------------------------------------------------------------------


async def test_an_admin_commands_by_messages_and_the_audit_knows_who_it_was(service: RunningService) -> None:
    # What a client says of its way and its address is not believed.
    ann = Operator(ADMIN, "admin", "Ann", "http", "1.2.3.4")
    async with connect(service) as node:
        shown = await node.call(OPERATIONS, ShowTree(ann))
        assert isinstance(shown, TreeShown)
        assert len(shown.rows) == 11
        top = await node.call(OPERATIONS, ShowTop(ann, for_s=0.1))
        assert isinstance(top, TreeShown)
        state = await node.call(OPERATIONS, ShowState(ann, "bitnexus/ledger"))
        assert isinstance(state, StateShown)
        assert state.fields["class"] == "Ledger"
        assert isinstance(await node.call(OPERATIONS, ShowHistory(ann)), HistoryShown)
        traced = await node.call(OPERATIONS, TraceMessages(ann, "bitnexus", 1, 5.0))
        assert isinstance(traced, MessagesTraced)  # heartbeats, say
        changed = await node.call(OPERATIONS, ChangeTree(ann, "bitnexus/notifier", "restart"), timeout_s=30)
        assert isinstance(changed, TreeChanged)
        assert changed.outcome == "done"
        with pytest.raises(UnknownPath):
            await node.call(OPERATIONS, ChangeTree(ann, "bitnexus/nobody", "restart"))
    row = await asyncio.to_thread(newest_in_audit, service, id=changed.command_id)
    assert (row["operator_id"], row["operator_name"], row["entrance"]) == (ADMIN, "Ann", "message")
    assert row["address"].startswith("127.0.0.1:")


async def test_the_state_of_a_process_has_no_secrets(service: RunningService) -> None:
    cookie = (service.data_dir / COOKIE_FILE).read_text().strip()
    ann = Operator(ADMIN, "admin")
    async with connect(service) as node:
        tree = await node.call(OPERATIONS, ShowTree(ann))
        assert isinstance(tree, TreeShown)
        for row in tree.rows:
            state = await node.call(OPERATIONS, ShowState(ann, row.path))
            assert isinstance(state, StateShown)
            assert {"status", "class", "mailbox"} <= state.fields.keys()
            for secret in (SECRET, cookie, "postgresql://"):
                assert secret not in repr(state)


async def test_a_service_may_look_and_ask_but_change_nothing_and_nobody_speaks_for_another(
    service: RunningService,
) -> None:
    watcher = Operator(SERVICE_ACCOUNT, "service")
    async with connect(service, SERVICE_ACCOUNT, "service") as node:
        assert isinstance(await node.call(OPERATIONS, ShowTree(watcher)), TreeShown)
        would = await node.call(OPERATIONS, ChangeTree(watcher, "bitnexus/ledger", "restart", dry_run=True))
        assert isinstance(would, TreeChanged)
        assert would.outcome == "would"
        for forbidden in (
            ChangeTree(watcher, "bitnexus/ledger", "restart"),
            TraceMessages(watcher, "bitnexus/ledger"),
            ShowTree(Operator(ADMIN, "admin")),
            ChangeTree(Operator(ADMIN, "admin"), "bitnexus/ledger", "restart"),
            ChangeTree(Operator(SERVICE_ACCOUNT, "admin"), "bitnexus/ledger", "restart"),
        ):
            with pytest.raises(Forbidden):
                await node.call(OPERATIONS, forbidden)
    async with connect(service, SOMEBODY, "user") as node:
        for message in (ShowTree(Operator(SOMEBODY, "user")), ShowState(Operator(SOMEBODY, "user"))):
            with pytest.raises(Forbidden):
                await node.call(OPERATIONS, message)


async def test_two_commands_on_the_same_subtree_do_not_cross(service: RunningService) -> None:
    ann = Operator(ADMIN, "admin")
    async with connect(service) as node:
        both = await asyncio.gather(
            node.call(OPERATIONS, ChangeTree(ann, "bitnexus/http/http-1", "restart"), timeout_s=30),
            node.call(OPERATIONS, ChangeTree(ann, "bitnexus/http", "drain"), timeout_s=30),
            return_exceptions=True,
        )
        assert sum(isinstance(answer, Conflict) for answer in both) == 1
        await node.call(OPERATIONS, ChangeTree(ann, "bitnexus/http", "resume"), timeout_s=30)


async def test_a_front_that_is_resumed_in_the_middle_of_its_drain_serves_again(service: RunningService) -> None:
    ann, path = Operator(ADMIN, "admin"), "bitnexus/http/http-0"
    async with connect(service) as node:
        for _ in range(5):
            begun = None
            async with asyncio.timeout(PATIENCE_S / 2):
                while begun is None:
                    with contextlib.suppress(Conflict):  # until the drain before has been told of its end
                        begun = await node.call(OPERATIONS, ChangeTree(ann, path, "drain", via="http-0"), timeout_s=30)
            assert isinstance(begun, TreeChanged)
            assert begun.outcome == "begun"
            resumed = await node.call(OPERATIONS, ChangeTree(ann, path, "resume"), timeout_s=30)
            assert isinstance(resumed, TreeChanged)
            assert resumed.outcome == "done"
            shown = await node.call(OPERATIONS, ShowState(ann, path), timeout_s=30)
            assert isinstance(shown, StateShown)
            assert (shown.fields["listening"], shown.fields["suspended"]) == (True, False)


async def test_operations_restarts_itself_and_says_so_beforehand(service: RunningService) -> None:
    pid = service.pid_of(OPERATIONS)
    ann = Operator(ADMIN, "admin")
    async with connect(service) as node:
        changed = await node.call(OPERATIONS, ChangeTree(ann, "bitnexus/operations", "restart"), timeout_s=30)
        assert isinstance(changed, TreeChanged)
        assert changed.outcome == "begun"
        assert isinstance(await node.call(OPERATIONS, ShowTree(ann), retry=True, timeout_s=30), TreeShown)
    await asyncio.to_thread(
        wait_until, lambda: service.has_pid(OPERATIONS, other_than=pid), PATIENCE_S, lambda: "not restarted"
    )
    row = await asyncio.to_thread(newest_in_audit, service, id=changed.command_id)
    assert row["outcome"] == "begun"


# -- HTTP ---------------------------------------------------------------------------------------------------------


async def test_admins_alone_command_by_http(service: RunningService) -> None:
    routes = [("GET", f"/tree{view}") for view in ("", "/top", "/state", "/history", "/trace")]
    for method, path in [*routes, ("POST", "/tree/commands"), ("GET", "/audit")]:
        for role, status in (("", 401), ("user", 403), ("service", 403)):
            assert (await request(service, method, path, role=role, json={}))[0] == status


async def test_the_tree_by_http(service: RunningService) -> None:
    status, body = await request(service, "GET", "/tree", params={"path": "bitnexus/transactions"})
    assert status == 200
    assert [row["path"] for row in body["data"]][1:] == [
        "bitnexus/transactions/transactions-0",
        "bitnexus/transactions/transactions-1",
    ]
    assert body["data"][0]["status"] == "running"
    status, body = await request(service, "GET", "/tree/top", params={"for_s": "0.1", "limit": "2"})
    assert (status, len(body["data"])) == (200, 2)
    status, body = await request(service, "GET", "/tree/state", params={"path": "bitnexus/ledger"})
    assert (status, body["data"]["state"]["class"]) == (200, "Ledger")
    status, body = await request(service, "GET", "/tree/history")
    assert (status, isinstance(body["data"], list)) == (200, True)
    status, body = await request(service, "GET", "/tree/trace", params={"path": "bitnexus", "count": "1"})
    assert (status, body["data"]["messages"][0].keys()) == (200, {"at", "type", "from", "size", "call"})
    status, body = await request(service, "GET", "/tree", params={"path": "bitnexus/legder"})
    assert (status, body["code"]) == (404, "unknown_path")
    assert "bitnexus/ledger" in body["detail"]
    assert (await request(service, "GET", "/tree/trace", params={"count": "1001"}))[0] == 422


async def test_a_command_by_http_and_its_line_in_the_audit(service: RunningService) -> None:
    fields: dict[str, Any] = {"verb": "restart", "path": "bitnexus/notifier", "dry_run": True}
    status, would = await request(service, "POST", "/tree/commands", json={"command": fields})
    assert (status, would["data"]["outcome"], would["data"]["id"]) == (200, "would", None)
    fields["dry_run"] = False
    status, done = await request(service, "POST", "/tree/commands", json={"command": fields})
    assert (status, done["data"]["outcome"]) == (200, "done")
    assert done["data"]["steps"] == would["data"]["steps"]
    status, audit = await request(service, "GET", "/audit", params={"limit": "1"})
    (row,) = audit["data"]
    assert (row["id"], row["verb"], row["outcome"], row["entrance"]) == (done["data"]["id"], "restart", "done", "http")
    assert (row["operator_id"], row["operator_role"], row["address"]) == (ADMIN, "admin", "127.0.0.1")
    assert row["arguments"] == {"within_s": 30.0}
    _, whole = await request(service, "GET", "/audit", params={"limit": "2"})
    assert audit["page"]["has_more"] is (len(whole["data"]) == 2)
    status, older = await request(service, "GET", "/audit", params={"limit": "200", "cursor": audit["page"]["next"]})
    assert status == 200
    assert row["id"] not in {each["id"] for each in older["data"]}
    begun = [each["begun_at"] for each in older["data"]]
    assert begun == sorted(begun, reverse=True)
    assert (await request(service, "GET", "/audit", params={"cursor": "x" * 40}))[0] == 400
    status, refused = await request(service, "POST", "/tree/commands", json={"command": {**fields, "path": "bitnexus"}})
    assert (status, refused["code"]) == (409, "command_refused")
    for wrong in ({"verb": "delete", "path": "x"}, {"verb": "stop"}, {**fields, "path": "a\nb"}):
        assert (await request(service, "POST", "/tree/commands", json={"command": wrong}))[0] == 422


async def test_a_front_that_ends_itself_answers_before_it_does(service: RunningService) -> None:
    before = {name: service.pid_of(name) for name in ("http-0", "http-1")}
    command = {"verb": "restart", "path": "bitnexus/http"}
    status, begun = await request(service, "POST", "/tree/commands", json={"command": command})
    assert (status, begun["data"]["outcome"]) == (202, "begun")
    for name, pid in before.items():
        await asyncio.to_thread(
            wait_until,
            lambda name=name, pid=pid: service.has_pid(name, other_than=pid),
            PATIENCE_S,
            lambda name=name: f"{name} was not restarted",
        )
    row = await asyncio.to_thread(newest_in_audit, service, id=begun["data"]["id"], outcome="done")
    assert [(step["action"], step["path"].rpartition("/")[2]) for step in row["steps"]] == [
        ("stop", "http-0"), ("start", "http-0"), ("stop", "http-1"), ("start", "http-1")
    ]  # fmt: skip


# -- without a database -------------------------------------------------------------------------------------------


def test_without_a_database_commands_work_and_are_in_the_audit_when_it_is_back(
    service: RunningService,
) -> None:
    everybody = [process for process in service.processes() if process.name() == "postgres"]
    assert everybody
    for process in everybody:
        process.suspend()
    try:
        done = cli(service, "restart", "bitnexus/notifier", "--yes", "--json")
        assert (done.returncode, json.loads(done.stdout)["outcome"]) == (0, "done"), done.stderr
        waiting = service.data_dir / "operator_commands.jsonl"
        assert waiting.exists()
    finally:
        for process in everybody:
            process.resume()
    row = newest_in_audit(service, id=json.loads(done.stdout)["command_id"], outcome="done")
    assert row["outcome"] == "done"
    wait_until(lambda: not waiting.exists(), PATIENCE_S, lambda: "the file is still there")


async def test_every_command_of_these_tests_is_in_the_audit(service: RunningService) -> None:
    assert (await asyncio.to_thread(cli, service, "resume", "bitnexus/notifier")).returncode == 0
    logged = {line["command"] for line in map(json.loads, service.log_lines()) if line["event"] == "operator_command"}
    assert logged
    rows = {row["id"] for row in await asyncio.to_thread(printed, service, "audit", "--limit", "10000")}
    assert logged <= rows
