from __future__ import annotations

import socket

import pytest

from bitnexus.http.listener import PortInUse, check_port_free


@pytest.fixture
def listener():
    with socket.socket() as found:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # both, as the fronts do
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        found.bind(("127.0.0.1", 0))
        found.listen()
        yield found


def test_a_port_somebody_listens_on_is_told_even_if_it_could_be_shared(listener):
    port = listener.getsockname()[1]
    with pytest.raises(PortInUse, match=f"port {port} on 127.0.0.1 is in use"):
        check_port_free("127.0.0.1", port)


def test_a_port_is_free_again_when_its_listener_is_gone(listener):
    port = listener.getsockname()[1]
    with socket.create_connection(("127.0.0.1", port)):
        accepted, _ = listener.accept()
        accepted.close()  # this end closes first: TIME_WAIT stays here
    listener.close()
    check_port_free("127.0.0.1", port)


def test_any_port_is_free():
    check_port_free("127.0.0.1", 0)


def test_an_address_of_another_machine_is_no_port_in_use():
    with pytest.raises(OSError, match="assign") as caught:
        check_port_free("192.0.2.1", 4000)
    assert not isinstance(caught.value, PortInUse)
