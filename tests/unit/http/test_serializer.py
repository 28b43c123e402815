from __future__ import annotations

import json

import pytest

from bitnexus.http.channels.binary import encode_broadcast, encode_push, encode_reply
from bitnexus.http.channels.broadcast import Broadcast
from bitnexus.http.channels.frame import BadFrame, Frame, NoBinary
from bitnexus.http.channels.serializer import SERIALIZERS, V1, V2

ONE, TWO = V1(), V2()


def test_a_join_of_the_npm_client_is_read():
    assert TWO.decode('["3","4","transaction:1","phx_join",{"a":1}]') == Frame(
        "3", "4", "transaction:1", "phx_join", {"a": 1}
    )


def test_refs_keep_their_json_type():
    assert TWO.decode('[1,null,"t","e",{}]') == Frame(1, None, "t", "e", {})
    assert TWO.encode(Frame(1, "1", "t", "e", {})) == '[1,"1","t","e",{}]'


def test_frames_are_compact_and_not_escaped_to_ascii():
    assert TWO.encode(Frame(None, None, "t", "é", {"ü": "ß"})) == '[null,null,"t","é",{"ü":"ß"}]'
    assert ONE.encode(Frame(None, None, "t", "é", {"ü": "ß"})) == (
        '{"topic":"t","event":"é","payload":{"ü":"ß"},"ref":null}'
    )


def test_a_broadcast_carries_its_payload_as_it_is_and_is_encoded_once_for_each_version():
    event = Broadcast('t"', "new_transaction", '{"amount":5}')
    assert json.loads(event.text(TWO)) == [None, None, 't"', "new_transaction", {"amount": 5}]
    assert json.loads(event.text(ONE)) == {
        "topic": 't"', "event": "new_transaction", "payload": {"amount": 5}, "ref": None
    }  # fmt: skip
    assert event.text(TWO) is event.text(TWO)
    assert event.text(ONE) is event.text(ONE)


def test_version_1_reads_objects_with_or_without_a_join_ref():
    text = '{"topic":"t","event":"phx_join","payload":{"a":1},"ref":"1"%s}'
    assert ONE.decode(text % "") == Frame(None, "1", "t", "phx_join", {"a": 1})
    assert ONE.decode(text % ',"join_ref":2,"more":0') == Frame(2, "1", "t", "phx_join", {"a": 1})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "[]",
        '["3","4","t","phx_join",{}]',
        '{"topic":"t","event":"e","payload":{}}',
        '{"topic":"t","event":"e","ref":"1"}',
        '{"topic":"t","payload":{},"ref":"1"}',
        '{"event":"e","payload":{},"ref":"1"}',
        '{"topic":1,"event":"e","payload":{},"ref":"1"}',
        '{"topic":"t","event":"e","payload":[],"ref":"1"}',
        '{"topic":"t","event":"e","payload":{},"ref":{}}',
        '{"topic":"t","topic":"t","event":"e","payload":{},"ref":"1"}',
    ],
)
def test_what_is_no_frame_of_version_1_is_refused(text):
    with pytest.raises(BadFrame):
        ONE.decode(text)


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
        f'[null,{"1" * 64},"t","e",{{}}]',
        f'[null,"{"x" * 64}","t","e",{{}}]',
        f'[null,null,"{"x" * 257}","e",{{}}]',
        f'[null,null,"t","{"x" * 129}",{{}}]',
        '[null,null,"t","e",{"a":NaN}]',
        '[null,null,"t","e",{"a":1,"a":2}]',
        '[null,null,"t","e",{"a":' + "[" * 50_000,
        "\ud800",
        '{"topic":"t","event":"e","payload":{},"ref":"1"}',
    ],
)
def test_what_is_no_frame_of_version_2_is_refused(text):
    with pytest.raises(BadFrame):
        TWO.decode(text)


def test_a_binary_push_is_read():
    data = b"\x00\x01\x02\x03\x04" + b"1" + b"22" + b"t:1" + b"send" + b"\x01\xff"
    assert TWO.decode(data) == Frame("1", "22", "t:1", "send", b"\x01\xff")


def test_empty_refs_of_a_binary_push_are_null_and_its_data_may_be_empty():
    assert TWO.decode(b"\x00\x00\x00\x01\x01te") == Frame(None, None, "t", "e", b"")


def test_lengths_of_binary_frames_are_bytes():
    assert TWO.decode(b"\x00\x00\x00\x02\x02" + "éü".encode()) == Frame(None, None, "é", "ü", b"")
    assert encode_broadcast("é", "ü", b"x") == b"\x02\x02\x02" + "éü".encode() + b"x"


def test_binary_frames_of_the_server_are_those_of_phoenix():
    assert TWO.encode(Frame("12", "12", "t:1", "news", b"\x00")) == b"\x00\x02\x03\x0412t:1news\x00"
    assert encode_push(None, "t", "e", b"") == b"\x00\x00\x01\x01te"
    assert TWO.encode_reply(1, "22", "t:1", "ok", b"\xff") == b"\x01\x01\x02\x03\x02122t:1ok\xff"
    assert encode_reply(None, None, "t", "error", b"") == b"\x01\x00\x00\x01\x05terror"
    assert encode_broadcast("t:1", "news", b"\x00") == b"\x02\x03\x0412t:1news\x00".replace(b"12", b"")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00",
        b"\x00\x00\x00\x00",
        b"\x01\x00\x00\x01\x01te",
        b"\x02\x01\x01te",
        b"\x03\x00\x00\x01\x01te",
        b"\x00\x00\x00\x01\x02te",
        b"\x00\xff\xff\xff\xff",
        b"\x00\x00\x00\x01\x01\xffe",
        b"\x00\x40\x00\x01\x01" + b"x" * 64 + b"te",
    ],
)
def test_what_is_no_binary_push_is_refused(data):
    with pytest.raises(BadFrame):
        TWO.decode(data)


def test_texts_that_do_not_fit_into_a_binary_frame_are_our_own_fault():
    with pytest.raises(ValueError, match="256 bytes do not fit"):
        encode_broadcast("x" * 256, "e", b"")


def test_version_1_has_no_binary_frames():
    with pytest.raises(NoBinary):
        ONE.decode(b"\x00\x00\x00\x01\x01te")
    with pytest.raises(NoBinary):
        ONE.encode(Frame(None, None, "t", "e", b""))
    with pytest.raises(NoBinary):
        ONE.encode_reply(None, None, "t", "ok", b"")


def test_surrogates_in_what_a_client_wants_echoed_are_escaped():
    frame = TWO.decode(r'["\ud800",1,"\udfff","e",{}]')
    text = TWO.encode(frame)
    assert isinstance(text, str)
    text.encode()
    TWO.encode_reply(frame.join_ref, 1, frame.topic, "ok", b"x")


def test_each_version_is_found_by_its_name():
    assert {name: serializer.version for name, serializer in SERIALIZERS.items()} == {
        "1.0.0": "1.0.0",
        "2.0.0": "2.0.0",
    }
