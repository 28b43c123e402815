from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitnexus.http.client_address import client_of, networks

PROXIES = networks("10.0.0.0/8, 192.0.2.7,2001:db8:ffff::/48")
STRANGER = "198.51.100.1"


@given(st.lists(st.text(max_size=60), max_size=5))
def test_a_stranger_is_not_believed_whatever_it_says(said):
    assert client_of(STRANGER, said, PROXIES) == STRANGER
    assert client_of("10.0.0.1", said, ()) == "10.0.0.1"


@given(st.lists(st.text(max_size=60), max_size=5))
def test_the_last_address_that_no_proxy_has_counts_whatever_stands_before(said):
    for last in ([STRANGER], [f"{STRANGER}, 10.1.1.1"], [STRANGER, "10.1.1.1,192.0.2.7"]):
        assert client_of("10.0.0.1", [*said, *last], PROXIES) == STRANGER


@pytest.mark.parametrize(
    ("said", "client"),
    [
        ([], "10.0.0.1"),
        ([""], "10.0.0.1"),
        (["unknown"], "10.0.0.1"),
        (["1.2.3.4, garbage, 10.2.2.2"], "10.2.2.2"),
        (["10.2.2.2"], "10.2.2.2"),
        (["::ffff:198.51.100.1"], STRANGER),
    ],
)
def test_what_a_proxy_passes_on_without_an_address_counts_for_the_proxy(said, client):
    assert client_of("10.0.0.1", said, PROXIES) == client


def test_an_ipv6_address_stands_for_its_subscribers_network():
    first, second = (client_of(f"2001:db8:1:2::{host}", (), ()) for host in ("1", "ffff"))
    assert first == second == "2001:db8:1:2::/64"
    assert client_of("2001:db8:1:3::1", (), ()) != first
    assert client_of("::ffff:198.51.100.1", (), ()) == STRANGER
    assert client_of("fe80::1%eth0", (), ()) == "fe80::/64"
    assert client_of(None, (), ()) == ""
