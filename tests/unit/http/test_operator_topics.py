from __future__ import annotations

from bitnexus.http.channels.operators.messages import Presence
from bitnexus.http.channels.operators.presences import Difference, Presences
from bitnexus.http.channels.operators.tree_changes import changes, rows
from bitnexus.http.channels.operators.vital_signs import read, vital_signs
from bitnexus.operations.tree import Branch

TREE, LOG = "admin:tree", "admin:log"


def presence(ref, topic=TREE, key="ann", front="http-0"):
    return Presence(topic, key, ref, 1, front)


def refs(state):
    return {key: [meta["phx_ref"] for meta in held["metas"]] for key, held in state.items()}


def test_a_topic_shows_those_of_all_fronts_by_their_key():
    held = Presences()
    held.join(presence("1"))
    held.join(presence("2", topic=LOG))
    told = held.told("http-1", "life", [presence("3", front="http-1"), presence("4", key="ben", front="http-1")])
    assert [(each.topic, refs(each.payload()["joins"]), each.leaves) for each in told] == [
        (TREE, {"ann": ["3"], "ben": ["4"]}, ())
    ]
    assert refs(held.state(TREE)) == {"ann": ["1", "3"], "ben": ["4"]}
    assert refs(held.state(LOG)) == {"ann": ["2"]}
    assert [each.ref for each in held.own] == ["1", "2"]
    assert held.leave("1") == Difference(TREE, leaves=(presence("1"),))
    assert refs(held.state(TREE)) == {"ann": ["3"], "ben": ["4"]}


def test_what_a_front_tells_replaces_what_it_told_before_and_repeating_it_changes_nothing():
    held = Presences()
    held.told("http-1", "life", [presence("1"), presence("2", topic=LOG)])
    assert held.told("http-1", "life", [presence("1"), presence("2", topic=LOG)]) == []
    differences = {each.topic: each for each in held.told("http-1", "life", [presence("3")])}
    assert differences == {
        TREE: Difference(TREE, (presence("3"),), (presence("1"),)),
        LOG: Difference(LOG, (), (presence("2", topic=LOG),)),
    }


def test_the_end_of_a_front_ends_its_presences_but_not_those_of_its_successor():
    held = Presences()
    held.told("http-1", "first", [presence("1")])
    assert held.gone("http-1", "first") == [Difference(TREE, (), (presence("1"),))]
    assert held.state(TREE) == {}
    held.told("http-1", "first", [presence("1")])
    held.told("http-1", "second", [presence("2")])  # before the news of the death
    assert held.gone("http-1", "first") == []
    assert refs(held.state(TREE)) == {"ann": ["2"]}
    assert held.gone("http-7", "unknown") == []


def tree(**children):
    below = tuple(Branch(f"n/{id_}", **of) for id_, of in children.items())
    return rows(Branch("n", "supervisor", pid=1, children=below))


def told(before, now):
    return [(each["change"], each["path"], each["pid"]) for each in changes(before, now)]


def test_what_happened_to_a_process_is_told_by_what_its_supervisor_says_before_and_after():
    up = tree(a={"pid": 2})
    down = tree(a={"pid": None, "status": "restarting", "restarts": 1, "last_exit": "killed by signal 9"})
    again = tree(a={"pid": 3, "restarts": 1, "last_exit": "killed by signal 9"})
    assert told(up, up) == []
    assert told(up, down) == [("died", "n/a", None)]
    assert told(down, again) == [("restarted", "n/a", 3)]
    starting = tree(a={"pid": 3, "status": "starting", "last_exit": "killed by signal 9"})
    assert told(down, starting) == [("restarted", "n/a", 3)]
    assert told(starting, again) == [("changed", "n/a", 3)]
    assert told(up, again) == [("restarted", "n/a", 3)]  # too quick to be seen in between
    assert changes(up, again)[0]["last_exit"] == "killed by signal 9"
    assert told(up, tree(a={"pid": 2, "status": "suspended"})) == [("changed", "n/a", 2)]
    assert told(up, tree(a={"pid": 2}, b={"pid": 4})) == [("started", "n/b", 4)]
    assert told(up, tree()) == [("removed", "n/a", 2)]


def exposition(events, requests, failures):
    return (
        "# HELP bitnexus_ledger_events_total x\n"
        f"bitnexus_ledger_events_total {events}\n"
        f'bitnexus_http_requests_total{{method="GET",route="/x",status="200"}} {requests}\n'
        f'bitnexus_http_requests_total{{method="GET",route="/x",status="503"}} {failures}\n'
        "bitnexus_http_sockets 2.0\nbitnexus_loop_lag_seconds 0.25\nanother_metric 7\nnot a sample at all\n"
    )


def test_counters_are_told_as_rates_and_gauges_as_sums():
    before = read({"a": exposition(10, 100, 0), "b": exposition(0, 0, 0)}, 5.0)
    signs = vital_signs(before, read({"a": exposition(30, 140, 2), "b": exposition(0, 1, 0)}, 7.0))
    assert signs["ledger_events_per_s"] == 10
    assert signs["requests_per_s"] == 21.5
    assert signs["errors_per_s"] == 1
    assert signs["sockets"] == 4
    assert signs["loop_lag_ms"] == 250
    assert signs["processes"] == 2


def test_a_process_that_began_anew_makes_no_rate_negative():
    before = read({"a": exposition(1000, 0, 0)}, 0.0)
    assert vital_signs(before, read({"a": exposition(4, 0, 0)}, 1.0))["ledger_events_per_s"] == 4
