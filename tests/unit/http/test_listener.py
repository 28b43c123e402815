from __future__ import annotations

import asyncio
import socket

import pytest

from bitnexus.http import listener as listener_module
from bitnexus.http.listener import PortInUse, free_port, let_nobody_begin, listening_sockets


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
        free_port("127.0.0.1", port)


def test_a_port_is_free_again_when_its_listener_is_gone(listener):
    port = listener.getsockname()[1]
    with socket.create_connection(("127.0.0.1", port)):
        accepted, _ = listener.accept()
        accepted.close()  # this end closes first: TIME_WAIT stays here
    listener.close()
    assert free_port("127.0.0.1", port) == port


def test_for_port_0_all_fronts_get_the_same_free_port():
    port = free_port("127.0.0.1", 0)
    assert port > 0
    assert free_port("127.0.0.1", port) == port


def test_an_address_of_another_machine_is_no_port_in_use():
    with pytest.raises(OSError, match="assign") as caught:
        free_port("192.0.2.1", 4000)
    assert not isinstance(caught.value, PortInUse)


@pytest.mark.skipif(listener_module._kernel_migrates(), reason="the kernel does it by itself")
async def test_a_socket_that_leaves_the_shared_port_resets_nobody_and_its_clients_come_to_another():
    port = free_port("127.0.0.1", 0)
    (leaving,) = listening_sockets("127.0.0.1", port)
    leaving.listen()
    loop = asyncio.get_running_loop()
    early = socket.create_connection(("127.0.0.1", port))
    await let_nobody_begin([leaving])
    late = socket.socket()
    late.setblocking(False)  # noqa: FBT003 - as it is called
    coming = asyncio.ensure_future(loop.sock_connect(late, ("127.0.0.1", port)))
    accepted, _ = await loop.sock_accept(leaving)  # what had begun is there; nothing else is
    with pytest.raises(BlockingIOError):
        leaving.accept()
    (staying,) = listening_sockets("127.0.0.1", port)
    staying.listen()
    leaving.close()
    async with asyncio.timeout(10):
        successor, address = await loop.sock_accept(staying)
        await coming
    assert address == late.getsockname()
    for each in (early, late, accepted, successor, staying):
        each.close()


def test_sockets_are_made_for_every_address_of_the_host_or_none():
    with pytest.raises(OSError, match="assign"):
        listening_sockets("192.0.2.1", 4000)
