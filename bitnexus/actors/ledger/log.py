"""The verifiable log: one RFC 6962 Merkle tree over all events, and the chain of blocks over the tree. Pure.

**Tree.** Leaf hash ``SHA-256(0x00 ‖ leaf)``, node hash ``SHA-256(0x01 ‖ left ‖ right)``, shape as RFC 6962 section 2.1.
The tree is never recomputed: a :class:`Tree` is a compact range, the roots of its perfect subtrees ("peaks") from the
largest, leftmost, to the smallest. Appending costs one node hash on average.

**Leaf, version 1.** All integers big-endian; docs/ledger-format.md is the complete description, for those who write a
verifier. A leaf starts with version, kind, seq, block and time (1 + 1 + 8 + 8 + 8 bytes). Its kind says what follows:

====  =======================================================================================================
kind
====  =======================================================================================================
1     account opened: account 16, flags 4, code 4, private 32, asset (text)
2     transfer posted: id 16, debit account 16, credit account 16, amount 8, code 4, debit balance 8, credit
      balance 8, private 32, asset (text)
3     transfer refused: as 2, refusal (text)
4     account opened with a credit limit: as 1, credit limit 8
5     account changed: account 16, action 1, private 32
6     transfer of a kind other than "post": as 2, kind 1 (bit 7: the transfer it refers to is one to be reversed),
      transfer it refers to 16 (or zeros), timeout in seconds 4
7     the same, refused: as 6, refusal (text)
8     transfer annotated: annotation 16, transfer 16, private 32
====  =======================================================================================================

**Private.** What can be personal enters only as ``SHA-256(salt ‖ id ‖ n₁ ‖ description ‖ n₂ ‖ metadata)``: salt is 16
random bytes of the row's own, id the owner (kinds 1, 4; 16 zero bytes for nobody) or the asking user (all others; zeros
for the ledger itself), n₁ and n₂ the 4-byte lengths of the UTF-8 texts (empty in kinds 1, 4, 5). Once salt and texts
are erased, and this hash is kept in their place, the leaf can still be verified and says nothing.

**Block.** ``SHA-256(height ‖ prev_hash ‖ tree_size ‖ tree_root ‖ time)``, 8 + 32 + 8 + 32 + 8 bytes. The first block
has height 1 and a `prev_hash` of 32 zero bytes. `tree_size` and `tree_root` are those after its last leaf.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, NamedTuple

from bitnexus.actors.messages import ACCOUNT_ACTIONS, TRANSFER_KINDS

LEAF_VERSION: Final = 1
KIND_ACCOUNT_OPENED: Final = 1
KIND_TRANSFER: Final = 2
KIND_REFUSAL: Final = 3
KIND_ACCOUNT_OPENED_WITH_LIMIT: Final = 4
KIND_ACCOUNT_CHANGED: Final = 5
KIND_OTHER_TRANSFER: Final = 6
KIND_OTHER_REFUSAL: Final = 7
KIND_TRANSFER_ANNOTATED: Final = 8
#: Added to the byte of a transfer's kind when the other transfer is the one to be reversed, not a pending one.
REVERSES: Final = 0x80
SALT_BYTES: Final = 16
HASH_BYTES: Final = 32
#: Of the inner nodes every eighth level is kept, as in the tiles of C2SP tlog-tiles: 256 hashes of one level.
TILE_HEIGHT: Final = 8
TILE_WIDTH: Final = 256
NOBODY: Final = bytes(16)
EMPTY_ROOT: Final = sha256(b"").digest()
NO_HASH: Final = bytes(32)

_ACCOUNT = struct.Struct(">BBQQQ16sII32s")
_TRANSFER = struct.Struct(">BBQQQ16s16s16sQIqq32s")
#: What the hash of a transfer's leaf is of, up to the asset: the same fields, behind the zero byte.
pack_hashed_transfer: Final = struct.Struct(_TRANSFER.format.replace(">", ">x")).pack
_OTHER = struct.Struct(">B16sI")
_CHANGE = struct.Struct(">BBQQQ16sB32s")
_ANNOTATION = struct.Struct(">BBQQQ16s16s32s")
_BLOCK = struct.Struct(">Q32sQ32sQ")
_NO_TEXTS = bytes(8)


def leaf_hash(leaf: bytes) -> bytes:
    """The RFC 6962 hash of a leaf."""
    return sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The RFC 6962 hash of an inner node."""
    return sha256(b"\x01" + left + right).digest()


class Node(NamedTuple):
    """An inner node that is kept: the root of the `number`-th perfect subtree of ``256**level`` leaves."""

    level: int
    number: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class Tree:
    """A Merkle tree as its size and its peaks, largest first; as many peaks as `size` has one bits."""

    size: int = 0
    peaks: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        if self.size < 0 or len(self.peaks) != self.size.bit_count():
            raise ValueError(f"a tree of {self.size} leaves cannot have {len(self.peaks)} peaks")

    def extend(self, leaf_hashes: Iterable[bytes], nodes: list[Node] | None = None) -> Tree:
        """The tree with these leaves appended; the new inner nodes of it that are kept go to `nodes`."""
        peaks, size = list(self.peaks), self.size
        for leaf in leaf_hashes:
            node, carry, height = leaf, size, 0
            while carry & 1:
                node = sha256(b"\x01" + peaks.pop() + node).digest()
                carry >>= 1
                height += 1
                if not height % TILE_HEIGHT and nodes is not None:
                    nodes.append(Node(height // TILE_HEIGHT, size >> height, node))
            peaks.append(node)
            size += 1
        return Tree(size, tuple(peaks))

    def root(self) -> bytes:
        """The tree's root hash (of the empty tree: the hash of nothing)."""
        if not self.peaks:
            return EMPTY_ROOT
        root = self.peaks[-1]
        for peak in self.peaks[-2::-1]:
            root = node_hash(peak, root)
        return root


@dataclass(frozen=True, slots=True)
class Head:
    """The newest block: where the next one is appended. Height 0 is the empty ledger."""

    height: int = 0
    hash: bytes = NO_HASH
    tree: Tree = Tree()
    root: bytes = EMPTY_ROOT
    time_us: int = 0

    def extend(self, leaf_hashes: Iterable[bytes], time_us: int, nodes: list[Node] | None = None) -> Head:
        """The head after one more block of these leaves; `nodes` as in `Tree.extend`."""
        tree = self.tree.extend(leaf_hashes, nodes)
        root = tree.root()
        height = self.height + 1
        return Head(height, block_hash(height, self.hash, tree.size, root, time_us), tree, root, time_us)


def block_hash(height: int, prev_hash: bytes, tree_size: int, tree_root: bytes, time_us: int) -> bytes:
    """The hash that names a block and that the next one repeats."""
    return sha256(_BLOCK.pack(height, prev_hash, tree_size, tree_root, time_us)).digest()


def private_hash(salt: bytes, user: bytes, description: str = "", metadata: str = "") -> bytes:
    """The commitment to what can be personal. `salt` and `user` are 16 bytes each."""
    if not description and not metadata:
        return sha256(salt + user + _NO_TEXTS).digest()
    one, two = description.encode(), metadata.encode()
    return sha256(b"".join((salt, user, len(one).to_bytes(4, "big"), one, len(two).to_bytes(4, "big"), two))).digest()


def private_hashes(
    salts: Sequence[bytes], users: Sequence[bytes], texts: Sequence[tuple[str, str]] = ()
) -> list[bytes]:
    """`private_hash` of each salt, its user and its pair of texts; without texts, no pairs need be given."""
    if texts:
        return [private_hash(salt, user, *pair) for salt, user, pair in zip(salts, users, texts, strict=True)]
    return [sha256(salt + user + _NO_TEXTS).digest() for salt, user in zip(salts, users, strict=True)]


def text(value: str) -> bytes:
    """An ASCII text of at most 255 characters behind its length."""
    return bytes((len(value),)) + value.encode("ascii")


def account_leaf(
    *,
    seq: int,
    block: int,
    time_us: int,
    account: bytes,
    flags: int,
    code: int,
    private: bytes,
    asset: str,
    credit_limit: int = 0,
) -> bytes:
    """The leaf of "account opened"."""
    kind = KIND_ACCOUNT_OPENED_WITH_LIMIT if credit_limit else KIND_ACCOUNT_OPENED
    leaf = _ACCOUNT.pack(LEAF_VERSION, kind, seq, block, time_us, account, flags, code, private) + text(asset)
    return leaf + credit_limit.to_bytes(8, "big") if credit_limit else leaf


def change_leaf(*, seq: int, block: int, time_us: int, account: bytes, action: str, private: bytes) -> bytes:
    """The leaf of "account changed"."""
    head = (LEAF_VERSION, KIND_ACCOUNT_CHANGED, seq, block, time_us)
    return _CHANGE.pack(*head, account, ACCOUNT_ACTIONS[action], private)


def annotation_leaf(*, seq: int, block: int, time_us: int, annotation: bytes, transfer: bytes, private: bytes) -> bytes:
    """The leaf of "transfer annotated"."""
    return _ANNOTATION.pack(LEAF_VERSION, KIND_TRANSFER_ANNOTATED, seq, block, time_us, annotation, transfer, private)


def transfer_leaf(  # noqa: PLR0917 - a record's fields, by position because it is called once per transfer
    seq: int,
    block: int,
    time_us: int,
    transfer: bytes,
    debit: bytes,
    credit: bytes,
    amount: int,
    code: int,
    debit_balance: int,
    credit_balance: int,
    private: bytes,
    asset: bytes,
    refusal: str | None = None,
    other: bytes | None = None,
) -> bytes:
    """The leaf of a transfer, or (with `refusal`) of a refused one.

    `asset` is already a :func:`text`; `other` an :func:`other_kind`, unless its kind is "post".
    """
    if other is None:
        kind = KIND_TRANSFER if refusal is None else KIND_REFUSAL
    else:
        kind = KIND_OTHER_TRANSFER if refusal is None else KIND_OTHER_REFUSAL
        asset += other
    fields = (transfer, debit, credit, amount, code, debit_balance, credit_balance, private)
    leaf = _TRANSFER.pack(LEAF_VERSION, kind, seq, block, time_us, *fields) + asset
    return leaf if refusal is None else leaf + text(refusal)


def other_kind(kind: str, timeout_s: int, *, pending: bytes, reverses: bytes) -> bytes:
    """What the leaf of a transfer says besides if it is not a plain "post".

    `pending` and `reverses` are the ids it refers to, 16 zero bytes if there is none; one of them is.
    """
    if reverses != NOBODY:
        return _OTHER.pack(TRANSFER_KINDS[kind] | REVERSES, reverses, timeout_s)
    return _OTHER.pack(TRANSFER_KINDS[kind], pending, timeout_s)
