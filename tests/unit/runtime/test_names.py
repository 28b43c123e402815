from __future__ import annotations

from bitnexus.actors.runtime.message import NamesChanged, ProcessInfo
from bitnexus.actors.runtime.names import NameTable


def info(name: str, instance: str = "1") -> ProcessInfo:
    return ProcessInfo(name, f"root/{name}", "127.0.0.1:1", instance, 1)


class Story:
    """A table whose monitors of "a" write down what they hear."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.table = NameTable(lambda who: self.heard.append(f"table up {who.name}"))

    def monitor(self):
        return self.table.monitor(
            "a",
            lambda who: self.heard.append(f"up {who.instance}"),
            lambda who: self.heard.append(f"down {who.instance}"),
        )


def test_a_monitor_hears_of_every_up_and_down_of_its_name_alone():
    story = Story()
    story.monitor()
    story.table.change(NamesChanged([info("a"), info("b")], []))
    story.table.change(NamesChanged([], [info("b"), info("a")]))
    assert story.heard == ["table up a", "up 1", "table up b", "down 1"]


def test_a_monitor_of_somebody_who_is_there_hears_of_it_at_once():
    story = Story()
    story.table.up(info("a"))
    story.monitor()
    assert story.heard == ["table up a", "up 1"]


def test_a_successor_is_heard_after_the_end_of_the_one_before():
    story = Story()
    story.monitor()
    story.table.up(info("a", "1"))
    story.table.up(info("a", "2"))
    assert story.heard == ["table up a", "up 1", "down 1", "table up a", "up 2"]


def test_the_late_end_of_a_predecessor_is_no_news():
    story = Story()
    story.table.up(info("a", "1"))
    story.table.up(info("a", "2"))
    story.monitor()
    story.heard.clear()
    story.table.down(info("a", "1"))
    assert story.heard == []
    assert story.table.get("a") == info("a", "2")


def test_the_same_news_twice_is_news_once():
    story = Story()
    story.monitor()
    for _ in range(2):
        story.table.up(info("a"))
    assert story.heard == ["table up a", "up 1"]
    for _ in range(2):
        story.table.down(info("a"))
    assert story.heard == ["table up a", "up 1", "down 1"]


def test_the_whole_table_of_the_registry_corrects_what_was_missed():
    story = Story()
    story.monitor()
    story.table.up(info("a", "1"))
    story.table.up(info("gone"))
    story.table.synchronise([info("a", "2"), info("new")])
    assert story.table.names() == ["a", "new"]
    assert story.heard[-4:] == ["down 1", "table up a", "up 2", "table up new"]


def test_a_monitor_that_is_forgotten_hears_nothing():
    story = Story()
    forget = story.monitor()
    forget()
    forget()
    story.table.up(info("a"))
    assert story.heard == ["table up a"]


def test_a_callback_may_forget_its_own_monitor():
    table = NameTable(lambda _: None)
    heard: list[str] = []

    def once(_: ProcessInfo) -> None:
        heard.append("once")
        forget()

    forget = table.monitor("a", once, None)
    table.monitor("a", lambda _: heard.append("always"), None)
    table.up(info("a", "1"))
    table.up(info("a", "2"))
    assert heard == ["once", "always", "always"]
