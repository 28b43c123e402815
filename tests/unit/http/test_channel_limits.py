from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitnexus.errors import BadRequest, PayloadTooLarge
from bitnexus.http.channels import outbox
from bitnexus.http.channels.outbox import Full, Outbox
from bitnexus.http.channels.poll_body import MAX_BATCH, messages_of
from bitnexus.http.channels.rate import BURST_S, Flooding, Rate


def test_a_burst_is_taken_and_then_so_many_a_second():
    rate = Rate(10.0, 0.0)
    for _ in range(int(10 * BURST_S)):
        rate.take(0.0)
    with pytest.raises(Flooding):
        rate.take(0.05)
    rate.take(0.11)
    with pytest.raises(Flooding):
        rate.take(0.12)


@given(st.lists(st.floats(0, 5), max_size=200))
def test_never_more_than_the_burst_and_the_rate_allow(pauses):
    rate, now, taken = Rate(10.0, 0.0), 0.0, 0
    for pause in pauses:
        now += pause
        try:
            rate.take(now)
        except Flooding:
            continue
        taken += 1
        assert taken <= 10 * BURST_S + 10 * now + 0.001


@given(st.lists(st.text(max_size=30) | st.binary(max_size=30) | st.none(), max_size=80))
def test_an_outbox_gives_back_what_was_put_in_order_and_never_holds_more_than_its_bound(steps):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(outbox, "MAX_MESSAGES", 7)
        patch.setattr(outbox, "MAX_SIZE", 60)
        box = Outbox()
        model: list[str | bytes] = []
        for step in steps:
            if step is None:
                if model:
                    assert box.pop() == model.pop(0)
                continue
            fits = len(model) < 7 and sum(len(message) for message in model) + len(step) <= 60
            if fits:
                box.put(step)
                model.append(step)
            else:
                with pytest.raises(Full):
                    box.put(step)
        assert len(box) == len(model)
        assert box.take() == model
        assert not box


def test_a_batch_has_one_message_a_line():
    assert messages_of(b'["a"]\nAAE=\r\n{"b":1}\n', batched=True) == ['["a"]', b"\x00\x01", '{"b":1}']
    assert messages_of(b"", batched=True) == []
    assert messages_of(b'["a"]\n', batched=False) == ['["a"]\n']


def test_a_batch_has_only_so_many_messages():
    assert len(messages_of(b"[]\n" * MAX_BATCH, batched=True)) == MAX_BATCH
    with pytest.raises(BadRequest):
        messages_of(b"[]\n" * (MAX_BATCH + 1), batched=True)


@given(st.binary(max_size=200), st.booleans())
def test_any_body_is_messages_or_a_bad_request(body, batched):
    try:
        messages = messages_of(body, batched=batched)
    except (BadRequest, PayloadTooLarge):
        return
    assert sum(map(len, messages)) <= len(body)
