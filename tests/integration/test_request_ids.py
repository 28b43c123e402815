"""One request's id, from the front through every process that works on it."""

from __future__ import annotations

import json
from pathlib import Path

from tests.customers import Teller, session_with
from tests.running import RunningService, wait_until

REQUEST_ID = "lunch-with-ben-1"
TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"


async def test_the_id_of_a_request_stands_on_the_lines_of_all_processes_that_work_on_it(tmp_path: Path):
    settings = {"BITNEXUS_PROFILE": "test", "BITNEXUS_LOG_LEVEL": "debug"}
    with RunningService(tmp_path, settings) as service:
        service.start()
        async with session_with(service) as session:
            ann, ben = await (await Teller.begin(service, session)).customers(2, funds=100)
            fields = {"debit_account_id": ann.account_id, "credit_account_id": ben.account_id, "amount": 1}
            headers = {"Authorization": f"Bearer {ann.token}", "X-Request-Id": REQUEST_ID}
            headers["traceparent"] = f"00-{TRACE_ID}-00f067aa0ba902b7-01"
            async with session.post("/api/v1/transactions", json={"transaction": fields}, headers=headers) as answer:
                assert answer.status == 201
                assert answer.headers["X-Request-Id"] == REQUEST_ID

        def kinds_of_processes() -> set[str]:
            lines = [json.loads(line) for line in service.log_lines() if REQUEST_ID in line]
            assert {(line["request_id"], line["trace_id"]) for line in lines} <= {(REQUEST_ID, TRACE_ID)}
            return {line["process"].partition("-")[0] for line in lines}

        expected = {"http", "transactions", "ledger"}
        wait_until(lambda: kinds_of_processes() >= expected, 5, lambda: f"lines of {kinds_of_processes()} alone")
