from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest

from bitnexus.http.channels import outbox, poll_session
from bitnexus.http.channels.client import Channels
from bitnexus.http.channels.hub import Hub
from bitnexus.http.channels.messages import Delivered, Polled
from bitnexus.http.channels.poll_session import MAX_POLLS, PollSession
from bitnexus.http.channels.serializer import V2
from bitnexus.principal import Principal

NO_NODE: Any = None
ANN = Principal("00000000-0000-4000-8000-000000000001", "user", 1e12)
BEAT = '[null,"%d","phoenix","heartbeat",{}]'


def answer(ref):
    return f'[null,"{ref}","phoenix","phx_reply",{{"status":"ok","response":{{}}}}]'


@pytest.fixture
async def make():
    """Sessions that join nothing: their hub is never asked."""
    made = []

    def session(*, window_s=10.0, pushes_per_s=1e6):
        hub = Hub(NO_NODE, "http-0", 1.0, asyncio.create_task, NO_NODE)
        ended: list[PollSession] = []
        channels = Channels(hub, pushes_per_s=pushes_per_s)
        made.append(PollSession("id", ANN, V2(), channels, window_s, ended.append))
        return made[-1], ended

    yield session
    for each in made:
        await each.close(1001, "the end")


async def test_what_waits_is_polled_at_once_and_once(make):
    session, _ = make(window_s=0.01)
    assert session.deliver([BEAT % 1, BEAT % 2]) == Delivered(200)
    assert await session.poll() == Polled(200, [answer(1), answer(2)])
    assert await session.poll() == Polled(204)


async def test_a_poll_waits_for_what_comes(make):
    session, _ = make()
    polling = asyncio.create_task(session.poll())
    await asyncio.sleep(0)
    assert session.is_polled
    session.deliver([BEAT % 1])
    assert await polling == Polled(200, [answer(1)])
    assert not session.is_polled


async def test_of_several_polls_the_newest_gets_what_comes_and_the_others_nothing(make):
    session, _ = make(window_s=0.2)
    older = asyncio.create_task(session.poll())
    await asyncio.sleep(0)
    newer = asyncio.create_task(session.poll())
    await asyncio.sleep(0)
    session.deliver([BEAT % 1])
    assert await newer == Polled(200, [answer(1)])
    assert await older == Polled(204)


async def test_only_so_many_polls_wait(make):
    session, _ = make(window_s=0.1)
    polls = [asyncio.create_task(session.poll()) for _ in range(MAX_POLLS)]
    await asyncio.sleep(0)
    assert await session.poll() == Polled(500)
    assert await asyncio.gather(*polls) == [Polled(204)] * MAX_POLLS


async def test_the_end_answers_the_polls_that_wait_and_is_told_once(make):
    session, ended = make()
    polling = asyncio.create_task(session.poll())
    await asyncio.sleep(0)
    await session.close(1001, "disconnected")
    assert await polling == Polled(410)
    assert await session.poll() == Polled(410)
    assert session.deliver([BEAT % 1]) == Delivered(410)
    await session.close(1012, "restart")
    assert ended == [session]


async def test_a_session_for_which_nobody_polls_ends_and_one_that_is_polled_does_not(make):
    session, ended = make(window_s=0.05)
    for _ in range(4):
        assert await session.poll() == Polled(204)
    assert not ended
    deadline = time.monotonic() + 10
    while not ended:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
    assert await session.poll() == Polled(410)


async def test_a_session_whose_queue_is_full_ends_and_drops_nothing_silently(make, monkeypatch):
    monkeypatch.setattr(outbox, "MAX_MESSAGES", 3)
    session, ended = make()
    assert session.deliver([BEAT % number for number in range(3)]) == Delivered(200)
    assert session.deliver([BEAT % 3]) == Delivered(410)
    assert ended == [session]
    assert await session.poll() == Polled(410)


@pytest.mark.parametrize("message", ["", "{}", b"", b"\x01"])
async def test_what_is_no_frame_ends_the_session(make, message):
    session, ended = make()
    assert session.deliver([BEAT % 1, message, BEAT % 2]) == Delivered(400)
    assert ended == [session]


async def test_too_many_messages_end_the_session(make):
    session, ended = make(pushes_per_s=0.4)  # two at once, then one in 2.5 s
    assert session.deliver([BEAT % 1, BEAT % 2]) == Delivered(200)
    assert session.deliver([BEAT % 3]) == Delivered(429)
    assert ended == [session]


async def test_binary_messages_are_polled_in_base64(make):
    session, _ = make()
    session.send(b"\x00\xff")
    assert (await session.poll()).messages == ["AP8="]


async def test_any_message_survives_the_answer(make):
    session, _ = make()
    session.deliver([json.dumps([None, "\ud800ü", "phoenix", "heartbeat", {}])])
    (message,) = (await session.poll()).messages
    message.encode()
    assert json.loads(message)[1] == "\ud800ü"


def test_patience_is_longer_than_a_window():
    assert poll_session.PATIENCE > 1


async def test_there_is_room_when_a_poll_has_taken_what_waits_and_at_last_without(make):
    session, _ = make()
    await session.room()
    session.deliver([BEAT % 1])
    waiting = asyncio.create_task(session.room())
    await asyncio.sleep(0)
    assert not waiting.done()
    await session.poll()
    await asyncio.wait_for(waiting, 5)
    slow, _ = make(window_s=0.01)
    slow.deliver([BEAT % 1])
    await asyncio.wait_for(slow.room(), 5)
