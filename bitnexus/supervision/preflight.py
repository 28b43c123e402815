"""What is checked before a tree is started: what would only fail in the forked processes is refused here."""

from __future__ import annotations

import importlib
import pickle
import socket
import time
from typing import Final

import structlog

from bitnexus.actors.runtime.process import Process
from bitnexus.config import certificates, get_settings
from bitnexus.errors import InvalidSettings
from bitnexus.supervision.spec import ChildSpec, ProcessStart, SpecError

#: A certificate that ends sooner is worth a warning at the start.
_CERTIFICATE_WARNING_S: Final = 14 * 86_400

log = structlog.get_logger("bitnexus.launcher")


def check(children: list[ChildSpec]) -> None:
    """Raises SpecError when the tree cannot be started; InvalidSettings for a taken port or certificates of no use."""
    _check_children(children)
    _check_tls()
    _check_node_port()


def _check_children(children: list[ChildSpec]) -> None:
    """Import what the tree needs before the fork, so that all share it. Raises SpecError for what cannot be started."""
    for child in children:
        start = child.start
        assert isinstance(start, ProcessStart)
        module, _, name = start.process.partition(":")
        process = getattr(importlib.import_module(module), name, None)
        if not (isinstance(process, type) and issubclass(process, Process)):
            raise SpecError("invalid_start", "process", start.process)
        try:
            pickle.dumps(dict(start.args))
        except Exception as error:  # whatever an argument's own code raises
            raise SpecError("invalid_start", "args", "cannot be pickled") from error
        _check_children(list(start.args.get("children", ())))  # type: ignore[call-overload]  # a supervisor's arguments


def _check_tls() -> None:
    """Refuse certificates that would fail at every connection; warn of those that soon will."""
    settings = get_settings()
    if settings.node_tls is None:
        return
    address = socket.gethostbyname(settings.node_host)  # an address, or localhost
    left_s = certificates.check(settings.node_tls, address=address).timestamp() - time.time()
    if left_s < _CERTIFICATE_WARNING_S:
        log.warning("node_certificate_ends_soon", days=round(left_s / 86_400, 1))


def _check_node_port() -> None:
    """The port where clients come in must be free; the root will listen there."""
    settings = get_settings()
    try:
        _bind(settings.node_host, settings.node_port)
    except OSError as error:
        raise InvalidSettings(
            f"Cannot listen on BITNEXUS_NODE_HOST:BITNEXUS_NODE_PORT {settings.node_host}:{settings.node_port}: "
            f"{error.strerror}."
        ) from error


def free_port() -> int:
    """For Thespian's admin, which must be given one."""
    return _bind(get_settings().node_host, 0)


def _bind(host: str, port: int) -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))
        bound: int = probe.getsockname()[1]
        return bound
