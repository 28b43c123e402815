"""Connections over real sockets: two of ours joined, or one of ours against a peer that the test plays by hand."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

import pytest

from bitnexus.actors.runtime import connection as module
from bitnexus.actors.runtime import introduction, lanes, wire
from bitnexus.actors.runtime.connection import Connection
from bitnexus.actors.runtime.frames import FrameDecoder, Kind, encode
from bitnexus.actors.runtime.handshake import NONCE_SIZE, Keys, Listener
from bitnexus.actors.runtime.message import Done, Message
from bitnexus.errors import Forbidden, Overloaded
from bitnexus.principal import Principal

COOKIE = b"c" * 32
SECRET = b"s" * 32


class Text(Message, frozen=True, tag="test.Text/1"):
    text: str


class Owner:
    """An endpoint that writes down what its connections report."""

    frame_limit = 1 << 20
    is_brief = False

    def __init__(self, name: str, cookie: bytes = COOKIE) -> None:
        self.keys = Keys.derive(cookie, SECRET)
        self.token = ""
        self.instance = name.encode().ljust(8, b".")
        self.address = f"{name}:1"
        self.readable = True
        self.is_established = False
        self.envelopes: list[bytes] = []
        self.batches: list[list[wire.Item]] = []
        self.closed_because: list[str] = []

    def established(self, connection: Connection) -> None:
        self.is_established = True

    def complete(self, token: str) -> str:
        raise Forbidden

    def admit(self, token: str) -> Principal:
        raise Forbidden

    def envelope_received(self, connection: Connection, body: bytes) -> bool:
        self.envelopes.append(body)
        return self.readable

    def items_received(self, connection: Connection, items: list[wire.Item]) -> None:
        self.batches.append(items)

    def closed(self, connection: Connection, reason: str) -> None:
        self.closed_because.append(reason)


def ignore(_: str) -> None:
    """A delivery nobody waits for."""


async def until(condition: Callable[[], object], what: str = "the condition") -> None:
    deadline = asyncio.get_running_loop().time() + 5
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, f"{what} did not come true"
        await asyncio.sleep(0)


_opened: list[Callable[[], object]] = []


@pytest.fixture(autouse=True)
async def all_is_closed_after_the_test():
    yield
    while _opened:
        _opened.pop()()
    for _ in range(3):  # an aborted transport closes its socket in a later turn
        await asyncio.sleep(0)


def socket_pair() -> tuple[socket.socket, socket.socket]:
    """Ours and theirs, closed after the test."""
    ours, theirs = socket.socketpair()
    _opened.append(theirs.close)
    return ours, theirs


async def attach(owner: Owner, end: socket.socket, *, dialled: bool) -> Connection:
    loop = asyncio.get_running_loop()
    connection = Connection(owner, loop, dialled=dialled)
    _opened.append(lambda: connection.close("the test ends"))
    if dialled:
        await loop.create_connection(lambda: connection, sock=end)
    else:
        await loop.connect_accepted_socket(lambda: connection, sock=end)
    return connection


class Pair:
    """Two connections with a socket pair between them."""

    def __init__(self, cookie: bytes = COOKIE) -> None:
        self.a, self.b = Owner("a"), Owner("b", cookie)

    async def join(self) -> Pair:
        one, two = socket.socketpair()  # each is closed by its connection
        self.from_a = await attach(self.a, one, dialled=True)
        self.from_b = await attach(self.b, two, dialled=False)
        return self


class Peer:
    """The other end of one connection of ours, played by the test: it says what it wants, when it wants."""

    def __init__(self) -> None:
        self.owner = Owner("a")
        self.frames: list[tuple[Kind, bytes]] = []
        self._decoder = FrameDecoder()

    async def meet(self) -> Peer:
        ours, mine = socket_pair()
        mine.setblocking(False)  # noqa: FBT003 - its only argument
        self._end = mine
        self.connection = await attach(self.owner, ours, dialled=True)
        listener = Listener(Keys.derive(COOKIE, SECRET), b"n" * NONCE_SIZE, b"instance")
        await self.say(Kind.CHALLENGE, listener.challenge())
        await self.hear(1)
        listener.receive_hello(self.frames.pop()[1])
        self._decoder.establish()
        await self.say(Kind.WELCOME, listener.welcome())
        await until(lambda: self.owner.is_established)
        return self

    async def say(self, kind: Kind, body: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self._end, encode(kind, body))

    async def say_at_once(self, *frames: tuple[Kind, bytes]) -> None:
        said = b"".join(encode(kind, body) for kind, body in frames)
        await asyncio.get_running_loop().sock_sendall(self._end, said)

    async def acknowledge(self, count: int, kind: Kind = Kind.ACK) -> None:
        await self.say(kind, count.to_bytes(8, "big"))

    async def hear(self, count: int) -> list[tuple[Kind, bytes]]:
        """Wait until `count` frames have come in all."""
        loop = asyncio.get_running_loop()
        while len(self.frames) < count:
            self._decoder.feed(await asyncio.wait_for(loop.sock_recv(self._end, 1 << 16), 5))
            while (frame := self._decoder.next_frame()) is not None:
                self.frames.append(frame)
        return self.frames

    async def heard_nothing_more(self) -> bool:
        """Whether our end has nothing to read after it had every chance to send."""
        for _ in range(10):
            await asyncio.sleep(0)
        try:
            return not self._end.recv(1 << 16)
        except BlockingIOError:
            return True

    def hang_up(self) -> None:
        self._end.close()


def texts(batches: list[list[wire.Item]]) -> list[str]:
    found = []
    for batch in batches:
        for item in batch:
            assert isinstance(item, wire.Cast)
            message = wire.decode_message(item.body)
            assert isinstance(message, Text)
            found.append(message.text)
    return found


def note(text: str) -> bytes:
    return wire.encode_cast("", Text(text))


# -- the handshake ------------------------------------------------------------------------------------------------


async def test_both_ends_are_established_and_know_each_other():
    pair = await Pair().join()
    await until(lambda: pair.a.is_established and pair.b.is_established)
    assert pair.from_a.peer_instance == pair.b.instance
    assert pair.from_b.peer_address == pair.a.address


async def test_another_cookie_closes_both_ends_and_delivers_nothing():
    pair = Pair(cookie=b"x" * 32)
    outcomes: list[str] = []
    await pair.join()
    pair.from_a.send_envelope(b"secret", outcomes.append)
    pair.from_a.post(note("secret"))
    await until(lambda: pair.from_a.is_closed and pair.from_b.is_closed)
    assert not pair.a.is_established
    assert not pair.b.is_established
    assert pair.b.closed_because == ["wrong cookie, or no process of this node"]
    assert (pair.b.envelopes, pair.b.batches, outcomes) == ([], [], ["dead"])


async def test_a_peer_that_stays_silent_is_closed(monkeypatch):
    monkeypatch.setattr(introduction, "HANDSHAKE_TIMEOUT_S", 0.01)
    ours, _ = socket_pair()
    owner = Owner("a")
    await attach(owner, ours, dialled=False)
    await until(lambda: owner.closed_because == ["no handshake in time"])


async def test_who_answered_while_we_were_busy_is_not_turned_away(monkeypatch):
    monkeypatch.setattr(introduction, "HANDSHAKE_TIMEOUT_S", 0.0)  # over before the first byte is read
    pair = await Pair().join()
    await until(lambda: pair.b.is_established)


async def test_a_dialler_that_means_another_process_closes():
    pair = Pair()
    await pair.join()
    pair.from_a.expected_instance = b"somebody"
    await until(lambda: pair.from_a.is_closed)
    assert pair.a.closed_because == ["another process listens there now"]


# -- sending ------------------------------------------------------------------------------------------------------


async def test_what_is_posted_before_the_handshake_is_sent_after_it():
    pair = Pair()
    outcomes: list[str] = []
    await pair.join()
    pair.from_a.send_envelope(b"envelope", outcomes.append)
    pair.from_a.post(note("item"))
    assert pair.b.envelopes == []
    await until(lambda: texts(pair.b.batches) == ["item"])
    assert pair.b.envelopes == [b"envelope"]
    await until(lambda: outcomes == ["sent"])


async def test_items_of_one_turn_leave_as_one_batch_in_order():
    pair = await Pair().join()
    await until(lambda: pair.a.is_established)
    for number in range(100):
        pair.from_a.post(note(str(number)))
    await until(lambda: pair.b.batches)
    assert len(pair.b.batches) == 1
    assert texts(pair.b.batches) == [str(number) for number in range(100)]


async def test_a_message_that_cannot_be_read_is_rejected_and_the_next_is_not():
    pair = await Pair().join()
    outcomes: list[tuple[str, str]] = []
    pair.b.readable = False
    pair.from_a.send_envelope(b"bad", lambda outcome: outcomes.append(("bad", outcome)))
    await until(lambda: outcomes)
    pair.b.readable = True
    pair.from_a.send_envelope(b"good", lambda outcome: outcomes.append(("good", outcome)))
    await until(lambda: len(outcomes) == 2)
    assert outcomes == [("bad", "rejected"), ("good", "sent")]


async def test_no_more_frames_than_the_window_are_unacknowledged():
    peer = await Peer().meet()
    for number in range(lanes.WINDOW_FRAMES + 3):
        peer.connection.send_envelope(b"%d" % number, ignore)
    await peer.hear(lanes.WINDOW_FRAMES)
    assert await peer.heard_nothing_more()
    assert peer.connection.unsent == lanes.WINDOW_FRAMES + 3
    await peer.acknowledge(2)
    assert [body for _, body in await peer.hear(lanes.WINDOW_FRAMES + 2)][-1] == b"5"
    assert await peer.heard_nothing_more()


async def test_no_more_bytes_than_the_window_are_unacknowledged(monkeypatch):
    monkeypatch.setattr(lanes, "WINDOW_BYTES", 100)
    peer = await Peer().meet()
    for _ in range(3):
        peer.connection.send_envelope(b"x" * 99, ignore)
    await peer.hear(2)
    assert await peer.heard_nothing_more()
    await peer.acknowledge(1)
    await peer.hear(3)


async def test_what_waits_for_the_window_leaves_together():
    peer = await Peer().meet()
    for _ in range(lanes.WINDOW_FRAMES):
        peer.connection.post(note(""))
        await asyncio.sleep(0)  # turns of the loop of their own
    await peer.hear(lanes.WINDOW_FRAMES)
    for number in range(50):
        peer.connection.post(note(str(number)))
        await asyncio.sleep(0)
    await peer.acknowledge(1)
    kind, body = (await peer.hear(lanes.WINDOW_FRAMES + 1))[-1]
    assert kind is Kind.BATCH
    assert len(wire.split(body)) == 50


async def test_control_and_envelopes_pass_by_a_window_that_the_application_has_filled():
    peer = await Peer().meet()
    for number in range(lanes.WINDOW_FRAMES + 5):
        peer.connection.post(note(str(number)))
        await asyncio.sleep(0)
    await peer.hear(lanes.WINDOW_FRAMES)
    assert await peer.heard_nothing_more()
    peer.connection.post_control(note("stop"))
    peer.connection.send_envelope(b"exit", ignore)
    frames = await peer.hear(lanes.WINDOW_FRAMES + 2)
    assert [kind for kind, _ in frames[-2:]] == [Kind.CONTROL, Kind.ENVELOPE]
    assert texts([wire.split(frames[-2][1])]) == ["stop"]


async def test_control_is_accepted_when_the_application_is_refused(monkeypatch):
    monkeypatch.setattr(lanes, "MAX_QUEUED_ITEMS", 2)
    monkeypatch.setattr(lanes, "MAX_CONTROL_ITEMS", 3)
    pair = await Pair().join()
    for _ in range(2):
        pair.from_a.post(note("application"))
    with pytest.raises(Overloaded):
        pair.from_a.post(note("one more"))
    for _ in range(3):
        pair.from_a.post_control(note("control"))
    with pytest.raises(Overloaded):  # this lane has a bound, too
        pair.from_a.post_control(note("control"))
    await until(lambda: len(texts(pair.b.batches)) == 5)
    assert texts(pair.b.batches) == ["control"] * 3 + ["application"] * 2


async def test_of_what_was_read_at_once_control_is_taken_first():
    peer = await Peer().meet()
    batch, control = wire.join([note("application")]), wire.join([note("control")])
    await peer.say_at_once((Kind.BATCH, batch), (Kind.BATCH, batch), (Kind.CONTROL, control))
    await until(lambda: len(peer.owner.batches) == 3)
    assert texts(peer.owner.batches) == ["control", "application", "application"]
    assert (await peer.hear(1))[-1] == (Kind.ACK, (3).to_bytes(8, "big"))


async def test_a_full_socket_holds_batches_back_and_lets_control_go_first():
    peer = await Peer().meet()
    peer.connection.pause_writing()
    peer.connection.post(note("application"))
    assert await peer.heard_nothing_more()
    peer.connection.post_control(note("control"))
    peer.connection.resume_writing()
    assert [kind for kind, _ in await peer.hear(2)] == [Kind.CONTROL, Kind.BATCH]


async def test_a_peer_that_is_asked_for_a_sign_of_life_gives_one():
    pair = await Pair().join()
    await until(lambda: pair.a.is_established and pair.b.is_established)
    pair.from_a.heard = False
    pair.from_a.ping()
    await until(lambda: pair.from_a.heard, "the sign of life")


async def test_a_batch_is_bounded_in_items_and_bytes(monkeypatch):
    monkeypatch.setattr(lanes, "MAX_BATCH_ITEMS", 10)
    monkeypatch.setattr(lanes, "MAX_BATCH_BYTES", 200)
    pair = await Pair().join()
    for number in range(35):
        pair.from_a.post(note(str(number)))
    pair.from_a.post(note("x" * 150))
    pair.from_a.post(note("x" * 150))
    await until(lambda: len(texts(pair.b.batches)) == 37)
    assert [len(batch) for batch in pair.b.batches] == [10, 10, 10, 5, 1, 1]


async def test_an_acknowledgement_is_the_delivery():
    peer = await Peer().meet()
    outcomes: list[str] = []
    peer.connection.send_envelope(b"one", outcomes.append)
    await peer.hear(1)
    assert outcomes == []
    await peer.acknowledge(1)
    await until(lambda: outcomes == ["sent"])


@pytest.mark.parametrize("count", [2, 2**63])
async def test_an_acknowledgement_of_what_was_not_sent_closes_the_connection(count):
    peer = await Peer().meet()
    peer.connection.send_envelope(b"one", ignore)
    await peer.hear(1)
    await peer.acknowledge(count)
    await until(lambda: peer.owner.closed_because == ["acknowledgement of what was not sent"])


async def test_an_envelope_is_acknowledged_at_once():
    peer = await Peer().meet()
    await peer.say(Kind.ENVELOPE, b"one")
    assert (await peer.hear(1))[0][0] is Kind.ACK


async def test_who_runs_its_loop_for_single_answers_acknowledges_one_with_the_next_question():
    peer = Peer()
    peer.owner.is_brief = True
    await peer.meet()
    await peer.say(Kind.ENVELOPE, b"an answer")
    await until(lambda: peer.owner.envelopes == [b"an answer"])
    peer.connection.send_envelope(b"a question", ignore)
    assert [kind for kind, _ in await peer.hear(2)] == [Kind.ACK, Kind.ENVELOPE]


async def test_who_runs_its_loop_for_single_answers_acknowledges_what_comes_without_a_question_all_the_same():
    peer = Peer()
    peer.owner.is_brief = True
    await peer.meet()
    await peer.say(Kind.ENVELOPE, b"an answer")
    assert (await peer.hear(1))[0] == (Kind.ACK, (1).to_bytes(8, "big"))


async def test_an_acknowledgement_cannot_be_taken_back():
    peer = await Peer().meet()
    for _ in range(2):
        peer.connection.send_envelope(b"", ignore)
    await peer.acknowledge(2)
    await peer.acknowledge(1)
    await until(lambda: peer.owner.closed_because)


@pytest.mark.parametrize("body", [b"", b"\0" * 7, b"\0" * 9, b"\0" * 4096])
async def test_an_acknowledgement_of_another_size_closes_the_connection(body):
    peer = await Peer().meet()
    await peer.say(Kind.ACK, body)
    await until(lambda: peer.owner.closed_because)


async def test_a_batch_that_is_none_closes_the_connection():
    peer = await Peer().meet()
    await peer.say(Kind.BATCH, b"\xc1")
    await until(lambda: peer.owner.closed_because)
    assert peer.owner.closed_because[0].startswith("malformed batch")
    assert peer.owner.batches == []


# -- bounds -------------------------------------------------------------------------------------------------------


async def test_a_message_over_the_bound_is_refused_before_any_effect():
    pair = await Pair().join()
    with pytest.raises(Overloaded):
        pair.from_a.post(b"x" * (wire.MAX_MESSAGE_BYTES + 1))
    pair.from_a.post(note("after"))
    await until(lambda: texts(pair.b.batches) == ["after"])


async def test_too_many_waiting_items_are_refused_and_accepted_again_later(monkeypatch):
    monkeypatch.setattr(lanes, "MAX_QUEUED_ITEMS", 3)
    pair = await Pair().join()
    for number in range(3):
        pair.from_a.post(note(str(number)))
    with pytest.raises(Overloaded):
        pair.from_a.post(note("too many"))
    await until(lambda: pair.b.batches)
    pair.from_a.post(note("3"))
    await until(lambda: texts(pair.b.batches) == ["0", "1", "2", "3"])


async def test_too_many_waiting_bytes_are_refused(monkeypatch):
    monkeypatch.setattr(lanes, "MAX_QUEUED_BYTES", 100)
    pair = await Pair().join()
    pair.from_a.post(note("x" * 50))
    with pytest.raises(Overloaded):
        pair.from_a.post(note("x" * 50))


async def test_too_many_waiting_envelopes_are_dead(monkeypatch):
    monkeypatch.setattr(module, "MAX_QUEUED_ENVELOPES", 1)
    ours, _ = socket_pair()
    connection = await attach(Owner("a"), ours, dialled=True)
    outcomes: list[str] = []
    connection.send_envelope(b"1", lambda outcome: outcomes.append(f"1 {outcome}"))
    connection.send_envelope(b"2", lambda outcome: outcomes.append(f"2 {outcome}"))
    assert outcomes == ["2 dead"]


# -- the end ------------------------------------------------------------------------------------------------------


async def test_a_close_fails_what_was_in_flight_and_what_waited_once():
    peer = await Peer().meet()
    outcomes: list[str] = []
    for _ in range(lanes.WINDOW_FRAMES + 5):
        peer.connection.send_envelope(b"", outcomes.append)
    peer.hang_up()
    await until(lambda: peer.connection.is_closed)
    assert outcomes == ["dead"] * (lanes.WINDOW_FRAMES + 5)
    peer.connection.close("again")
    assert len(peer.owner.closed_because) == 1
    assert len(outcomes) == lanes.WINDOW_FRAMES + 5


async def test_after_the_close_envelopes_are_dead_and_items_vanish():
    peer = await Peer().meet()
    peer.connection.close("the test says so")
    outcomes: list[str] = []
    peer.connection.send_envelope(b"", outcomes.append)
    peer.connection.post(wire.encode_cast("", Done()))
    assert outcomes == ["dead"]
    assert peer.connection.unsent == 0


async def test_a_delivery_may_send_again_while_the_connection_closes():
    peer = await Peer().meet()
    outcomes: list[str] = []

    def once_more(outcome: str) -> None:
        outcomes.append(outcome)
        if len(outcomes) < 3:
            peer.connection.send_envelope(b"", once_more)

    peer.connection.send_envelope(b"", once_more)
    await peer.hear(1)
    peer.connection.close("the test says so")
    assert outcomes == ["dead"] * 3


async def test_a_connection_that_is_closed_while_it_is_dialled_closes_its_socket():
    ours, theirs = socket_pair()
    loop = asyncio.get_running_loop()
    owner = Owner("a")
    connection = Connection(owner, loop, dialled=True)
    connection.close("given up")
    await loop.create_connection(lambda: connection, sock=ours)
    theirs.settimeout(5)
    assert theirs.recv(1) == b""
    assert owner.closed_because == ["given up"]
