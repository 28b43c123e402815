"""Who does not know the cookie gets nothing from any port of the node, and nothing that they send is unpickled."""

from __future__ import annotations

import asyncio
import os
import pickle
import random
from pathlib import Path

import psutil
import pytest

from bitnexus.actors.runtime import envelopes, membership
from bitnexus.actors.runtime.frames import HEADER, FrameDecoder, Kind, encode
from bitnexus.actors.runtime.handshake import HANDSHAKE_TIMEOUT_S, NONCE_SIZE, PROOF_SIZE, Dialler, Keys
from bitnexus.config import node_cookie
from tests.tree.actors import Ping
from tests.tree.running import Tree, running, supervisor, worker

#: How soon a connection is closed over which nonsense came.
CLOSED_WITHIN_S = 2.0
#: An attacker may say that they listen anywhere.
ADDRESS = "127.0.0.1:9"


class Bomb:
    """Unpickled, it makes a file."""

    def __init__(self, crater: Path) -> None:
        self._crater = crater

    def __reduce__(self):
        return os.mkdir, (str(self._crater),)


def some_tree(journal):
    return running(worker("a", journal), supervisor("sub", worker("b", journal), worker("c", journal)))


@pytest.fixture
def tree(journal):
    with some_tree(journal) as running_tree:
        yield running_tree


@pytest.fixture
def crater(tmp_path):
    return tmp_path / "crater"


def ports_of(tree: Tree) -> dict[str, int]:
    """Every port on which a process of the tree listens: admin, logger, supervisors, workers, and the launcher."""
    found = {"launcher": tree.launcher.transport.peers.port}
    for process in tree.processes:
        for connection in process.net_connections("inet"):
            if connection.status == psutil.CONN_LISTEN:
                found[f"{process.pid} at {connection.laddr.ip}:{connection.laddr.port}"] = connection.laddr.port
    assert len(found) == 1 + len(tree.processes) == 1 + 2 + 5
    return found


def hello(keys: Keys, challenge: bytes, port: int) -> bytes:
    dialler = Dialler(keys, os.urandom(NONCE_SIZE), ADDRESS, f"127.0.0.1:{port}")
    return encode(Kind.HELLO, dialler.receive_challenge(challenge))


async def challenge_from(reader: asyncio.StreamReader) -> bytes:
    decoder = FrameDecoder()
    while (frame := decoder.next_frame()) is None:
        decoder.feed(await reader.read(1))
    kind, body = frame
    assert kind is Kind.CHALLENGE
    return body


async def closed(reader: asyncio.StreamReader, within_s: float = CLOSED_WITHIN_S) -> bytes:
    """Wait until the peer closes; gives what it said until then."""
    said = b""
    try:
        async with asyncio.timeout(within_s):
            while more := await reader.read(65536):
                said += more
    except ConnectionError:
        pass  # its way to say so
    return said


async def send(port: int, attack: bytes, keys: Keys | None = None) -> bytes:
    """Connect, say hello if there are keys, send `attack`; gives what was answered until the close."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        challenge = await challenge_from(reader)
        if keys is not None:
            writer.write(hello(keys, challenge, port))
        writer.write(attack)
        return await closed(reader)
    finally:
        writer.close()


def assert_unharmed(tree: Tree, before: dict[str, int]) -> None:
    assert {name: tree.ping(name).pid for name in ("a", "b", "c")} == before
    assert tree.node.names() == ["a", "b", "c", "root", "sub"]


def test_every_port_of_the_node_listens_on_the_loopback_address_alone(tree):
    mine = psutil.Process()
    for process in [mine, *tree.processes]:
        for connection in process.net_connections("inet"):
            assert connection.type.name == "SOCK_STREAM"
            if connection.status == psutil.CONN_LISTEN:
                assert connection.laddr.ip == "127.0.0.1"
    assert len(ports_of(tree)) == 8


def test_the_bomb_works(crater):
    # Or the tests below would show nothing.
    pickle.loads(pickle.dumps(Bomb(crater)))
    assert crater.exists()


def attacks(crater: Path) -> dict[str, bytes]:
    bomb = pickle.dumps(Bomb(crater))
    envelope = envelopes.encode(envelopes.pickled_sender(None), Bomb(crater))
    gigabyte = 1 << 30
    return {
        "noise": random.Random(7).randbytes(8192),
        "zeros": bytes(8192),
        "http": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" + bytes(512),
        "a pickle": bomb,
        "a pickle as Thespian frames it": b"%d\0" % len(bomb) + bomb,
        "a pickle in an envelope": encode(Kind.ENVELOPE, envelope),
        "a pickle in a batch": encode(Kind.BATCH, bomb),
        "a pickle in a hello": encode(Kind.HELLO, bomb),
        "a pickle in a long hello": encode(Kind.HELLO, bomb.ljust(2 + NONCE_SIZE + PROOF_SIZE + 40, b".")),
        "a pickle in a welcome": encode(Kind.WELCOME, bomb),
        "a pickle in a challenge": encode(Kind.CHALLENGE, bomb),
        "an acknowledgement": encode(Kind.ACK, bytes(8)),
        "a gigabyte of envelope": HEADER.pack(gigabyte, Kind.ENVELOPE) + bytes(4096),
        "a gigabyte of hello": HEADER.pack(gigabyte, Kind.HELLO) + bytes(4096),
        "the largest hello of all": HEADER.pack(2**32 - 1, Kind.HELLO),
    }


@pytest.mark.parametrize("what", attacks(Path()))
def test_who_shows_no_cookie_is_closed_and_nothing_is_unpickled(tree, crater, what):
    before = {name: tree.ping(name).pid for name in ("a", "b", "c")}
    for who, port in ports_of(tree).items():
        assert tree.run(send(port, attacks(crater)[what])) == b"", who
    assert not crater.exists()
    assert_unharmed(tree, before)


def test_who_shows_a_wrong_cookie_is_closed_and_logged_and_nothing_is_unpickled(journal, crater, log, settings):
    bomb = encode(Kind.ENVELOPE, envelopes.encode(envelopes.pickled_sender(None), Bomb(crater)))
    with some_tree(journal) as tree:
        before = {name: tree.ping(name).pid for name in ("a", "b", "c")}
        wrong = [b"", b"x", node_cookie(settings)[:-1], node_cookie(settings) + b"x", b"x" * 4096]
        for who, port in ports_of(tree).items():
            for cookie in wrong:
                assert tree.run(send(port, bomb, membership.keys(cookie))) == b"", who
        assert not crater.exists()
        assert_unharmed(tree, before)
        refused = [line for line in log("connection_refused") if line["reason"].startswith("wrong cookie")]
        # The launcher and the admin log as this process does.
        assert {line["pid"] for line in refused} == {each.pid for each in tree.processes} - {tree.launcher.admin_pid}
        assert len(refused) == (len(tree.processes) - 1) * len(wrong)
        assert all(line["peer"].startswith("127.0.0.1:") for line in refused)
        assert node_cookie(settings).decode() not in str(refused)


def test_who_knows_the_cookie_alone_is_no_process_and_nothing_that_it_sends_is_unpickled(
    journal, crater, log, settings
):
    bomb = encode(Kind.ENVELOPE, envelopes.encode(envelopes.pickled_sender(None), Bomb(crater)))
    cookie = node_cookie(settings)
    with some_tree(journal) as tree:
        before = {name: tree.ping(name).pid for name in ("a", "b", "c")}
        for who, port in ports_of(tree).items():
            assert tree.run(send(port, bomb, Keys.derive(cookie, b"a guess"))) == b"", who
            answer = tree.run(send(port, bomb, Keys.derive(cookie)))
            # Launcher, admin and logger take no clients at all; the others close at the envelope.
            assert answer[4] in (Kind.REFUSED, Kind.WELCOME), who
        assert not crater.exists()
        assert_unharmed(tree, before)
        assert cookie.decode() not in str(log("connection_refused"))


def test_who_stays_silent_is_closed_after_a_while_and_others_are_served_meanwhile(tree):
    async def stay_silent(port: int) -> float:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await challenge_from(reader)
        started = asyncio.get_running_loop().time()
        assert await closed(reader, HANDSHAKE_TIMEOUT_S + 3) == b""
        writer.close()
        return asyncio.get_running_loop().time() - started

    async def all_at_once() -> list[float]:
        silent = [asyncio.ensure_future(stay_silent(port)) for port in ports_of(tree).values() for _ in range(20)]
        await asyncio.sleep(0)
        for name in ("a", "b", "c"):
            await tree.node.call(name, Ping())
        return await asyncio.gather(*silent)

    before = {name: tree.ping(name).pid for name in ("a", "b", "c")}
    times = tree.run(all_at_once(), HANDSHAKE_TIMEOUT_S + 10)
    assert all(HANDSHAKE_TIMEOUT_S - 0.5 < each < HANDSHAKE_TIMEOUT_S + 2 for each in times)
    assert_unharmed(tree, before)


def test_what_is_announced_is_not_held_in_memory(tree):
    async def drip(port: int) -> None:
        """A hello in pieces that never ends: at most the largest hello is kept of it."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await challenge_from(reader)
        writer.write(HEADER.pack(1 << 30, Kind.HELLO))
        try:
            for _ in range(64):
                writer.write(bytes(1 << 20))
                await writer.drain()
        except ConnectionError:
            pass
        await closed(reader)
        writer.close()

    sizes = {process.pid: process.memory_info().rss for process in tree.processes}
    for port in ports_of(tree).values():
        tree.run(drip(port))
    for process in tree.processes:
        assert process.memory_info().rss - sizes[process.pid] < 16 << 20


def test_even_who_knows_the_cookie_cannot_announce_a_gigabyte(tree, settings):
    before = {name: tree.ping(name).pid for name in ("a", "b", "c")}
    for port in ports_of(tree).values():
        attack = HEADER.pack(1 << 30, Kind.BATCH) + bytes(4096)
        answer = tree.run(send(port, attack, membership.keys(node_cookie(settings))))
        assert answer[4] == Kind.WELCOME
    assert_unharmed(tree, before)
