"""Inclusion and consistency proofs of the log's tree, as RFC 6962 section 2.1 and RFC 9162 section 2.1 have them. Pure.

A proof is a list of subtree hashes. Which ones follows from the numbers alone (:func:`inclusion_path`,
:func:`consistency_path`); each is computed from at most 256 hashes of each kept level: the leaf hashes (level 0) and
the nodes of every eighth level above them, which are the hashes of C2SP tiles. So a proof costs
O(log n) reads of at most one tile each, however long the log is:

    path = inclusion_path(index, size)
    hashes = {entry: hash for …}            # all of `entries_of(path)`, read from wherever they are kept
    proof = proof_of(path, hashes)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import NamedTuple

from bitnexus.actors.ledger.log import EMPTY_ROOT, TILE_HEIGHT, node_hash


class Span(NamedTuple):
    """The leaves `begin` … `end` - 1, and the subtree over them."""

    begin: int
    end: int


class Entry(NamedTuple):
    """The `number`-th hash of a level of tiles: the root of ``256**level`` leaves; of level 0: a leaf hash."""

    level: int
    number: int


class ProofInvalid(Exception):
    """The proof does not show what it is to show."""


def inclusion_path(index: int, size: int) -> list[Span]:
    """The subtrees whose hashes prove that leaf `index` is in the tree of `size` leaves: PATH of RFC 6962, 2.1.1.

    Raises:
        ValueError: there is no such leaf.
    """
    if not 0 <= index < size:
        raise ValueError(f"there is no leaf {index} in a tree of {size}")
    path: list[Span] = []
    begin, end = 0, size
    while end - begin > 1:
        middle = begin + _split(end - begin)
        if index < middle:
            path.append(Span(middle, end))
            end = middle
        else:
            path.append(Span(begin, middle))
            begin = middle
    return path[::-1]


def consistency_path(old: int, new: int) -> list[Span]:
    """The subtrees whose hashes prove that the tree of `new` leaves extends that of `old`: PROOF of RFC 6962, 2.1.2.

    Raises:
        ValueError: not 0 < `old` ≤ `new`.
    """
    if not 0 < old <= new:
        raise ValueError(f"a tree of {new} leaves cannot extend one of {old}")
    path: list[Span] = []
    begin, end = 0, new
    while old < end:
        middle = begin + _split(end - begin)
        if old <= middle:
            path.append(Span(middle, end))
            end = middle
        else:
            path.append(Span(begin, middle))
            begin = middle
    if begin:
        path.append(Span(begin, end))
    return path[::-1]


def entries_of(path: Sequence[Span]) -> set[Entry]:
    """The hashes from which a proof is made; every one of them is kept once the tree has the path's leaves."""
    return {
        Entry(level, each)
        for span in path
        for height, index in _perfect(span)
        for level, first, count in (_run(height, index),)
        for each in range(first, first + count)
    }


def proof_of(path: Sequence[Span], hashes: Mapping[Entry, bytes]) -> list[bytes]:
    """The proof: the hash of each subtree of the path.

    Raises:
        KeyError: one of `entries_of(path)` is missing.
    """
    return [span_hash(span, hashes) for span in path]


def span_hash(span: Span, hashes: Mapping[Entry, bytes]) -> bytes:
    """The Merkle tree hash of the leaves of a span that is a subtree of the log's tree."""
    parts = [_perfect_hash(height, index, hashes) for height, index in _perfect(span)]
    if not parts:
        return EMPTY_ROOT
    root = parts.pop()
    while parts:
        root = node_hash(parts.pop(), root)
    return root


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Accept that the leaf with this hash is the `index`-th of the tree with this root: RFC 9162, 2.1.3.2.

    Raises:
        ProofInvalid: it is not shown.
    """
    if not 0 <= index < size:
        raise ProofInvalid("there is no such leaf in a tree of that size")
    at, last, found = index, size - 1, leaf
    for node in proof:
        if last == 0:
            raise ProofInvalid("the proof is too long")
        if at & 1 or at == last:
            found = node_hash(node, found)
            while at and not at & 1:
                at, last = at >> 1, last >> 1
        else:
            found = node_hash(found, node)
        at, last = at >> 1, last >> 1
    if last != 0 or found != root:
        raise ProofInvalid("the proof does not lead to the root")


def verify_consistency(  # noqa: C901 - the steps of the RFC
    old: int, new: int, proof: Sequence[bytes], old_root: bytes, new_root: bytes
) -> None:
    """Accept that the tree of `new` leaves starts with that of `old`: RFC 9162, 2.1.4.2.

    Raises:
        ProofInvalid: it is not shown.
    """
    if not 0 < old <= new:
        raise ProofInvalid("the sizes are not in order")
    if old == new:
        if proof or old_root != new_root:
            raise ProofInvalid("two trees of one size differ")
        return
    nodes = list(proof)
    if not old & (old - 1):
        nodes.insert(0, old_root)
    if not nodes:
        raise ProofInvalid("the proof is too short")
    at, last = old - 1, new - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    found_old = found_new = nodes[0]
    for node in nodes[1:]:
        if last == 0:
            raise ProofInvalid("the proof is too long")
        if at & 1 or at == last:
            found_old, found_new = node_hash(node, found_old), node_hash(node, found_new)
            while at and not at & 1:
                at, last = at >> 1, last >> 1
        else:
            found_new = node_hash(found_new, node)
        at, last = at >> 1, last >> 1
    if last != 0 or found_old != old_root or found_new != new_root:
        raise ProofInvalid("the proof does not lead to both roots")


def _split(size: int) -> int:
    """The largest power of two below `size`."""
    return 1 << (size - 1).bit_length() - 1


def _perfect(span: Span) -> list[tuple[int, int]]:
    """The perfect subtrees of a subtree, from left to right, as (height, index)."""
    begin, end = span
    found: list[tuple[int, int]] = []
    while begin < end:
        height = (end - begin).bit_length() - 1
        found.append((height, begin >> height))
        begin += 1 << height
    return found


def _run(height: int, index: int) -> tuple[int, int, int]:
    """The entries of one tile from which a perfect subtree's hash follows: level, first, count."""
    level, above = divmod(height, TILE_HEIGHT)
    return level, index << above, 1 << above


def _perfect_hash(height: int, index: int, hashes: Mapping[Entry, bytes]) -> bytes:
    level, first, count = _run(height, index)
    row = [hashes[Entry(level, each)] for each in range(first, first + count)]
    while len(row) > 1:
        row = [sha256(b"\x01" + left + right).digest() for left, right in zip(row[::2], row[1::2], strict=True)]
    return row[0]
