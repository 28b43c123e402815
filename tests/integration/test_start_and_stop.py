"""run.py from its start to its end: what the operator sees, and what is left behind."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.running import STOP_PROMISED_S, RunningService, accepts_connections, wait_until

#: How long the processes of a killed run.py may live on.
ORPHANS_S = 5.0


@pytest.fixture
def service(tmp_path: Path) -> Iterator[RunningService]:
    with RunningService(new_directory(tmp_path, "service"), {"BITNEXUS_PROFILE": "test"}) as service:
        yield service


def new_directory(parent: Path, name: str) -> Path:
    directory = parent / name
    directory.mkdir()
    return directory


def assert_nothing_is_left(service: RunningService) -> None:
    assert service.processes() == []
    assert not accepts_connections(service.port)
    assert not (service.data_dir / "postgresql.lock").exists()
    assert list((service.data_dir / "postgresql" / "run").iterdir()) == []


@pytest.mark.parametrize("how", ["sigterm", "ctrl_c"])
def test_it_prints_its_address_and_a_signal_stops_everything_in_order(service: RunningService, how: str):
    service.start()
    assert f"ready at {service.address} " in service.output()
    assert accepts_connections(service.port)
    assert {"ledger", "notifier", "transactions-0", "http-0", "postgresql"} <= set(service.names().values())
    signalled_at = time.monotonic()
    if how == "sigterm":
        service.process.terminate()
    else:
        service.interrupt()
    assert service.wait() == 0
    assert time.monotonic() - signalled_at < STOP_PROMISED_S
    assert_nothing_is_left(service)
    assert "Traceback" not in service.last_lines()


def test_a_signal_during_the_start_stops_everything_too(service: RunningService):
    service.launch()
    wait_until((service.data_dir / "postgresql").exists, 10, service.last_lines)
    service.process.terminate()
    assert service.wait() == 0, service.last_lines()
    assert service.processes() == []
    assert not (service.data_dir / "postgresql.lock").exists()


def test_when_run_py_is_killed_the_tree_ends_with_it_and_the_next_start_works(service: RunningService):
    service.start()
    service.process.kill()
    service.wait()

    def only_the_server_is_left() -> bool:
        return set(service.names().values()) <= {"postgresql"}

    wait_until(only_the_server_is_left, ORPHANS_S, lambda: f"left after {ORPHANS_S} s: {service.names()}")
    assert not accepts_connections(service.port)
    service.start()
    service.process.terminate()
    assert service.wait() == 0
    assert_nothing_is_left(service)


def test_a_port_in_use_is_one_clear_line(service: RunningService):
    with socket.create_server(("127.0.0.1", service.port)):
        service.launch()
        assert service.wait() == 1
    assert_one_complaint(service, f"Port {service.port}")
    assert service.processes() == []


def test_a_data_directory_in_use_is_one_clear_line(service: RunningService, tmp_path: Path):
    service.start()
    with RunningService(new_directory(tmp_path, "other"), {"BITNEXUS_DATA_DIR": str(service.data_dir)}) as other:
        other.launch()
        assert other.wait() == 1
        assert_one_complaint(other, str(service.data_dir))
    assert accepts_connections(service.port)
    service.process.send_signal(signal.SIGTERM)
    assert service.wait() == 0


@pytest.mark.parametrize(
    ("variable", "value"),
    [("PORT", "seventy"), ("BITNEXUS_PROFILE", "prod"), ("DATABASE_URL", "mysql://localhost/bank")],
)
def test_a_wrong_setting_is_one_clear_line(tmp_path: Path, variable: str, value: str):
    with RunningService(tmp_path, {variable: value}) as service:
        service.launch()
        assert service.wait() == 1
        assert_one_complaint(service, "SECRET_KEY_BASE" if value == "prod" else variable)
        assert service.processes() == []


def assert_one_complaint(service: RunningService, about: str) -> None:
    complaints = [line for line in service.last_lines().splitlines() if not line.startswith("{")]
    assert len(complaints) == 1, service.last_lines()
    assert about in complaints[0]
    assert "ready at" not in service.output()
