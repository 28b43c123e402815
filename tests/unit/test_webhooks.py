from __future__ import annotations

import base64
import runpy
import socket
from pathlib import Path

import pytest

from bitnexus.config import Settings
from bitnexus.webhooks.addresses import complaint, is_public
from bitnexus.webhooks.policy import LONGEST_DELAY_S, Attempt, Policy, Standing, after, delay_s, judge
from bitnexus.webhooks.sender import NotAllowed, PublicResolver, Sender
from bitnexus.webhooks.signing import Secrets, headers

ROOT = Path(__file__).parent.parent.parent
POLICY = Policy(max_attempts=3, give_up_s=100)


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (200, "delivered"),
        (204, "delivered"),
        (410, "gone"),
        (None, "unavailable"),
        (503, "unavailable"),
        (429, "unavailable"),
        (301, "refused"),
        (400, "refused"),
        (404, "refused"),
        (500, "refused"),
    ],
)
def test_an_answer_is_taken_for_what_it_says_of_the_event_or_of_the_receiver(status, verdict):
    assert judge(Attempt(status)) == verdict


def test_an_event_that_is_refused_again_and_again_is_given_up_and_the_next_one_begins_anew():
    standing = Standing()
    for _ in range(2):
        step, standing = after(Attempt(500), standing, POLICY, 0)
        assert step == "again"
    assert after(Attempt(500), standing, POLICY, 0) == ("dead", Standing())


def test_a_receiver_that_is_down_loses_nothing_for_as_long_as_was_promised():
    standing = Standing()
    for now in range(100):
        step, standing = after(Attempt(None), standing, POLICY, now)
        assert step == "again"
    step, standing = after(Attempt(None), standing, POLICY, 100)
    assert step == "dead"
    assert after(Attempt(None), standing, POLICY, 101)[0] == "dead"  # it is still down
    assert after(Attempt(200), standing, POLICY, 101) == ("on", Standing())


def test_waiting_grows_to_a_ceiling_and_hears_what_the_receiver_asks_for():
    waits = [delay_s(Standing(attempts), Attempt(503), 0) for attempts in range(1, 1000)]
    assert waits[:4] == [1, 2, 4, 8]
    assert waits == sorted(waits)
    assert waits[-1] == LONGEST_DELAY_S
    assert delay_s(Standing(1), Attempt(503), 1) == 0.5
    assert delay_s(Standing(1), Attempt(429, retry_after_s=30), 0.5) == 30
    assert delay_s(Standing(1), Attempt(429, retry_after_s=1e9), 0.5) == LONGEST_DELAY_S


def test_a_signature_is_that_of_the_specification():
    # The example of Standard Webhooks' own libraries.
    key = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    signed = headers([key], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert signed["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_the_example_of_a_receiver_takes_what_was_signed_and_nothing_else():
    example = runpy.run_path(str(ROOT / "examples" / "webhook_receiver.py"))
    verified, refused = example["verified"], example["Refused"]
    secrets, body = Secrets("service"), b'{"seq":1}'
    keys = [secrets.key("id", bytes(32)), secrets.key("id", b"x" * 32)]
    signed = headers(keys, "evt_1", 1_000_000, body)
    for salt in (bytes(32), b"x" * 32):
        assert verified(secrets.shown("id", salt), signed, body, 1_000_010) == {"seq": 1}
    own = secrets.shown("id", bytes(32))
    for given, changed, now in (
        (signed, b'{"seq":2}', 1_000_000),
        (signed, body, 1_000_301),
        (signed, body, 999_699),
        ({**signed, "webhook-id": "evt_2"}, body, 1_000_000),
        ({**signed, "webhook-timestamp": "1000001"}, body, 1_000_000),
        ({**signed, "webhook-signature": "v1,"}, body, 1_000_000),
        ({}, body, 1_000_000),
    ):
        with pytest.raises(refused):
            verified(own, given, changed, now)
    with pytest.raises(refused):
        verified(secrets.shown("id", b"y" * 32), signed, body, 1_000_000)


def test_secrets_differ_by_service_endpoint_and_salt():
    ids, salts = ("a", "b"), (bytes(32), b"x" * 32)
    made = {Secrets(base).key(id_, salt) for base in ("one", "two") for id_ in ids for salt in salts}
    assert len(made) == 8


def test_the_secret_from_before_the_service_got_another_one_is_good_as_well():
    before, now = Secrets("old"), Secrets("new", ["old"])
    assert now.keys("id", [bytes(32)]) == [now.key("id", bytes(32)), before.key("id", bytes(32))]
    assert now.key("id", bytes(32)) == Secrets("new").key("id", bytes(32))


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "0.0.0.0",
        "100.64.0.1",
        "224.0.0.1",
        "::1",
        "::",
        "fe80::1%eth0",
        "fc00::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "255.255.255.255",
        "no address",
    ],
)
def test_what_is_not_public_is_known(address):
    assert not is_public(address)


@pytest.mark.parametrize("address", ["1.1.1.1", "8.8.8.8", "2606:4700:4700::1111", "::ffff:8.8.8.8"])
def test_what_is_public_is_known(address):
    assert is_public(address)


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/",
        "https://127.0.0.1/",
        "https://[::1]/",
        "https://localhost/",
        "https://x.localhost/",
        "https://10.1.2.3:8443/x",
        "https://[::ffff:10.0.0.1]/",
    ],
)
def test_where_webhooks_must_not_lead_in_production_is_refused_beforehand(url):
    assert complaint(url, may_be_private=False)
    assert complaint(url, may_be_private=True) is None


@pytest.mark.parametrize(
    "url",
    [
        "",
        "x",
        "ftp://example.com/",
        "https://",
        "https://a:b@example.com/",
        "https://example.com/#x",
        "https://example.com:0/",
        "https://example.com:99999/",
        "https://exa mple.com/",
        "https://example.com/" + "x" * 2000,
    ],
)
def test_what_is_no_address_is_refused_everywhere(url):
    assert complaint(url, may_be_private=True)


def test_private_addresses_are_refused_in_production_unless_it_is_set(tmp_path):
    def may(**given):
        return Settings(data_dir=tmp_path, **given).webhooks_may_be_private

    prod = {"profile": "prod", "secret_key_base": "0123456789abcdef" * 8}
    assert not may(**prod)
    assert may(**prod, webhook_private=True)
    assert may(profile="dev")
    assert not may(profile="dev", webhook_private=False)


async def test_a_name_that_leads_to_this_host_is_not_connected_to():
    resolver = PublicResolver()
    with pytest.raises(NotAllowed):
        await resolver.resolve("localhost", 80, socket.AF_UNSPEC)
    sender = Sender(may_be_private=False, limit=1)
    try:
        for host in ("localhost", "127.0.0.1", "[::1]", "2130706433", "127.1", "0x7f.1"):
            attempt = await sender.send(f"https://{host}:9/", [b"key"], "evt_1", b"{}")
            assert attempt.status is None, host
            assert "private" in attempt.error or "canonical" in attempt.error, (host, attempt)
    finally:
        await sender.close()
