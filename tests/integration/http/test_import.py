"""``bitnexus import`` as a process of its own, against a running tree."""

from __future__ import annotations

import asyncio
import contextlib
import csv
import fcntl
import json
import os
import signal
import sys
import termios
import uuid

import orjson
import psutil
import pytest
import pytest_asyncio

pytestmark = pytest.mark.asyncio(loop_scope="session")

ENOUGH_S = 50.0


@pytest_asyncio.fixture(loop_scope="session")
async def pair(service):
    ann, ben = await service.register(), await service.register()
    await service.fund(ann, 100_000)
    return ann, ben


@pytest.fixture
def start(service, tmp_path):
    """Starts the command in a folder of its own; with nothing set but what is given."""

    async def run(*arguments, user=None, **options):
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path)}
        if user is not None:
            environment["BITNEXUS_TOKEN"] = user.token
        return await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "bitnexus", "import", "--url", f"http://127.0.0.1:{service.port}", *map(str, arguments)),
            env=environment,
            cwd=tmp_path,
            stdin=options.get("stdin", asyncio.subprocess.DEVNULL),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )

    return run


@pytest.fixture
def imported(start):
    """Runs the command to its end: exit code, its summary (or what it wrote), its standard error output."""

    async def run(*arguments, user=None, data=None):
        stdin = asyncio.subprocess.PIPE if data is not None else asyncio.subprocess.DEVNULL
        process = await start(*arguments, user=user, stdin=stdin)
        async with asyncio.timeout(ENOUGH_S):
            out, err = await process.communicate(data)
        shown = json.loads(out) if "--json" in arguments and out else out.decode()
        return process.returncode, shown, err.decode()

    return run


async def balance(service, user):
    _, answer, _ = await service.call("GET", f"/api/v1/accounts/{user.account_id}", user=user)
    return answer["data"]["balance"]


def pay(payer, payee, amount=1, **fields):
    return {"debit_account_id": payer.account_id, "credit_account_id": payee.account_id, "amount": amount, **fields}


def write(path, items):
    path.write_bytes(b"".join(orjson.dumps(item) + b"\n" for item in items))
    return path


def counts(summary):
    return summary["lines"], summary["posted"], summary["replayed"], summary["refused"]


async def test_a_csv_file_is_posted_and_posted_once_however_often_it_is_imported(service, pair, imported, tmp_path):
    ann, ben = pair
    path = tmp_path / "payroll.csv"
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["debit_account_id", "credit_account_id", "amount", "description", "metadata"])
        rows.writerows([ann.account_id, ben.account_id, 2, f"line {n}", '{"n": 1}'] for n in range(250))
    code, summary, err = await imported("payroll.csv", "--json", "--batch-size", "100", user=ann)
    assert (code, counts(summary), err) == (0, (250, 250, 0, 0), "")
    assert await balance(service, ben) == 500
    code, summary, _ = await imported("payroll.csv", "--json", "--batch-size", "77", user=ann)
    assert (code, counts(summary)) == (0, (250, 0, 250, 0))
    code, shown, _ = await imported("payroll.csv", user=ann)
    assert (code, shown.splitlines()[2]) == (0, "replayed   250")
    assert await balance(service, ben) == 500
    _, answer, _ = await service.call("GET", "/api/v1/transactions?limit=1", user=ann)
    assert (answer["data"][0]["description"], answer["data"][0]["metadata"]) == ("line 249", {"n": 1})


async def test_refused_lines_are_reported_and_their_report_can_be_mended_and_imported(
    service, pair, imported, tmp_path
):
    ann, ben = pair
    stranger = str(uuid.uuid4())
    items = [
        pay(ann, ben, 10),
        {"amount": 5},
        pay(ann, ben, 10_000_000, description="too much"),
        pay(ben, ann, 1, id=stranger),
        pay(ann, ben, 20),
    ]
    write(tmp_path / "file.jsonl", items)
    code, summary, _ = await imported("file.jsonl", "--json", user=ann)
    assert (code, counts(summary), summary["complete"]) == (1, (5, 2, 0, 3), True)
    assert summary["refused_by_code"] == {"invalid_fields": 1, "exceeds_credits": 1, "not_found": 1}
    assert summary["report"] == "file.refused.jsonl"
    report = tmp_path / "file.refused.jsonl"
    refused = {each["refused_line"]: each for each in map(orjson.loads, report.read_bytes().splitlines())}
    assert refused.keys() == {2, 3, 4}
    assert refused[2]["refused_detail"] == "debit_account_id: Field required"
    assert refused[3]["description"] == "too much"
    assert (refused[4]["refused_code"], refused[4]["id"]) == ("not_found", stranger)
    write(report, [{**refused[3], "amount": 30}])
    code, summary, _ = await imported(report.name, "--json", user=ann)
    assert (code, counts(summary)) == (0, (1, 1, 0, 0))
    assert await balance(service, ben) == 60
    code, shown, _ = await imported("file.jsonl", user=ann)
    assert code == 1
    assert "report     file.refused-2.jsonl" in shown
    assert "  line 3: The debit account's balance is too low." in shown
    assert orjson.loads(report.read_bytes())["amount"] == 30, "the first report was not overwritten"


async def test_the_report_of_a_csv_file_is_a_csv_file(service, pair, imported, tmp_path):
    ann, ben = pair
    names = "debit_account_id,credit_account_id,amount\n"
    (tmp_path / "a.csv").write_text(f"{names}{ann.account_id},{ben.account_id},x\n1,2\n")
    code, summary, _ = await imported("a.csv", "--json", user=ann)
    assert (code, summary["refused_by_code"]) == (1, {"invalid_fields": 1, "bad_line": 1})
    with (tmp_path / "a.refused.csv").open(newline="") as file:
        first, second = csv.DictReader(file)
    assert (first["amount"], first["refused_line"], first["refused_code"]) == ("x", "2", "invalid_fields")
    assert (second["refused_line"], second["refused_text"]) == ("3", "1,2\n")
    text = (tmp_path / "a.refused.csv").read_text().replace(",x,", ",7,").splitlines()[:2]
    (tmp_path / "mended.csv").write_text("\n".join(text))
    code, summary, _ = await imported("mended.csv", "--json", user=ann)
    assert (code, counts(summary)) == (0, (1, 1, 0, 0))
    assert await balance(service, ben) == 7


async def test_a_pipe_is_read_and_needs_a_name_or_ids(service, pair, imported):
    ann, ben = pair
    data = b"".join(orjson.dumps(pay(ann, ben)) + b"\n" for _ in range(3))
    for replayed in (0, 3):
        code, summary, _ = await imported("-", "--name", f"pipe {ann.id}", "--json", user=ann, data=data)
        assert (code, counts(summary)) == (0, (3, 3 - replayed, replayed, 0))
    code, summary, _ = await imported("-", "--json", user=ann, data=data + orjson.dumps(pay(ann, ben, id=ann.id)))
    assert (code, counts(summary)) == (1, (4, 1, 0, 3))
    assert summary["report"] == "import.refused.jsonl"
    assert await balance(service, ben) == 4


async def test_a_dry_run_needs_no_token_and_posts_nothing(service, pair, imported, tmp_path):
    ann, ben = pair
    write(tmp_path / "f.jsonl", [pay(ann, ben), {"amount": 1}])
    code, summary, _ = await imported("f.jsonl", "--dry-run", "--json")
    assert (code, counts(summary), summary["dry_run"]) == (1, (2, 0, 0, 1), True)
    assert await balance(service, ben) == 0


@pytest.mark.parametrize("name", ["ledger", "transactions-0", "http-0"])
async def test_a_process_that_dies_in_the_middle_costs_nothing(service, pair, start, tmp_path, name):
    ann, ben = pair
    write(tmp_path / f"{name}.jsonl", [pay(ann, ben)] * 3_000)
    process = await start(f"{name}.jsonl", "--json", "--batch-size", "20", "--name", f"{name} {ann.id}", user=ann)
    async with asyncio.timeout(ENOUGH_S):
        while await balance(service, ben) == 0:
            await asyncio.sleep(0.01)
        await service.kill(name)
        out, _ = await process.communicate()
    assert (process.returncode, counts(json.loads(out))[0]) == (0, 3_000)
    await service.reconnect()
    assert await balance(service, ben) == 3_000


async def test_memory_does_not_grow_with_the_file(service, pair, start, tmp_path):
    ann, ben = pair
    write(tmp_path / "many.jsonl", [pay(ann, ben, description=f"line {n}") for n in range(40_000)])
    process = await start("many.jsonl", "--json", "--name", f"many {ann.id}", user=ann)
    watched = psutil.Process(process.pid)
    sizes = []
    async with asyncio.timeout(ENOUGH_S):
        while process.returncode is None:
            posted = await balance(service, ben)
            with contextlib.suppress(psutil.NoSuchProcess):
                sizes.append((posted, watched.memory_info().rss))  # 0 for a zombie
            await asyncio.sleep(0.02)
        out, _ = await process.communicate()
    assert json.loads(out)["posted"] == 40_000
    settled = max(size for posted, size in sizes if posted <= 5_000)
    assert settled > 0
    # To keep the lines would take 20 MB and more.
    assert max(size for _, size in sizes) < settled + 8_000_000


async def test_an_interrupted_import_says_so_and_goes_on_when_it_is_begun_again(
    service, pair, start, imported, tmp_path
):
    ann, ben = pair
    write(tmp_path / "long.jsonl", [pay(ann, ben)] * 3_000)
    arguments = ("long.jsonl", "--json", "--batch-size", "20", "--name", f"long {ann.id}")
    process = await start(*arguments, user=ann)
    async with asyncio.timeout(ENOUGH_S):
        while await balance(service, ben) < 200:  # ten batches: the first nine it knows of
            await asyncio.sleep(0.01)
        process.send_signal(signal.SIGINT)
        out, err = await process.communicate()
    first = json.loads(out)
    assert (process.returncode, first["complete"], first["trouble"]) == (130, False, "it was interrupted")
    assert b"Traceback" not in err
    code, summary, _ = await imported(*arguments, user=ann)
    assert (code, summary["posted"] + summary["replayed"]) == (0, 3_000)
    # The ledger had some: the import may have been stopped before it heard so.
    assert summary["replayed"] >= max(1, first["posted"])
    assert await balance(service, ben) == 3_000


async def test_ctrl_c_ends_an_import_that_waits_for_a_pipe(pair, start):
    ann, ben = pair
    here, there = os.pipe()
    try:
        process = await start("-", "--name", "waiting", user=ann, stdin=here)
        os.write(there, orjson.dumps(pay(ann, ben)))
        async with asyncio.timeout(ENOUGH_S):
            while int.from_bytes(fcntl.ioctl(here, termios.FIONREAD, bytes(4)), sys.byteorder):
                await asyncio.sleep(0.02)  # until it has read all there is
            process.send_signal(signal.SIGINT)
            # The pipe stays open: `wait`, not `communicate`.
            assert await process.wait() == 130
    finally:
        os.close(here)
        os.close(there)


async def test_too_many_refused_lines_end_it(pair, imported, tmp_path):
    ann, _ = pair
    write(tmp_path / "bad.jsonl", [{"amount": 1}] * 50)
    code, summary, _ = await imported("bad.jsonl", "--json", "--max-refused", "9", "--batch-size", "5", user=ann)
    assert (code, summary["complete"], summary["refused"]) == (1, False, 10)
    assert summary["trouble"] == "More than 9 lines were refused; the last one is 10"


async def test_what_cannot_be_begun_says_why(service, pair, imported, tmp_path):
    ann, _ = pair
    write(tmp_path / "f.jsonl", [{"kind": "void_pending", "pending_id": str(uuid.uuid4())}])
    code, _, err = await imported("f.jsonl")
    assert (code, "BITNEXUS_TOKEN is not set" in err) == (2, True)
    code, _, _ = await imported("no-such-file.csv", user=ann)
    assert code == 2
    ann.token = "no token"
    code, summary, _ = await imported("f.jsonl", "--json", user=ann)
    assert (code, summary["complete"], summary["trouble"]) == (1, False, "The access token is not valid")
    (tmp_path / "odd.csv").write_text("amount,sum\n1,2\n")
    code, summary, _ = await imported("odd.csv", "--json", "--dry-run")
    assert (code, "must name the fields" in summary["trouble"]) == (1, True)


async def test_a_service_that_is_not_there_is_waited_for_and_then_given_up(pair, imported, tmp_path):
    ann, ben = pair
    write(tmp_path / "f.jsonl", [pay(ann, ben)])
    arguments = ("f.jsonl", "--json", "--url", "http://127.0.0.1:9", "--patience", "0.5")
    code, summary, err = await imported(*arguments, user=ann)
    assert (code, summary["complete"], summary["posted"]) == (1, False, 0)
    assert summary["trouble"].startswith("For 0.5 s: no answer:")
    assert "trying again: no answer" in err
