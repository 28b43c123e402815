from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitnexus.http.channels.serializer import BadFrame, Frame, decode, encode, encode_broadcast


def test_a_join_of_the_npm_client_is_read():
    assert decode('["3","4","transaction:1","phx_join",{"a":1}]') == Frame(
        "3", "4", "transaction:1", "phx_join", {"a": 1}
    )


def test_refs_keep_their_json_type():
    assert decode('[1,null,"t","e",{}]') == Frame(1, None, "t", "e", {})
    assert encode(Frame(1, "1", "t", "e", {})) == '[1,"1","t","e",{}]'


def test_frames_are_compact_and_not_escaped_to_ascii():
    assert encode(Frame(None, None, "t", "é", {"ü": "ß"})) == '[null,null,"t","é",{"ü":"ß"}]'


def test_a_broadcast_carries_its_payload_as_it_is():
    text = encode_broadcast('t"', "new_transaction", '{"amount":5}')
    assert json.loads(text) == [None, None, 't"', "new_transaction", {"amount": 5}]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "{}",
        "[]",
        "[null,null,null,null,null]",
        '[null,null,"t","e"]',
        '[null,null,"t","e",{},1]',
        '[null,null,"t","e",[]]',
        '[null,null,"t","e",null]',
        '[null,null,5,"e",{}]',
        '[null,null,"t",5,{}]',
        '[{},null,"t","e",{}]',
        '[null,true,"t","e",{}]',
        '[null,1.5,"t","e",{}]',
        f'[null,"{"x" * 65}","t","e",{{}}]',
        f'[null,null,"{"x" * 257}","e",{{}}]',
        f'[null,null,"t","{"x" * 129}",{{}}]',
        '[null,null,"t","e",{"a":NaN}]',
        '[null,null,"t","e",{"a":1,"a":2}]',
        '[null,null,"t","e",{"a":' + "[" * 50_000,
        "\ud800",
    ],
)
def test_what_is_no_frame_is_refused(text):
    with pytest.raises(BadFrame):
        decode(text)


refs = st.none() | st.integers(-(10**30), 10**30) | st.text(max_size=64)


@given(refs, refs, st.text(max_size=50), st.text(max_size=50))
def test_what_was_read_is_written_back_the_same(join_ref, ref, topic, event):
    frame = Frame(join_ref, ref, topic, event, {})
    assert decode(encode(frame)) == frame


def test_surrogates_in_what_a_client_wants_echoed_are_escaped():
    frame = decode(r'["\ud800",1,"\udfff","e",{}]')
    encode(frame).encode()
