from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from bitnexus.http.exposition import merge

ONE = """# HELP calls_total Calls.
# TYPE calls_total counter
calls_total 3
# TYPE wait_seconds histogram
wait_seconds_bucket{le="0.1"} 1
wait_seconds_bucket{le="+Inf"} 2
wait_seconds_sum 0.5
wait_seconds_count 2
"""
TWO = """# HELP calls_total Calls.
# TYPE calls_total counter
calls_total{to="a b} \\" {"} 4 1700000000000
"""


def families(text):
    return {family.name: family for family in text_string_to_metric_families(text)}


def test_families_are_joined_and_samples_labelled_with_their_process():
    found = families(merge({"one": ONE, "two": TWO}))
    assert {(s.labels["process"], s.value) for s in found["calls"].samples} == {("one", 3.0), ("two", 4.0)}
    assert found["calls"].samples[1].labels["to"] == 'a b} " {'
    assert {s.name for s in found["wait_seconds"].samples} == {
        "wait_seconds_bucket",
        "wait_seconds_sum",
        "wait_seconds_count",
    }
    assert all(s.labels["process"] == "one" for s in found["wait_seconds"].samples)


def test_a_family_is_described_once_and_stands_together():
    text = merge({"one": ONE, "two": TWO})
    assert text.count("# TYPE calls_total") == 1
    lines = [line for line in text.splitlines() if line.startswith("calls_total")]
    start = text.splitlines().index(lines[0])
    assert text.splitlines()[start : start + 2] == lines


def test_a_line_that_cannot_be_read_spoils_nothing():
    assert merge({"one": "garbage {\n\nup 1\n"}) == 'up{process="one"} 1\n'


def test_names_of_processes_are_escaped():
    assert 'process="a\\"b\\\\"' in merge({'a"b\\': "up 1\n"})
