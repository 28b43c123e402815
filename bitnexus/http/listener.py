"""The port that all fronts share, and how one of them leaves it without turning away a client.

The kernel gives each connection to the socket of one front, and when that is closed resets what it had not accepted
yet, also what it had only begun to greet: the client sees a reset although other fronts are there. So a front first
lets no new one begin at its socket; such a client asks again, as it would for any lost packet (after a second), and
comes to another front. What has begun it accepts, and then closes.

With the kernel's net.ipv4.tcp_migrate_req all of this is its own work: it moves them to the other fronts.
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import socket
import struct
import sys
from pathlib import Path
from typing import Final

#: How long a connection that has begun may take to be there: the way to the client and back.
GREETING_S: Final = 0.05
_MIGRATES: Final = Path("/proc/sys/net/ipv4/tcp_migrate_req")
#: From <linux/socket.h>; Python's socket does not name it.
_SO_ATTACH_FILTER: Final = 26
#: (code, jump if true, jump if false, value) of a classic BPF program: the flags of the TCP header, and of those SYN
#: and ACK; a SYN alone is dropped, all else is kept.
_DROP_SYN: Final = ((0x30, 0, 0, 13), (0x54, 0, 0, 0x12), (0x15, 0, 1, 0x02), (0x06, 0, 0, 0), (0x06, 0, 0, 0xFFFFFFFF))


class PortInUse(OSError):
    """Another program listens on the address that the fronts are to share."""


def free_port(host: str, port: int) -> int:
    """The port for the fronts: `port`, on which nobody listens, or for 0 one that the kernel chose.

    The fronts share their port by SO_REUSEPORT, with which the kernel lets strangers of the same user join in silently:
    so whoever starts the fronts asks once, before the first of them, without that option.
    And each of them would choose another port for 0.

    Raises:
        PortInUse: somebody listens there.
        OSError: the address is not this machine's, or the port needs privileges.
    """
    for family, kind, protocol, _, address in socket.getaddrinfo(
        host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    ):
        with socket.socket(family, kind, protocol) as probe:
            # Connections that linger in TIME_WAIT after an earlier run do not count as somebody.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            try:
                probe.bind((address[0], port, *address[2:]))
                probe.listen(1)
                port = probe.getsockname()[1]  # the same for all addresses of the host
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
                message = f"port {port} on {host} is in use by another program; set PORT to a free one"
                raise PortInUse(errno.EADDRINUSE, message) from error
    return port


def listening_sockets(host: str, port: int) -> list[socket.socket]:
    """Sockets bound to the port at each of the host's addresses, to be listened at. Raises OSError."""
    # Both options: the port is shared with the other fronts, and free at once after a restart.
    bound: list[socket.socket] = []
    try:
        for family, kind, protocol, _, address in socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        ):
            made = socket.socket(family, kind, protocol)
            bound.append(made)
            made.setblocking(False)  # noqa: FBT003 - as it is called
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if family == socket.AF_INET6:
                made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            made.bind(address)
    except OSError:
        for made in bound:
            made.close()
        raise
    return bound


async def let_nobody_begin(listening: list[socket.socket]) -> None:
    """From now on no connection begins at these; returns when those that have begun are accepted."""
    if sys.platform != "linux" or _kernel_migrates():
        return  # elsewhere there is no such filter: what is not accepted yet is reset
    for each in listening:
        _drop_syn(each)
    # Twice: between the two the loop has looked at its sockets, however late it was.
    for _ in range(2):
        await asyncio.sleep(GREETING_S / 2)


def _kernel_migrates() -> bool:
    try:
        return _MIGRATES.read_text().strip() == "1"
    except OSError:  # one before 5.14, or without /proc
        return False


def _drop_syn(listening: socket.socket) -> None:
    program = b"".join(struct.pack("HBBI", *instruction) for instruction in _DROP_SYN)
    held = ctypes.create_string_buffer(program, len(program))  # the kernel copies it
    listening.setsockopt(
        socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HP", len(_DROP_SYN), ctypes.addressof(held))
    )
