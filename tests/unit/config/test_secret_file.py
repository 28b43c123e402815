import multiprocessing
import os

import pytest

from bitnexus.config.secret_file import UnsafeSecretFileError, read_or_create


def _make(path, barrier, answers):
    barrier.wait(timeout=30)
    answers.put(read_or_create(path))


def test_processes_that_start_at_once_agree_on_one_secret(tmp_path):
    context = multiprocessing.get_context("spawn")
    barrier, answers = context.Barrier(4), context.Queue()
    processes = [context.Process(target=_make, args=(tmp_path / "deep" / "cookie", barrier, answers)) for _ in range(4)]
    for process in processes:
        process.start()
    secrets = {answers.get(timeout=30) for _ in processes}
    for process in processes:
        process.join(timeout=30)
    answers.close()
    assert len(secrets) == 1
    assert [file.name for file in (tmp_path / "deep").iterdir()] == ["cookie"]


@pytest.mark.parametrize("mode", [0o604, 0o620, 0o640, 0o644, 0o666, 0o777])
def test_a_file_open_to_others_is_refused_and_left_alone(tmp_path, mode):
    path = tmp_path / "cookie"
    path.write_text("c" * 64)
    path.chmod(mode)
    with pytest.raises(UnsafeSecretFileError, match=f"{mode:04o}") as caught:
        read_or_create(path)
    assert "c" * 64 not in str(caught.value)
    assert path.stat().st_mode & 0o777 == mode


@pytest.mark.parametrize("content", [b"", b"short\n", b"x" * 5000, b"\xff" * 64])
def test_a_file_that_holds_no_secret_is_refused(tmp_path, content):
    path = tmp_path / "cookie"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(UnsafeSecretFileError, match="cookie"):
        read_or_create(path)


def test_a_secret_made_by_hand_is_taken_without_its_line_feed(tmp_path):
    path = tmp_path / "cookie"
    path.write_text("made by hand, long enough for everybody\n")
    path.chmod(0o400)
    assert read_or_create(path) == "made by hand, long enough for everybody"


def test_a_directory_or_a_fifo_in_its_place_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "fifo", 0o600)
    (tmp_path / "directory").mkdir()
    for name in ("fifo", "directory"):
        with pytest.raises(UnsafeSecretFileError, match=name):
            read_or_create(tmp_path / name)


def test_a_directory_that_cannot_be_made_is_a_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UnsafeSecretFileError, match="cannot be used: Not a directory"):
        read_or_create(tmp_path / "file" / "cookie")
