"""The shapes of the log and of the books."""

from __future__ import annotations

from bitnexus.http.shapes.base import Hash, Hex, PageAsOf, Seq, Shape, Time


class Consistency(Shape):
    """The proof of RFC 6962, 2.1.2, that the tree of `new` events extends that of `old`."""

    old: int
    new: int
    proof: list[Hash]


class Inclusion(Shape):
    """A transfer's leaf, and the proof of RFC 6962, 2.1.1, that leads from it to the checkpoint."""

    index: Seq
    leaf: Hex
    leaf_hash: Hash
    proof: list[Hash]
    checkpoint: str


class Block(Shape):
    """A block: the events `first_seq` … `tree_size` - 1."""

    height: Seq
    hash: Hash
    prev_hash: Hash
    tree_size: Seq
    tree_root: Hash
    first_seq: Seq
    inserted_at: Time


class AssetTotals(Shape):
    """The sums of one asset over all accounts; both differences are 0 in books that are in order."""

    asset: str
    accounts: int
    debits_posted: int
    credits_posted: int
    debits_pending: int
    credits_pending: int
    difference: int
    difference_pending: int


class TrialBalance(PageAsOf[AssetTotals]):
    """A page of the trial balance; `balanced` is said of all of it."""

    balanced: bool
