"""An exported ledger verifies anywhere, by nothing but the file; whatever is done to a line is found and named."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import random
import re
import subprocess
import sys
from bisect import bisect_right
from collections.abc import Iterable
from pathlib import Path

import asyncpg
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bitnexus.actors.ledger.audit import Verified, Wrong
from bitnexus.actors.ledger.checkpoint import Signer, Verifier
from bitnexus.actors.ledger.export import export_lines
from bitnexus.actors.ledger.export_audit import verify_lines
from bitnexus.actors.ledger.export_lines import MAX_LINE_BYTES, Unreadable
from bitnexus.actors.ledger.verification import verify
from bitnexus.cli._compressed import created, lines_of
from tests.integration.ledger_harness import between, running
from tests.integration.test_ledger_verify import fill

SIGNER = Signer("bitnexus.test/ledger", bytes(range(32)))
ROOT = Path(__file__).parents[2]


async def exported(url: str, checkpoint: str | None = None) -> list[bytes]:
    """The lines of the ledger in this database."""
    db = await asyncpg.connect(url)
    try:
        key = None if checkpoint is None else SIGNER.verifier.text
        async with db.transaction(isolation="repeatable_read", readonly=True):
            pieces = [piece async for piece in export_lines(db, key=key, checkpoint=checkpoint)]
    finally:
        await db.close()
    return b"".join(pieces).splitlines(keepends=True)


@pytest.fixture(scope="module")
def export_of_everything(postgres, template_database) -> list[bytes]:
    """A ledger with something of everything, signed somewhere in its middle."""

    async def make() -> list[bytes]:
        admin = await asyncpg.connect(postgres.url)
        await admin.execute(f"CREATE DATABASE everything TEMPLATE {template_database}")
        url = postgres.url_of("everything")
        await fill(url)
        db = await asyncpg.connect(url)
        size, root = await db.fetchrow("SELECT tree_size, tree_root FROM ledger_blocks WHERE height = 8")
        await db.close()
        lines = await exported(url, SIGNER.sign(size, root))
        await admin.execute("DROP DATABASE everything WITH (FORCE)")
        await admin.close()
        return lines

    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        return runner.run(make())


def complaint(lines: Iterable[bytes], **options) -> str:
    with pytest.raises(Wrong) as wrong:
        verify_lines(lines, **options)
    return str(wrong.value)


def named(text: str) -> tuple[int, int]:
    """The first and the last line that a complaint names."""
    found = re.match(r"lines? (\d+)(?: to (\d+))?", text)
    assert found, text
    return int(found[1]), int(found[2] or found[1])


def check(original: list[bytes], altered: list[bytes]) -> str:
    """The complaint about the altered lines must name the first that is another, or its block."""
    assert altered != original
    text = complaint(altered)
    same = (number for number, pair in enumerate(zip(original, altered, strict=False), 1) if pair[0] != pair[1])
    first = next(same, min(len(original), len(altered)) + 1)
    if first == 1:
        return text  # what it says of all others can only be compared where they are
    starts = [number for number, line in enumerate(original, 1) if not line.startswith(EVENT)]
    begin = starts[bisect_right(starts, first) - 1]
    end = next((start for start in starts if start > first), len(original) + 1)
    low, high = named(text)
    assert begin <= low <= high <= end + 1, (first, begin, end, text)
    return text


EVENT = (b'{"type":"account"', b'{"type":"change"', b'{"type":"transfer"', b'{"type":"annotation"')
ANY_TWO = st.tuples(st.integers(0, 10**6), st.integers(0, 10**6))


def test_an_export_verifies_and_tells_what_was_in_order(export_of_everything):
    found, verifier = verify_lines(export_of_everything, trusted=SIGNER.verifier)
    assert verifier is not None
    assert verifier.text == SIGNER.verifier.text
    start, end = json.loads(export_of_everything[0]), json.loads(export_of_everything[-1])
    assert (found.blocks, found.events) == (start["blocks"], start["events"])
    assert found.accounts == end["accounts"]
    assert 0 < found.signed < found.events
    types = [json.loads(line)["type"] for line in export_of_everything]
    assert set(types) == {"export", "block", "account", "change", "transfer", "annotation", "totals", "end"}
    assert end["lines"] == len(types) - 1


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(places=ANY_TWO, chance=st.randoms(use_true_random=False))
def test_a_changed_byte_of_any_line_is_found_and_named(export_of_everything, places, chance: random.Random):
    altered = list(export_of_everything)
    at = places[0] % len(altered)
    line = bytearray(altered[at])
    byte = places[1] % len(line)
    line[byte] = chance.choice([other for other in b'0123456789abcdefXYZ", :}\n' if other != line[byte]])
    altered[at] = bytes(line)
    # A line break in its middle makes two lines of one.
    check(export_of_everything, b"".join(altered).splitlines(keepends=True))


@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, 10**6), chance=st.randoms(use_true_random=False))
def test_a_changed_field_of_any_line_is_found_and_named(export_of_everything, place, chance: random.Random):
    """Well-formed, in the one form, and all the same not true."""
    altered = list(export_of_everything)
    at = place % len(altered)
    fields = json.loads(altered[at])
    other = json.loads(chance.choice([line for line in altered if json.loads(line)["type"] == fields["type"]]))
    name = chance.choice([name for name in fields if name != "type"])
    if isinstance(fields[name], int):
        fields[name] += chance.choice([-1, 1, 1000])
    elif other.get(name) not in {None, fields[name]}:
        fields[name] = other[name]
    elif isinstance(fields[name], str):
        fields[name] = fields[name][::-1] + "x"
    altered[at] = json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"
    check(export_of_everything, altered)


@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    places=ANY_TWO, act=st.sampled_from(["delete", "repeat", "insert", "swap", "swap neighbours", "cut", "cut bytes"])
)
def test_a_line_deleted_inserted_swapped_or_cut_is_found_and_named(export_of_everything, places, act):
    altered = list(export_of_everything)
    at, other = (place % len(altered) for place in places)
    if act == "delete":
        del altered[at]
    elif act == "repeat":
        altered.insert(at, altered[at])
    elif act == "insert":
        altered.insert(at, altered[other])
    elif act == "swap":
        altered[at], altered[other] = altered[other], altered[at]
    elif act == "swap neighbours":
        altered[at - 1], altered[at] = altered[at], altered[at - 1]
    elif act == "cut":
        del altered[at:]
    else:
        altered = b"".join(altered)[: places[0] % sum(map(len, altered))].splitlines(keepends=True)
    if altered != export_of_everything:
        check(export_of_everything, altered)


def test_a_history_that_was_written_anew_is_found_by_the_checkpoint_alone(export_of_everything, fresh_database_url):
    """Everything in it fits: only that another tree was signed tells."""

    async def make() -> list[bytes]:
        await fill(fresh_database_url)
        return await exported(fresh_database_url)

    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        anew = runner.run(make())
    assert verify_lines(anew)[0].signed == 0
    note = json.loads(export_of_everything[0])["checkpoint"]
    assert "signed" in complaint(anew, trusted=SIGNER.verifier, notes=[note])
    assert "no key" in complaint(anew, notes=[note])


def test_a_file_signed_by_another_key_than_the_known_one_is_refused(export_of_everything):
    known = Verifier("bitnexus.test/ledger", bytes(32))
    assert "line 1: it was signed by another key" in complaint(export_of_everything, trusted=known)
    start = json.loads(export_of_everything[0])
    start["checkpoint"] = Signer("bitnexus.test/ledger", bytes(32)).sign(10, bytes(32))
    forged = [json.dumps(start, separators=(",", ":"), ensure_ascii=False).encode() + b"\n", *export_of_everything[1:]]
    assert "line 1: " in complaint(forged)


def test_a_newer_version_of_the_format_is_named_and_not_guessed_at(export_of_everything):
    start = json.loads(export_of_everything[0]) | {"version": 2, "more": True}
    assert "version 2" in complaint([json.dumps(start).encode() + b"\n", *export_of_everything[1:]])
    assert "not an exported ledger" in complaint([b"id,amount\n"])
    assert "line 1 is missing" in complaint([])


async def test_an_empty_ledger_is_exported_and_verifies(fresh_database_url):
    lines = await exported(fresh_database_url)
    assert len(lines) == 2
    assert verify_lines(lines)[0].events == 0


async def test_an_export_of_a_ledger_at_work_is_of_one_moment(fresh_database_url):
    async with running(fresh_database_url, max_block=20) as ledger:
        accounts = await ledger.funded(5)
        stop = asyncio.Event()

        async def customer(number: int) -> None:
            chance = random.Random(number)
            while not stop.is_set():
                await ledger.ask(between(chance, accounts, chance.randint(1, 100)))

        customers = [asyncio.create_task(customer(number)) for number in range(30)]
        sizes = [verify_lines(await exported(fresh_database_url))[0].events for _ in range(4)]
        stop.set()
        await asyncio.gather(*customers)
    assert sizes == sorted(set(sizes)), "it grew meanwhile"


def _run(*arguments: str, url: str = "", directory: Path, text: bytes = b"") -> tuple[int, bytes, str]:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "BITNEXUS_DATA_DIR": str(directory / "var")}
    done = subprocess.run(
        [sys.executable, "-m", "bitnexus", "ledger", *arguments],
        input=text,
        capture_output=True,
        cwd=directory,
        env=environment | {"DATABASE_URL": url, "BITNEXUS_PROFILE": "test"},
        timeout=50,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr.decode()


def test_the_command_line_exports_to_files_and_pipes_and_verifies_them_offline(fresh_database_url, tmp_path):
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        runner.run(fill(fresh_database_url))
    nowhere = {"url": "postgresql://nobody@127.0.0.1:1/none", "directory": tmp_path}
    code, plain, complaints = _run("export", "-", url=fresh_database_url, directory=tmp_path)
    assert (code, complaints) == (0, "")
    code, printed, _ = _run("verify", "--json", "-", text=plain, **nowhere)
    assert (code, json.loads(printed)["events"]) == (0, json.loads(plain.splitlines()[0])["events"])
    code, printed, complaints = _run("export", "a.zst", url=fresh_database_url, directory=tmp_path)
    assert (code, printed, complaints) == (0, b"", "")
    whole = (tmp_path / "a.zst").read_bytes()
    assert _unpack_zstd(whole) == plain
    assert (tmp_path / "a.zst").stat().st_mode & 0o777 == 0o600
    code, printed, complaints = _run("verify", "a.zst", **nowhere)
    assert (code, complaints) == (0, "")
    assert b"Everything is in order." in printed
    code, printed, complaints = _run("verify", "-", text=whole[: len(whole) // 2], **nowhere)
    assert (code, printed) == (1, b"")
    assert re.match(r"Error: lines? \d+", complaints), complaints
    # What is there already stays, unless all of what replaces it is there.
    code, _, complaints = _run("export", "a.zst", url=fresh_database_url, directory=tmp_path)
    assert (code, "--force" in complaints) == (1, True)
    code, _, complaints = _run("export", "--force", "a.zst", **nowhere)
    assert (code, "not available" in complaints) == (1, True)
    assert [each.name for each in tmp_path.iterdir() if each.is_file()] == ["a.zst"]
    assert (tmp_path / "a.zst").read_bytes() == whole


@pytest.mark.parametrize(
    "arguments", [("verify", "missing"), ("verify", "-", "--key", "nonsense"), ("export", "no/dir")]
)
def test_what_cannot_be_read_or_written_is_said_in_one_line(arguments, fresh_database_url, tmp_path):
    code, _, complaints = _run(*arguments, url=fresh_database_url, directory=tmp_path)
    assert code == (2 if "--key" in arguments else 1)
    assert "Traceback" not in complaints
    assert complaints.splitlines()[-1].startswith("Error: ")


@pytest.mark.parametrize("replace", [False, True])
def test_nothing_but_a_regular_file_is_ever_replaced(tmp_path, replace):
    """Root could replace a device by a file, and everybody a pipe or a link."""
    (tmp_path / "kept").write_text("kept")
    (tmp_path / "directory").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "kept")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe")
    before = {each.name: each.lstat().st_mode for each in tmp_path.iterdir()}
    for name in ("directory", "link", "dangling", "pipe"):
        with (
            pytest.raises(OSError, match="not a regular file"),
            created(str(tmp_path / name), replace=replace) as output,
        ):
            output.write(b"new")
    assert {each.name: each.lstat().st_mode for each in tmp_path.iterdir()} == before
    assert (tmp_path / "kept").read_text() == "kept"


def test_a_file_that_could_not_be_written_to_its_end_leaves_what_was_there(tmp_path):
    path = tmp_path / "export.jsonl"
    path.write_text("before")

    def interrupted():
        with created(str(path), replace=True) as output:
            output.write(b"half of it")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
    assert path.read_text() == "before"


@pytest.mark.parametrize("suffix", ["jsonl", "gz", "zst"])
def test_a_damaged_file_is_found_and_named_however_it_is_compressed(export_of_everything, tmp_path, suffix):
    plain, path = b"".join(export_of_everything), tmp_path / f"export.{suffix}"
    with created(str(path)) as output:
        output.write(plain)
    whole = path.read_bytes()
    assert {"gz": gzip.decompress, "zst": _unpack_zstd}.get(suffix, bytes)(whole) == plain
    with lines_of(str(path), MAX_LINE_BYTES, Unreadable) as lines:
        assert list(lines) == export_of_everything
    middle = len(whole) // 2
    for damaged in (whole[:middle], whole + b"more", whole[:middle] + b"\0\0\0\0" + whole[middle + 4 :], whole[2:]):
        path.write_bytes(damaged)
        with lines_of(str(path), MAX_LINE_BYTES, Unreadable) as lines:
            named(complaint(lines))


def _unpack_zstd(data: bytes) -> bytes:
    return zstandard.ZstdDecompressor().decompressobj().decompress(data)


async def test_the_database_and_its_export_are_audited_alike(fresh_database_url):
    """What is wrong in the database is as wrong in its export, and in the same words behind the line's number."""
    await fill(fresh_database_url)
    db = await asyncpg.connect(fresh_database_url)
    for statement in (
        "UPDATE ledger_transfers SET amount = amount + 1 WHERE seq = 40",
        "UPDATE ledger_transfers SET description = 'x' WHERE seq = 41",
        "UPDATE ledger_accounts SET credits_posted = credits_posted + 1 WHERE seq = 1",
        "UPDATE ledger_accounts SET state = 1 WHERE seq = 2",
        "UPDATE ledger_blocks SET hash = sha256(hash) WHERE height = 3",
    ):
        transaction = db.transaction(isolation="repeatable_read")
        await transaction.start()
        await db.execute(statement)
        with pytest.raises(Wrong) as stored:
            await verify(db)
        lines = b"".join([piece async for piece in export_lines(db, key=None, checkpoint=None)])
        assert complaint(lines.splitlines(keepends=True)).partition(": ")[2] == str(stored.value)
        await transaction.rollback()
    async with db.transaction():
        await db.execute("UPDATE ledger_transfers SET time_us = time_us + 1 WHERE seq = 40")
        with pytest.raises(Wrong, match="event 40"):
            [piece async for piece in export_lines(db, key=None, checkpoint=None)]
        await db.execute("UPDATE ledger_transfers SET time_us = time_us - 1 WHERE seq = 40")
    found = await verify(db)
    assert isinstance(found, Verified)
    assert verify_lines(await exported(fresh_database_url))[0] == found
    await db.close()
