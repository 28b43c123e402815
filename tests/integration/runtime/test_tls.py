"""Every port of a node with TLS takes its own people alone."""

from __future__ import annotations

import asyncio
import os
import signal
import ssl
import time
from pathlib import Path

import psutil
import pytest

from bitnexus.actors.runtime.frames import FrameDecoder, Kind, encode
from bitnexus.actors.runtime.handshake import NONCE_SIZE, Dialler, Keys
from bitnexus.config import Settings, authority, node_cookie, use
from bitnexus.config.certificates import TlsFiles
from bitnexus.errors import InvalidSettings
from tests.tree.actors import Ping, Pong
from tests.tree.running import Tree, running, supervisor, worker

PATIENCE_S = 10.0


@pytest.fixture(params=["uvloop", "asyncio"])
def loop_kind(request, monkeypatch):
    monkeypatch.setenv("BITNEXUS_LOOP", request.param)
    return request.param


@pytest.fixture
def files(tmp_path: Path) -> TlsFiles:
    return authority.issue(tmp_path / "tls", "node", hosts=["127.0.0.1"], days=1, as_node=True).files


@pytest.fixture
def secured(settings: Settings, files: TlsFiles) -> Settings:
    changed = {"node_tls_cert": files.cert, "node_tls_key": files.key, "node_tls_ca": files.ca}
    mine = settings.model_copy(update=changed)
    use(mine)
    return mine


def context(files: TlsFiles | None, ca: Path) -> ssl.SSLContext:
    made = ssl.create_default_context(cafile=ca)
    if files is not None:
        made.load_cert_chain(files.cert, files.key)
    return made


def ports_of(tree: Tree) -> dict[int, str]:
    """Every port on which a process of the tree listens, the launcher's own among them."""
    everybody = [psutil.Process(tree.launcher.admin_pid), psutil.Process(os.getpid())]
    everybody += everybody[0].children(recursive=True)
    found = {}
    for process in everybody:
        for connection in process.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN:
                found[connection.laddr.port] = process.name()
    return found


async def first_frames(port: int, tls: ssl.SSLContext | None, hello: Dialler | None = None) -> list[Kind]:
    """The kinds of frames that the port says to a stranger, who answers a CHALLENGE by a HELLO, until it hangs up."""
    kinds: list[Kind] = []
    decoder = FrameDecoder()
    writer = None
    try:
        async with asyncio.timeout(PATIENCE_S):
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", port, ssl=tls, server_hostname="127.0.0.1" if tls else None
            )
            if tls is None:
                writer.write(encode(Kind.HELLO, b"x" * 100) * 10)
            while chunk := await reader.read(65536):
                decoder.feed(chunk)
                while (frame := decoder.next_frame()) is not None:
                    kinds.append(frame[0])
                    if frame[0] is Kind.CHALLENGE and hello is not None:
                        writer.write(encode(Kind.HELLO, hello.receive_challenge(frame[1])))
                    elif frame[0] is Kind.CHALLENGE:
                        return kinds
    except (OSError, ssl.SSLError):
        pass
    finally:
        if writer is not None:
            writer.transport.abort()
            await asyncio.sleep(0)
    return kinds


def test_a_tree_talks_by_tls_and_every_port_of_it_refuses_strangers(
    loop_kind: str, secured: Settings, files: TlsFiles, journal: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    directory = journal.with_name("others")
    others = authority.issue(directory, "node", hosts=["127.0.0.1"], days=1, as_node=True).files
    ours = context(files, files.ca)
    with running(worker("a", journal), supervisor("sub", worker("b", journal))) as tree:
        assert tree.call("a", Ping(7)) == Pong(7, tree.pid("a"))
        ports = ports_of(tree)
        assert len(ports) == 7, ports  # launcher, admin, logger, root, a, sub, b
        for port, process in ports.items():
            where = f"{process} at {port}"
            assert tree.run(first_frames(port, None)) == [], where
            assert tree.run(first_frames(port, context(None, files.ca))) == [], where
            assert tree.run(first_frames(port, context(others, files.ca))) == [], where
            assert tree.run(first_frames(port, ours)) == [Kind.CHALLENGE], where
            wrong = Dialler(Keys.derive(b"not the cookie, alas"), b"n" * NONCE_SIZE)
            assert tree.run(first_frames(port, ours, wrong)) == [Kind.CHALLENGE], where
            at = f"127.0.0.1:{port}"
            posing = Dialler(Keys.derive(node_cookie(secured), b"guessed"), b"n" * NONCE_SIZE, at, at)
            assert tree.run(first_frames(port, ours, posing)) == [Kind.CHALLENGE], where
        assert tree.call("b", Ping(8)) == Pong(8, tree.pid("b"))
    told = capfd.readouterr().err
    assert "no TLS: " in told
    assert "wrong cookie" in told


def test_the_old_protocol_versions_of_tls_are_refused(secured: Settings, files: TlsFiles, journal: Path) -> None:
    old = context(files, files.ca)
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    with running(worker("a", journal)) as tree:
        info = tree.node.whereis("a")
        assert info is not None
        assert tree.run(first_frames(int(info.address.rpartition(":")[2]), old)) == []


def test_a_death_is_known_at_once_through_tls_too(loop_kind: str, secured: Settings, journal: Path) -> None:
    with running(worker("a", journal)) as tree:
        pid = tree.pid("a")
        tree.ping("a")
        down: list[float] = []
        tree.node.monitor("a", on_down=lambda _: down.append(time.monotonic()))
        killed_at = time.monotonic()
        os.kill(pid, signal.SIGKILL)
        tree.until(lambda: down, "a is down")
        assert down[0] - killed_at < 0.5
        tree.until_replaced("a", pid)
        assert tree.ping("a").pid != pid


def test_strangers_who_never_say_a_word_do_not_keep_anybody_out(
    secured: Settings, files: TlsFiles, journal: Path
) -> None:
    async def crowd(port: int) -> None:
        silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(100)]
        try:
            assert await first_frames(port, context(files, files.ca)) == [Kind.CHALLENGE]
        finally:
            for _, writer in silent:
                writer.close()

    with running(worker("a", journal)) as tree:
        info = tree.node.whereis("a")
        assert info is not None
        tree.run(crowd(int(info.address.rpartition(":")[2])))
        tree.ping("a")


def test_a_certificate_of_no_use_is_refused_before_anything_is_started(
    secured: Settings, tmp_path: Path, journal: Path
) -> None:
    other = authority.issue(tmp_path / "others", "node", hosts=["10.1.2.3"], days=1, as_node=True).files
    use(secured.model_copy(update={"node_tls_cert": other.cert}))
    with pytest.raises(InvalidSettings, match="BITNEXUS_NODE_TLS_KEY"), running(worker("a", journal)):
        pass
