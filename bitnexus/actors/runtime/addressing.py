"""Thespian's addresses on this node's network: "host:port" of a listening process, and what a new process must know."""

from __future__ import annotations

import os
import socket
from typing import Any, Final

from thespian.actors import ActorAddress
from thespian.system.messages.convention import CONV_ADDR_IPV4_CAPABILITY
from thespian.system.transport.IPBase import TCPv4ActorAddress

from bitnexus.config import get_settings

DEFAULT_ADMIN_PORT: Final = 1900
#: The capability that ties an admin to the life of the process that started it; Thespian's own outlive theirs.
ENDS_WITH_STARTER: Final = "BitNexus Ends With Starter"


class Endpoint:
    """Handed to a new process: who it is and whom it belongs to (Thespian calls this an endpoint)."""

    def __init__(
        self,
        instance_number: int | None,
        address: ActorAddress | None,
        parent: ActorAddress,
        admin: ActorAddress,
        *,
        ends_with_starter: bool,
    ) -> None:
        self.addrInst = instance_number
        self.assigned = address
        self.parent = parent
        self.admin = admin
        self.creator_pid = os.getpid()
        self.ends_with_starter = ends_with_starter  # an admin that belongs to the process which started it


class ExternalCopy:
    """Makes a transport of its own for another thread of an outside process."""


class Addressing:
    """The part of a Thespian transport that makes and reads addresses."""

    @staticmethod
    def getAddressFromString(spec: Any, adminRouting: bool = False) -> ActorAddress:
        """A Thespian address from (host, port) or "host:port"; no host means this node's."""
        host, port = spec if isinstance(spec, tuple) else [*spec.split(":"), DEFAULT_ADMIN_PORT][:2]
        return ActorAddress(TCPv4ActorAddress(host or get_settings().node_host, int(port), external=True))

    @classmethod
    def getConventionAddress(cls, capabilities: dict[str, Any]) -> list[ActorAddress] | None:
        """Addresses of the convention's leaders, if any."""
        spec = capabilities.get(CONV_ADDR_IPV4_CAPABILITY)
        if not spec:
            return None
        return [cls.getAddressFromString(each) for each in (spec if isinstance(spec, list) else [spec])]

    @classmethod
    def getAdminAddr(cls, capabilities: dict[str, Any]) -> ActorAddress:
        """Where the admin of an actor system with these capabilities listens."""
        return cls.getAddressFromString(("", capabilities.get("Admin Port", DEFAULT_ADMIN_PORT)))

    @staticmethod
    def probeAdmin(address: ActorAddress) -> bool:
        """Whether somebody listens where the admin would."""
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((get_settings().node_host, address.addressDetails.sockname[1]))
            except OSError:
                return True
            return False

    @staticmethod
    def address_behind(address: ActorAddress) -> str:
        """The "host:port" behind a Thespian address."""
        host, port = address.addressDetails.sockname[:2]
        if address.addressDetails.isLocalAddr():
            host = get_settings().node_host
        return f"{host}:{port}"
