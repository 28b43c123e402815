"""The port that all fronts share."""

from __future__ import annotations

import errno
import socket


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
