"""The tables and the page that they are written into."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import report, scaling
from bench.__main__ import PARTS, parsed
from bench.jobs import Entry
from bench.lineup import AIOHTTP, OURS, pgbench_name
from bench.plots import draw
from bench.sheets import sheets
from tests.unit.bench.test_arithmetic import round_

STATEMENTS = pgbench_name("statements", 64)
PAGE = Path(__file__).resolve().parents[3] / "docs" / report.PAGE


@pytest.fixture
def results():
    rounds = []
    for number in (1, 2, 3):
        for contestant, rate in ((OURS, 600.0), (AIOHTTP, 100.0), (STATEMENTS, 250.0)):
            cpu_us = {"front": 100.0, "postgresql": 50.0}
            rounds.append(round_(Entry(contestant, "transfer"), number, rate * number, job="transfers", cpu_us=cpu_us))
        swept = (Entry(OURS, "transfer", connections) for connections in (1, 64))
        rounds.extend(round_(entry, number, 10.0, job="sweep") for entry in swept)
        for at, combination in enumerate(scaling.COMBINATIONS):
            entry = Entry(scaling.entry_name(*combination), "transfer")
            rounds.append(round_(entry, number, 100.0 * (at + 1), job=scaling.NAME))
    point = {"users": 10, "transfers": 0, "bytes_by_kind": {"front": 2_000_000, "ledger": 500_000}}
    more = {"users": 20, "transfers": 1_000, "bytes_by_kind": {"front": 4_000_000, "ledger": 500_000}}
    goal = {"job": "a job", "against": AIOHTTP, "goal": 5.0, "sense": "at least", "measure": "rate"}
    return {
        "version": "0.1",
        "took_s": 600,
        "machine": {"cpus": 2, "processor": "a processor", "memory_bytes": 8_000_000_000},
        "versions": dict.fromkeys(
            ("python", "postgresql", "aiohttp", "asyncpg", "fastapi", "uvicorn", "generator", "pgbench"), "1.0"
        ),
        "settings": {
            "bitnexus": {"fronts": 2, "partitions": 1},
            "postgresql": {"fsync": "on", "synchronous_commit": "on"},
        },
        "shape": {"users": 50, "accounts": 1_000, "transfers_before": 0},
        "jobs": {name: {"title": f"Title of {name}"} for name in ("transfers", "sweep", scaling.NAME)},
        "goals": [{**goal, "median": 6.0, "min": 5.5, "max": 7.0, "met": True}],
        "complaints": [],
        "rounds": rounds,
        "memory": {"users": [point, more], "log": [more, more], "complaints": []},
    }


def sheet(results, title):
    return next(one for one in sheets(results) if one.title == title)


def test_the_table_of_a_job_has_medians_spreads_and_the_ratios_within_the_rounds(results):
    ours, aiohttp, pgbench = sheet(results, "Title of transfers").rows
    assert ours[:4] == (OURS, "transfer", "64", "1,200 (600–1,800)")
    assert aiohttp[6] == "6.00 ×"  # in every round, whatever the machine did between them
    assert pgbench[6] == "2.40 ×"


def test_fronts_and_partitions_are_compared_with_the_first_combination(results):
    rows = sheet(results, "Transfers against fronts and partitions").rows
    assert [row[:2] for row in rows] == [(str(fronts), str(parts)) for fronts, parts in scaling.COMBINATIONS]
    assert [row[3] for row in rows] == [f"{at + 1}.00 ×" for at in range(len(rows))]


def test_cpu_is_shown_by_kind_and_as_a_sum(results):
    ours = sheet(results, "CPU per transfer, µs").rows[0]
    assert (ours[2], ours[7], ours[8], ours[9]) == ("100", "50", "150", "1.00 ×")


def test_a_goal_is_shown_with_its_spread(results):
    assert sheet(results, "Goals").rows == [("a job", AIOHTTP, "≥ 5 ×", "6.00 ×", "5.50 – 7.00", "met")]


def test_what_was_not_measured_has_no_table(results):
    del results["memory"]
    results["jobs"] = {}
    results["goals"] = []
    results["rounds"] = []
    assert sheets(results) == []


def test_markdown_has_as_many_cells_in_every_row_as_columns(results):
    text = report.markdown(results)
    assert "two shared cores" in text
    assert "Meanwhile 0.0 CPUs" in text
    for table in text.split("###")[1:]:
        assert len({line.count("|") for line in table.splitlines() if line.startswith("|")}) == 1


def test_tables_are_written_between_the_marks_of_the_page_again_and_again():
    page = f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n"
    once = report.written_into(page, "new")
    assert once == f"before\n{report.BEGIN}\nnew\n{report.END}\nafter\n"
    assert report.written_into(once, "new") == once
    with pytest.raises(ValueError, match="substring"):
        report.written_into("a page without marks", "new")


def test_the_page_of_the_documentation_has_the_marks():
    assert report.written_into(PAGE.read_text(), "new") != ""


def test_there_is_a_plot_of_each_part_that_was_measured(results, tmp_path):
    drawn = draw(results, tmp_path)
    assert [path.stem for path in drawn] == ["throughput", "latency", "cpu", "processes", "memory"]
    assert all(b"<svg" in path.read_bytes() for path in drawn)
    before = [path.read_bytes() for path in drawn]
    assert [path.read_bytes() for path in draw(results, tmp_path)] == before


def test_without_arguments_all_parts_are_measured_as_often_as_they_say():
    options = parsed([])
    assert options.parts == PARTS
    assert {job.name: job.rounds for job in options.jobs()}["transfers"] == 5


def test_parts_rounds_seconds_and_connections_can_be_chosen():
    options = parsed(["hot", "scaling", "--rounds", "2", "--seconds", "1", "--connections", "4,8"])
    assert [(job.name, job.rounds, job.seconds) for job in options.jobs()] == [("hot", 2, 1), ("scaling", 2, 1)]
    assert {one.connections for one in options.jobs()[0].entries if one.contestant == OURS} == {4, 8}


@pytest.mark.parametrize("arguments", [["nothing"], ["--rounds", "0"], ["--connections", "4,x"]])
def test_what_cannot_be_measured_is_refused(arguments, capsys):
    with pytest.raises(SystemExit):
        parsed(arguments)
    assert "usage" in capsys.readouterr().err
