"""Long polling as the npm client speaks it, at several fronts that share a port."""

from __future__ import annotations

import asyncio
import base64
import json

import aiohttp
import pytest
import pytest_asyncio

from tests.service import Service

pytestmark = pytest.mark.asyncio(loop_scope="session")

PATH = "/socket/longpoll"
LINES = "application/x-ndjson"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def polled(database_url, tmp_path_factory):
    """A service whose polls wait only briefly."""
    args = json.dumps({"poll_window_s": 0.5})
    directory = tmp_path_factory.mktemp("polled")
    running = await Service.start(database_url, directory, program="tests.given_fronts", TEST_FRONT_ARGS=args)
    yield running
    assert await running.stop() == 0


class Poller:
    """A polling client; every request takes a new connection, so that any front may get it."""

    def __init__(self, service, user, vsn="2.0.0"):
        connector = aiohttp.TCPConnector(force_close=True)
        self._http = aiohttp.ClientSession(f"http://127.0.0.1:{service.port}", connector=connector)
        self.query = [("token", user.token), ("vsn", vsn)]
        self.session: str | None = None

    async def request(self, method, *, session=None, **options):
        named = session or self.session
        query = [*self.query, *([("token", named)] if named else [])]
        async with self._http.request(method, PATH, params=query, **options) as response:
            assert response.status == 200
            assert response.content_type == "application/json"
            return await response.json()

    async def open(self):
        answer = await self.request("GET")
        assert (answer["status"], answer["messages"]) == (410, [])
        self.session = answer["token"]
        return self

    async def poll(self):
        """The messages of the next poll that has some."""
        async with asyncio.timeout(10):
            while (answer := await self.request("GET"))["status"] == 204:
                assert answer == {"status": 204, "token": self.session, "messages": []}
        assert answer["status"] == 200, answer
        return [json.loads(message) for message in answer["messages"]]

    async def post(self, *frames):
        body = "\n".join(frame if isinstance(frame, str) else json.dumps(frame) for frame in frames)
        return (await self.request("POST", data=body, headers={"Content-Type": LINES}))["status"]

    @property
    def front(self):
        assert self.session is not None
        raw = base64.urlsafe_b64decode(self.session + "==")
        return json.loads(raw[16:])[0]

    async def close(self):
        await self._http.close()


@pytest_asyncio.fixture(loop_scope="session")
async def poller():
    made = []

    async def make(service, user, **options):
        made.append(await Poller(service, user, **options).open())
        return made[-1]

    yield make
    for each in made:
        await each.close()


def ok(join_ref, ref, topic):
    return [join_ref, ref, topic, "phx_reply", {"status": "ok", "response": {}}]


async def test_a_polling_client_joins_and_hears_of_transfers_whichever_front_its_requests_reach(polled, poller):
    ann, ben = await polled.register(), await polled.register()
    await polled.fund(ann, 1000)
    by_front: dict[str, Poller] = {}
    async with asyncio.timeout(30):
        while len(by_front) < 2:
            client = await poller(polled, ann)
            by_front[client.front] = client
    assert set(by_front) == {"http-0", "http-1"}
    topic = f"transaction:{ann.id}"
    for client in by_front.values():
        assert await client.post(["1", "1", topic, "phx_join", {}]) == 200
        assert await client.poll() == [ok("1", "1", topic)]
    for amount in range(1, 11):
        _, answer, _ = await polled.transfer(ann, ben, amount)
        for client in by_front.values():
            assert await client.poll() == [[None, None, topic, "new_transaction", answer["data"]]]
        for client in by_front.values():
            assert await client.post([None, str(amount), "phoenix", "heartbeat", {}]) == 200
            assert await client.poll() == [ok(None, str(amount), "phoenix")]


async def test_version_1_is_served_as_well_and_one_message_needs_no_batch(polled, poller):
    ann = await polled.register()
    client = await poller(polled, ann, vsn="1.0.0")
    topic = f"transaction:{ann.id}"
    join = {"topic": topic, "event": "phx_join", "payload": {}, "ref": "1"}
    answer = await client.request("POST", data=json.dumps(join), headers={"Content-Type": "application/json"})
    assert answer == {"status": 200}
    payload = {"status": "ok", "response": {}}
    assert await client.poll() == [{"topic": topic, "event": "phx_reply", "payload": payload, "ref": "1"}]


async def test_a_batch_is_taken_in_its_order_with_binary_messages_in_base64(polled, poller):
    ann = await polled.register()
    client = await poller(polled, ann)
    topic = f"transaction:{ann.id}"
    binary = b"\x00\x01\x01" + bytes((len(topic), 4)) + b"1" + b"3" + topic.encode() + b"work" + b"\xff"
    beat: list[object] = [None, "1", "phoenix", "heartbeat", {}]
    assert await client.post(beat, base64.b64encode(binary).decode(), ["1", "4", "t", "e", {}]) == 200
    unmatched = {"status": "error", "response": {"reason": "unmatched topic"}}
    assert await client.poll() == [
        ok(None, "1", "phoenix"),
        [None, "3", topic, "phx_reply", unmatched],
        [None, "4", "t", "phx_reply", unmatched],
    ]


async def test_nothing_within_the_window_is_204_and_the_session_goes_on(polled, poller):
    client = await poller(polled, await polled.register())
    for _ in range(5):
        assert await client.request("GET") == {"status": 204, "token": client.session, "messages": []}


async def test_a_session_for_which_nobody_polls_ends(polled, poller):
    client = await poller(polled, await polled.register())
    async with asyncio.timeout(10):
        # Posting is not polling.
        while (status := await client.post([None, "1", "phoenix", "heartbeat", {}])) == 200:
            await asyncio.sleep(0.05)
    assert status == 410
    # Not 410 with a new session: the npm client 1.7 would go on with it, and not join its channels again.
    assert await client.request("GET") == {"status": 500}


async def test_a_session_of_a_killed_front_is_gone(polled, poller):
    ann = await polled.register()
    client = await poller(polled, ann)
    await polled.kill(client.front)
    await polled.reconnect()
    async with asyncio.timeout(10):
        while True:
            try:
                assert await client.post([None, "1", "phoenix", "heartbeat", {}]) == 410
                break
            except aiohttp.ClientConnectionError:
                pass  # it reached the killed one
    assert await client.request("GET") == {"status": 500}
    client.session = None
    await client.open()
    assert await client.post([None, "1", "phoenix", "heartbeat", {}]) == 200


async def test_what_is_no_session_is_answered_with_a_new_one_or_gone(polled):
    ann = await polled.register()
    client = Poller(polled, ann)
    for forged in ("x", "AAAA", "null", ann.token, base64.urlsafe_b64encode(b"\0" * 40).decode().rstrip("=")):
        assert (await client.request("GET", session=forged))["status"] == 410
        assert await client.request("POST", session=forged, data="[]") == {"status": 410}
    await client.close()


@pytest.mark.parametrize(
    ("query", "headers"),
    [
        ("vsn=2.0.0", {}),
        ("vsn=2.0.0&token=x", {}),
        ("vsn=3.0.0&token={token}", {}),
        ("vsn=2.0.0&token={token}", {"Origin": "https://evil.example.com"}),
    ],
)
async def test_a_polling_client_is_refused_with_403(polled, query, headers):
    ann = await polled.register()
    status, answer, _ = await polled.call("GET", f"{PATH}?{query.format(token=ann.token)}", headers=headers)
    assert (status, answer) == (200, {"status": 403})


async def test_the_token_may_come_in_a_header(polled):
    ann = await polled.register()
    for headers in (ann.headers, {"X-Phoenix-AuthToken": ann.token}):
        _, answer, _ = await polled.call("GET", f"{PATH}?vsn=2.0.0", headers=headers)
        assert answer["status"] == 410
        session = {"X-Phoenix-LongPoll-Token": answer["token"]}
        _, answer, _ = await polled.call("GET", f"{PATH}?vsn=2.0.0", headers=session)
        assert answer["status"] == 204


async def test_a_page_of_an_allowed_origin_may_poll(polled):
    ann = await polled.register()
    headers = {"Origin": f"http://127.0.0.1:{polled.port}"}
    status, _, answered = await polled.call("OPTIONS", PATH, headers=headers)
    assert status == 204
    assert "X-Phoenix-AuthToken" in answered["Access-Control-Allow-Headers"]
    _, answer, answered = await polled.call("GET", f"{PATH}?vsn=2.0.0&token={ann.token}", headers=headers)
    assert answer["status"] == 410
    assert (answered["Access-Control-Allow-Origin"], answered["Vary"]) == (headers["Origin"], "Origin")
    _, answer, answered = await polled.call("OPTIONS", PATH, headers={"Origin": "https://evil.example.com"})
    assert answer == {"status": 403}
    assert "Access-Control-Allow-Origin" not in answered


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"[]", 400),
        (b"x", 400),
        (b"{}", 400),
        (b"\xff", 400),
        (b"AAAA", 400),
        (b'[null,"1","phoenix","heartbeat",{}]\n' * 101, 400),
        (b"[" + b" " * 65_536, 413),
        (b"[]\n" * 100_000, 413),
    ],
)
async def test_what_is_no_batch_is_refused(polled, poller, body, status):
    client = await poller(polled, await polled.register())
    answer = await client.request("POST", data=body, headers={"Content-Type": LINES})
    assert answer == {"status": status}


async def test_a_polling_client_that_floods_is_cut_off_and_comes_back(polled, poller):
    client = await poller(polled, await polled.register())
    batch: list[list[object]] = [[None, "1", "phoenix", "heartbeat", {}]] * 100
    async with asyncio.timeout(20):
        while (status := await client.post(*batch)) == 200:
            pass
    assert status == 429
    assert await client.post(batch[0]) == 410
    client.session = None
    await client.open()
    assert await client.post(batch[0]) == 200


async def test_a_user_has_only_so_many_sessions_and_the_oldest_makes_room(polled, poller):
    ann = await polled.register()
    first = await poller(polled, ann)
    of_first_front = 0
    while of_first_front < 20:
        of_first_front += (await poller(polled, ann)).front == first.front
    assert await first.post([None, "1", "phoenix", "heartbeat", {}]) == 410


async def test_a_polling_client_that_lost_its_session_resumes_at_another_front(polled, poller):
    ann, ben = await polled.register(), await polled.register()
    await polled.fund(ann, 1000)
    topics = [f"transaction:{ann.id}", f"notification:{ann.id}"]
    client = await poller(polled, ann)
    places = {}
    for topic in topics:
        assert await client.post(["1", "1", topic, "phx_join", {"resume": {}}]) == 200
        ((_, _, name, _, answer),) = await client.poll()
        places[name] = {key: answer["response"]["resume"][key] for key in ("epoch", "seq")}
    for amount in (1, 2, 3):
        await polled.transfer(ann, ben, amount)
    other = await poller(polled, ann)
    # Both joins at once, so that what one of them missed waits while the other one resumes.
    joins = [["1", str(ref), topic, "phx_join", {"resume": places[topic]}] for ref, topic in enumerate(topics)]
    assert await other.post(*joins) == 200
    heard: list[list] = []
    while len(heard) < 5:
        heard += await other.poll()
    assert [frame[4]["amount"] for frame in heard if frame[3] == "new_transaction"] == [1, 2, 3]
    counts = {frame[2]: frame[4]["response"]["resume"]["count"] for frame in heard if frame[3] == "phx_reply"}
    assert counts == dict(zip(topics, (3, 0), strict=True))
