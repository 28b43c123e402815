"""The pid file's process is the server only if everything says so."""

from __future__ import annotations

from typing import Any

import pytest

from bitnexus.storage import postmaster
from bitnexus.storage.postmaster import PidFile, ProcessFacts

_TEXT = "4711\n/proc/self/cwd\n1795389639\n5432\n../run\n\n 16040742         5\nready   \n"
_MARK = "--cluster_name=bitnexus-1"


def _is_server(**changes) -> bool:
    facts: dict[str, Any] = {
        "uid": 999,
        "arguments": ("/opt/pg/bin/postgres", "-D", "/proc/self/cwd", _MARK),
        "started_at_s": 1_000.4,
        "directory": "/data/18",
    }
    recorded = PidFile(4711, 1_000)
    return postmaster.is_server_of(
        ProcessFacts(**(facts | changes)), recorded, uid=999, directory="/data/18", mark=_MARK
    )


def test_the_pid_file_of_a_running_server_is_read() -> None:
    assert postmaster.parse_pid_file(_TEXT) == PidFile(4711, 1795389639)


def test_the_negative_pid_of_a_stand_alone_backend_is_read() -> None:
    assert postmaster.parse_pid_file("-" + _TEXT) == PidFile(4711, 1795389639)


@pytest.mark.parametrize(
    "text", ["", "\n", "4711", "4711\n/data\n", "x\n/data\n1\n", "4711\n/data\n\n", "0\n/data\n1\n"]
)
def test_a_damaged_pid_file_says_nothing(text: str) -> None:
    assert postmaster.parse_pid_file(text) is None


def test_disowning_changes_the_pid_alone() -> None:
    lines = postmaster.disown(_TEXT).splitlines(keepends=True)
    assert lines[1:] == _TEXT.splitlines(keepends=True)[1:]
    assert int(lines[0]) > 2**22  # the kernel's upper bound of pids


def test_the_server_is_recognised_by_its_directory() -> None:
    assert _is_server()


def test_the_server_is_recognised_by_its_start_where_its_directory_cannot_be_seen() -> None:
    assert _is_server(directory=None)
    assert _is_server(directory=None, started_at_s=999.0)


def test_a_clock_that_was_set_does_not_matter_where_the_directory_can_be_seen() -> None:
    assert _is_server(started_at_s=99_999.0)


@pytest.mark.parametrize(
    "changes",
    [
        {"uid": 0},
        {"arguments": ()},
        {"arguments": ("sleep", _MARK)},
        {"arguments": ("/usr/bin/postgres", "-D", "/proc/self/cwd", "--cluster_name=bitnexus-2")},
        {"directory": "/other/18"},
        {"directory": None, "started_at_s": 1_010.0},
    ],
)
def test_a_process_that_differs_in_anything_is_not_the_server(changes: dict) -> None:
    assert not _is_server(**changes)


def test_the_start_is_found_behind_a_name_with_brackets_and_spaces() -> None:
    fields = " ".join(str(number) for number in range(4, 53))
    assert postmaster.parse_start_ticks(f"1 (a) b (c)) S {fields}") == 22


def test_boot_time_and_uid_are_found() -> None:
    assert postmaster.parse_boot_time("cpu 1 2\nbtime 1700000000\nprocesses 1\n") == 1_700_000_000
    assert postmaster.parse_uid("Name:\tx\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\n") == 2
