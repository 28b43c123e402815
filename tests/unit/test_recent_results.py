"""The results that are remembered: bounded, and never fewer than promised."""

from bitnexus.actors.ledger.commands import Recorded
from bitnexus.actors.ledger.recent import Recent
from bitnexus.actors.messages import Transfer

MOST = 100


def recorded(number: int) -> Recorded:
    """A transfer whose `seq` is its number."""
    return Recorded(Transfer(f"t{number}", "a", "b", 1, "USD/2", 0, "", "", "u", number, 1, 1, 0, 0), None)


def test_at_least_the_latest_half_and_at_most_one_block_too_many_are_remembered() -> None:
    recent, block, added = Recent(MOST), 7, 0
    for _ in range(100):
        recent.add({f"t{number}": recorded(number) for number in range(added, added + block)})
        added += block
        assert len(recent) <= MOST + block
        for number in range(max(0, added - MOST // 2), added):
            found = recent.get(f"t{number}")
            assert found is not None
            assert found.transfer.seq == number


def test_a_block_larger_than_all_that_may_be_kept_is_remembered_whole_until_the_next_ones() -> None:
    recent = Recent(MOST)
    recent.add({f"t{number}": recorded(number) for number in range(3 * MOST)})
    assert recent.get("t0") is not None
    recent.add({f"u{number}": recorded(number) for number in range(MOST)})
    assert recent.get("t0") is None
    assert recent.get("u0") is not None


def test_the_later_result_under_an_id_is_the_one_that_is_told() -> None:
    recent = Recent(MOST)
    recent.add({f"t{number}": recorded(number) for number in range(MOST // 2)})
    recent.add({"t0": recorded(1_000)})
    found = recent.get("t0")
    assert found is not None
    assert found.transfer.seq == 1_000


def test_after_clear_nothing_is_remembered() -> None:
    recent = Recent(MOST)
    recent.add({f"t{number}": recorded(number) for number in range(MOST)})
    recent.add({"u": recorded(0)})
    recent.clear()
    assert (len(recent), recent.get("t0"), recent.get("u")) == (0, None, None)
