from __future__ import annotations

from bitnexus.actors.runtime.message import Names, NamesChanged, ProcessInfo
from bitnexus.actors.runtime.registry import Registry


def info(name: str, instance: str = "1") -> ProcessInfo:
    return ProcessInfo(name, f"root/{name}", "127.0.0.1:1", instance, 1)


def test_a_name_is_held_until_its_connection_is_lost():
    registry = Registry()
    assert registry.register("a's connection", info("a")) == NamesChanged([info("a")], [])
    assert registry.names() == Names([info("a")])
    assert registry.lost("a's connection") == NamesChanged([], [info("a")])
    assert registry.names() == Names([])


def test_who_only_looks_on_changes_nothing_and_is_told_of_changes():
    registry = Registry()
    assert registry.register("onlooker", None) is None
    assert registry.members() == ["onlooker"]
    assert registry.lost("onlooker") is None
    assert registry.members() == []


def test_the_newest_holder_of_a_name_wins():
    registry = Registry()
    registry.register("first", info("a", "1"))
    assert registry.register("second", info("a", "2")) == NamesChanged([info("a", "2")], [info("a", "1")])
    assert registry.names() == Names([info("a", "2")])


def test_the_late_loss_of_an_earlier_holder_takes_nothing_from_the_present_one():
    registry = Registry()
    registry.register("first", info("a", "1"))
    registry.register("second", info("a", "2"))
    assert registry.lost("first") is None
    assert registry.names() == Names([info("a", "2")])


def test_registering_again_is_no_news():
    registry = Registry()
    registry.register("one", info("a"))
    assert registry.register("one", info("a")) is None
    assert registry.names() == Names([info("a")])


def test_a_connection_that_takes_another_name_gives_its_first_one_back():
    registry = Registry()
    registry.register("one", info("a"))
    assert registry.register("one", info("b")) == NamesChanged([info("b")], [info("a")])


def test_an_unknown_connection_can_be_lost():
    assert Registry().lost("nobody") is None
