"""`admin:*` of a whole service: the tree, metrics and log as they happen, and who is present, at whichever front."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from tests.service import Service, new_session

pytestmark = pytest.mark.asyncio(loop_scope="session")
PATIENCE_S = 20
TREE, METRICS, LOG = "admin:tree", "admin:metrics", "admin:log"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def service(database_url, tmp_path_factory):
    running = await Service.start(database_url, tmp_path_factory.mktemp("operators"))
    yield running
    assert await running.stop() == 0


class Reader:
    """A client that keeps the events of one topic, and who is present by them."""

    def __init__(self, ws, topic):
        self.ws, self.topic = ws, topic
        self.events: list[tuple[str, dict]] = []
        self.present: dict[str, str] = {}  # ref → front
        self.own = ""
        self.news = asyncio.Event()
        self.closed = False
        self.session: Any = None
        self.answer: Any = None
        self.reading: Any = None

    @classmethod
    async def join(cls, service, token, topic):
        session = new_session(service.port)  # of its own: the service's is made anew after a kill
        ws = await session.ws_connect(f"/socket/websocket?vsn=2.0.0&token={token}")
        await ws.send_str(json.dumps(["1", "1", topic, "phx_join", {}]))
        answer = json.loads(await ws.receive_str(timeout=PATIENCE_S))
        reader = cls(ws, topic)
        reader.session = session
        reader.answer = answer[4]
        if reader.answer["status"] == "ok":
            reader.reading = asyncio.create_task(reader._read())
            await reader.until(lambda: any(event == "presence_state" for event, _ in reader.events))
        return reader

    async def _read(self):
        async for message in self.ws:
            if message.type is aiohttp.WSMsgType.TEXT:
                _, _, topic, event, payload = json.loads(message.data)
                assert topic == self.topic
                self.events.append((event, payload))
                self._note(event, payload)
                self.news.set()
        self.closed = True
        self.news.set()

    def _note(self, event, payload):
        def metas(of):
            return [meta for held in of.values() for meta in held["metas"]]

        if event == "presence_state":
            self.present = {meta["phx_ref"]: meta["front"] for meta in metas(payload)}
        elif event == "presence_diff":
            for meta in metas(payload["joins"]):
                self.present[meta["phx_ref"]] = meta["front"]
            for meta in metas(payload["leaves"]):
                assert self.present.pop(meta["phx_ref"], None) is not None, "one left who was not there"

    def told(self, event):
        return [payload for name, payload in self.events if name == event]

    async def until(self, condition):
        try:
            async with asyncio.timeout(PATIENCE_S):
                while not condition():
                    self.news.clear()
                    await self.news.wait()
        except TimeoutError as error:
            raise AssertionError(f"it was told {self.events[-20:]}") from error

    async def close(self):
        await self.ws.close()
        await self.session.close()


async def test_operators_topics_are_for_admins_alone(service):
    user = await service.register()
    for topic in (TREE, METRICS, LOG):
        reader = await Reader.join(service, user.token, topic)
        assert reader.answer == {"status": "error", "response": {"reason": "unauthorized"}}
        await reader.close()
    admin = await service.admin()
    reader = await Reader.join(service, admin.token, "admin:passwords")
    assert reader.answer["response"] == {"reason": "unmatched topic"}
    await reader.close()


async def test_all_who_are_present_are_seen_at_all_fronts_and_a_dead_front_takes_its_own_with_it(service):
    admin = await service.admin()
    readers: list[Reader] = []
    while len({front for reader in readers[:1] for front in reader.present.values()}) < 2 or len(readers) < 6:
        readers.append(await Reader.join(service, admin.token, TREE))
        await readers[0].until(lambda: len(readers[0].present) == len(readers))
        assert len(readers) < 40
    for reader in readers:
        await reader.until(lambda reader=reader: reader.present == readers[0].present)
    gone = readers.pop()
    await gone.close()
    for reader in readers:
        await reader.until(lambda reader=reader: len(reader.present) == len(readers))
    await service.kill("http-0")
    async with asyncio.timeout(PATIENCE_S):
        while any(not reader.closed and "http-0" in reader.present.values() for reader in readers):
            await asyncio.sleep(0.02)
    left = [reader for reader in readers if not reader.closed]
    assert left
    for reader in left:
        await reader.until(lambda reader=reader: len(reader.present) == len(left))
    # The successor has heard of those at the other front.
    await service.reconnect()
    late: list[Reader] = []
    while len({front for reader in late[:1] for front in reader.present.values()}) < 2:
        late.append(await Reader.join(service, admin.token, TREE))
        for reader in (*left, *late):
            await reader.until(lambda reader=reader: len(reader.present) == len(left) + len(late))
        assert len(late) < 40
    for reader in (*readers, *late):
        await reader.close()


async def test_the_death_and_the_restart_of_a_process_are_told_as_they_happen(service):
    admin = await service.admin()
    reader = await Reader.join(service, admin.token, TREE)
    (opening,) = reader.told("tree")
    by_path = {row["path"]: row for row in opening["processes"]}
    assert by_path["bitnexus"]["kind"] == "supervisor"
    before = by_path["bitnexus/notifier"]
    assert before["pid"] == (await service.pids())["notifier"]
    killed_at = time.monotonic()
    await service.kill("notifier")

    def changes():
        told = [change for each in reader.told("tree_diff") for change in each["changes"]]
        return [change for change in told if change["path"] == "bitnexus/notifier"]

    await reader.until(lambda: changes() and changes()[-1]["restarts"] == before["restarts"] + 1)
    assert time.monotonic() - killed_at < PATIENCE_S
    (restarted,) = (change for change in changes() if change["change"] == "restarted")
    assert restarted["pid"] == (await service.pids())["notifier"] != before["pid"]
    assert "SIGKILL" in changes()[-1]["last_exit"]
    await reader.close()


async def test_numbers_come_each_second_while_somebody_listens(service):
    admin = await service.admin()
    reader = await Reader.join(service, admin.token, METRICS)
    ann, ben = await service.register(), await service.register()
    await service.fund(ann, 100)
    await service.transfer(ann, ben, 1)
    await reader.until(lambda: any(told["ledger_events_per_s"] > 0 for told in reader.told("metrics")))
    told = reader.told("metrics")[-1]
    assert told["processes"] == len(service.running.pids())
    assert told["sockets"] >= 1
    await reader.close()


async def test_log_lines_of_all_processes_come_without_secrets_and_nothing_when_nobody_listens(service):
    admin = await service.admin()
    reader = await Reader.join(service, admin.token, LOG)

    ann = await service.register()
    async with service.session.ws_connect(f"/socket/websocket?vsn=2.0.0&token={ann.token}") as ws:
        await ws.send_str(json.dumps(["1", "1", f"transaction:{ann.id}", "phx_join", {}]))
        await ws.receive_str(timeout=PATIENCE_S)
        await service.kill("notifier")

        def processes():
            return {told["process"] for told in reader.told("lines") for _ in told["lines"]}

        # News for its supervisor, and for the front that subscribes its topic anew.
        await reader.until(lambda: "bitnexus" in processes() and any(name.startswith("http-") for name in processes()))
    lines = [line for told in reader.told("lines") for line in told["lines"]]
    assert all({"timestamp", "level", "process", "event"} <= line.keys() for line in lines)
    assert admin.token not in json.dumps(lines)
    await reader.close()
