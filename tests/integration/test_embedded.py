"""The embedded server starts, stops, and gets over every way in which it or its owner may end."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg
import pytest

from bitnexus.storage import server_account
from bitnexus.storage.embedded import DataDirectoryInUse, EmbeddedPostgres, EmbeddedServerError, borrow
from bitnexus.storage.running_process import RunningProcess

_PATIENCE_S = 20.0
_OWNER = """
import os, signal, sys
from bitnexus.storage.embedded import EmbeddedPostgres
server = EmbeddedPostgres(sys.argv[1])
server.start()
child = os.fork() if "fork" in sys.argv else None
if child != 0:
    print(server.pid, child, flush=True)
while True:
    signal.pause()
"""


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "data"


@contextmanager
def _owner(data_dir: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """A process that owns a server, and what it printed: the server's pid and that of its forked child, if any."""
    command = [sys.executable, "-c", _OWNER, str(data_dir), *options]
    root = str(Path(__file__).parents[2])
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": root}) as owner:
        assert owner.stdout is not None
        try:
            printed = owner.stdout.readline().split()
            assert printed, "the owner did not start its server"
            yield owner, printed
        finally:
            owner.kill()


def _processes_in(data_dir: Path) -> list[int]:
    """The processes whose working directory is the cluster: all of a server's are."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                directory = (entry / "cwd").readlink()
            except OSError:
                continue
            if directory == data_dir / "postgresql" / "18":
                found.append(int(entry.name))
    return found


def _state(server: EmbeddedPostgres) -> tuple[bool, bool, bool]:
    return server.alive(), server.healthy(), server.pid is not None


def _names_in(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def _sockets_in(directory: Path) -> list[Path]:
    return [path for path in directory.rglob("*") if stat.S_ISSOCK(path.lstat().st_mode)]


def _status(pid: int) -> str:
    return Path(f"/proc/{pid}/status").read_text()


def _ended(pid: int) -> bool:
    process = RunningProcess.hold(pid)
    if process is None:
        return True
    try:
        return process.wait(_PATIENCE_S)
    finally:
        process.close()


def _kill(pid: int) -> None:
    process = RunningProcess.hold(pid)
    assert process is not None
    process.signal(signal.SIGKILL)
    assert process.wait(_PATIENCE_S)
    process.close()


async def _query(url: str, statement: str) -> object:
    connection = await asyncpg.connect(url, timeout=10)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


async def test_a_server_runs_between_start_and_stop_and_leaves_nothing(data_dir: Path) -> None:
    server = EmbeddedPostgres(data_dir, durable=False)
    assert _state(server) == (False, False, False)
    url = server.start()
    assert _state(server) == (True, True, True)
    assert await _query(url, "SELECT current_user || '/' || current_database()") == "bitnexus/bitnexus"
    assert len(_sockets_in(data_dir)) == 1
    assert server.pid in _processes_in(data_dir)
    server.stop()
    server.stop()
    assert _state(server) == (False, False, False)
    assert _processes_in(data_dir) == []
    assert _sockets_in(data_dir) == []
    assert _names_in(data_dir) == ["postgresql", "postgresql.log"]


async def test_the_server_is_durable_private_and_not_on_the_network(data_dir: Path) -> None:
    expected = {
        "data_checksums": "on",
        "fsync": "on",
        "full_page_writes": "on",
        "listen_addresses": "",
        "max_connections": "100",
        "server_encoding": "UTF8",
        "synchronous_commit": "on",
        "is_superuser": "off",
    }
    with EmbeddedPostgres(data_dir) as server:
        connection = await asyncpg.connect(server.url)
        assert {name: await connection.fetchval(f"SHOW {name}") for name in expected} == expected
        await connection.close()
        for directory in (data_dir, data_dir / "postgresql", data_dir / "postgresql" / "run"):
            assert _mode(directory) == 0o700
        assert os.getsid(server.pid or 0) != os.getsid(0)  # Ctrl-C is for the terminal's session


async def test_after_the_owner_was_killed_the_next_start_stops_its_server_and_keeps_the_data(data_dir: Path) -> None:
    with _owner(data_dir) as (owner, (left_running, _)):
        with pytest.raises(DataDirectoryInUse) as refused:
            EmbeddedPostgres(data_dir).start()
        assert refused.value.pid == owner.pid
        url = refused.value.url or ""
        await _query(url, "CREATE TABLE kept AS SELECT 42 AS x")
        owner.kill()
        owner.wait(_PATIENCE_S)
        assert int(left_running) in _processes_in(data_dir)
        with EmbeddedPostgres(data_dir) as server:
            assert _ended(int(left_running))
            assert server.pid != int(left_running)
            assert await _query(server.url, "SELECT x FROM kept") == 42


async def test_after_owner_and_server_were_killed_the_next_start_recovers(data_dir: Path) -> None:
    with _owner(data_dir) as (owner, (server_pid, _)):
        owner.kill()
        owner.wait(_PATIENCE_S)
        _kill(int(server_pid))
        assert (data_dir / "postgresql" / "18" / "postmaster.pid").exists()
        with EmbeddedPostgres(data_dir) as server:
            assert await _query(server.url, "SELECT 1") == 1


async def test_a_backend_at_work_when_its_server_was_killed_ends_before_the_next_starts(data_dir: Path) -> None:
    server = EmbeddedPostgres(data_dir, durable=False)
    connection = await asyncpg.connect(server.start())
    backend = connection.get_server_pid()
    # Computes without ever waiting for anything, and so does not notice by itself that its server is gone.
    query = connection.execute("SELECT count(*) FROM generate_series(1, 100000) a, generate_series(1, 100000) b")
    task = asyncio.ensure_future(query)
    observer = await asyncpg.connect(server.url)
    async with asyncio.timeout(_PATIENCE_S):
        while await observer.fetchval("SELECT state FROM pg_stat_activity WHERE pid = $1", backend) != "active":
            pass
    _kill(server.pid or 0)
    connection._transport.abort()  # its client is killed, too
    with pytest.raises((OSError, asyncpg.PostgresError, asyncpg.InterfaceError)):
        await task
    observer.terminate()
    assert not server.alive()
    server.stop()
    assert backend in _processes_in(data_dir)
    with server:
        assert _ended(backend)
        assert await _query(server.url, "SELECT 1") == 1


@pytest.mark.parametrize("name", ["sleep", "postgres"])
def test_a_foreign_process_that_got_the_servers_pid_is_left_alone(data_dir: Path, name: str) -> None:
    with EmbeddedPostgres(data_dir, durable=False) as server:
        pid_file = data_dir / "postgresql" / "18" / "postmaster.pid"
        text = pid_file.read_text()
        lock_file = data_dir / "postgresql" / "run" / ".s.PGSQL.5432.lock"
        lock_text = lock_file.read_text()
    account = server_account.choose(pid_file.parent)
    with subprocess.Popen([name, "60"], executable="/bin/sleep", cwd="/", **account.popen_options()) as foreign:
        try:
            pid_file.write_text(f"{foreign.pid}\n{text.partition(chr(10))[2]}")
            lock_file.write_text(f"{foreign.pid}\n{lock_text.partition(chr(10))[2]}")
            for file in (pid_file, lock_file):
                os.chown(file, account.uid, account.gid)
            with server:
                assert server.healthy()
            assert foreign.poll() is None
        finally:
            foreign.kill()


@pytest.mark.parametrize("text", ["", "12", "not a pid\n"])
async def test_a_damaged_pid_file_does_not_hinder_a_start(data_dir: Path, text: str) -> None:
    with EmbeddedPostgres(data_dir, durable=False) as server:
        pass
    (data_dir / "postgresql" / "18" / "postmaster.pid").write_text(text)
    with server:
        assert await _query(server.url, "SELECT 1") == 1


def test_a_second_owner_is_refused_by_name_and_pid_and_harms_nothing(data_dir: Path) -> None:
    with EmbeddedPostgres(data_dir, durable=False) as server:
        second = EmbeddedPostgres(data_dir, durable=False)
        with pytest.raises(DataDirectoryInUse) as refused:
            second.start()
        assert str(data_dir) in refused.value.detail
        assert f"process {os.getpid()}" in refused.value.detail
        second.stop()
        assert server.healthy()
        with pytest.raises(EmbeddedServerError, match="started before"):
            server.start()
        assert server.healthy()


def test_a_child_of_a_killed_owner_does_not_keep_the_data_directory(data_dir: Path) -> None:
    with _owner(data_dir, "fork") as (owner, (_, child)):
        owner.kill()
        owner.wait(_PATIENCE_S)
        try:
            with EmbeddedPostgres(data_dir) as server:
                assert server.healthy()
        finally:
            _kill(int(child))


@pytest.mark.skipif(os.geteuid() != 0, reason="another account is used by root alone")
async def test_as_root_it_works_below_a_closed_directory_and_opens_nothing(data_dir: Path) -> None:
    closed = data_dir / "closed"
    closed.mkdir(parents=True)
    closed.chmod(0o700)

    def state() -> dict[Path, tuple[int, int, int]]:
        return {path: (s.st_mode, s.st_uid, s.st_gid) for path in closed.parents for s in [path.stat()]} | {
            closed: (closed.stat().st_mode, closed.stat().st_uid, closed.stat().st_gid)
        }

    before = state()
    with EmbeddedPostgres(closed / "data", durable=False) as server:
        assert await _query(server.url, "SELECT 1") == 1
        status = _status(server.pid or 0)
        assert "Uid:\t0\t" not in status
        assert "CapEff:\t0000000000000000" in status
        groups = next(line for line in status.splitlines() if line.startswith("Groups:"))
        assert groups.split()[1:] == []
        assert state() == before
    assert state() == before
    assert (closed / "data").stat().st_uid == 0


async def test_a_path_too_long_for_a_socket_is_served_by_a_short_one(data_dir: Path) -> None:
    long = data_dir / ("x" * 60) / ("y y" * 20)
    server = EmbeddedPostgres(long, durable=False)
    short = server.socket_directory.parent
    short.mkdir(mode=0o700)  # left over from a killed owner
    with server:
        assert len(os.fsencode(server.socket_directory)) < 90
        assert _mode(short) == 0o700
        assert await _query(server.url, "SELECT 1") == 1
    assert not short.exists()
    assert _sockets_in(data_dir) == []


def test_a_short_socket_directory_that_others_can_enter_is_refused(data_dir: Path) -> None:
    server = EmbeddedPostgres(data_dir / ("x" * 120), durable=False)
    short = server.socket_directory.parent
    short.mkdir()
    short.chmod(0o777)
    try:
        with pytest.raises(EmbeddedServerError, match="private"):
            server.start()
    finally:
        short.rmdir()


def test_a_start_that_fails_shows_the_servers_log_and_gives_the_directory_free(data_dir: Path) -> None:
    with EmbeddedPostgres(data_dir, durable=False) as server:
        pass
    control = data_dir / "postgresql" / "18" / "global" / "pg_control"
    control.rename(control.with_suffix(".away"))
    with pytest.raises(EmbeddedServerError, match=r"Its log says:\n.*could not find the database system"):
        server.start()
    control.with_suffix(".away").rename(control)
    with server:
        assert server.healthy()


def test_a_start_cut_short_while_the_cluster_was_made_is_repeated(data_dir: Path) -> None:
    half = data_dir / "postgresql" / "18.new"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")
    if os.geteuid() == 0:
        account = server_account.choose(half.with_name("18"))
        os.chown(half.parent, account.uid, account.gid)
    with EmbeddedPostgres(data_dir, durable=False) as server:
        assert server.healthy()
    assert not half.exists()


def test_a_directory_that_holds_something_else_is_not_touched(data_dir: Path) -> None:
    cluster = data_dir / "postgresql" / "18"
    cluster.mkdir(parents=True)
    (cluster / "letters").write_text("dear")
    with pytest.raises(EmbeddedServerError, match="neither empty nor a PostgreSQL cluster"):
        EmbeddedPostgres(data_dir, durable=False).start()
    assert (cluster / "letters").read_text() == "dear"


async def test_borrowing_uses_the_running_server_and_leaves_it_running(data_dir: Path) -> None:
    with EmbeddedPostgres(data_dir, durable=False) as server:
        with borrow(data_dir) as url:
            assert await _query(url, "SELECT 1") == 1
        assert server.healthy()


async def test_borrowing_starts_a_server_for_the_block_where_none_runs(data_dir: Path) -> None:
    with borrow(data_dir) as url:
        assert await _query(url, "SELECT 1") == 1
    assert _processes_in(data_dir) == []
