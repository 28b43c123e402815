"""Proofs against RFC 6962's published vectors and a naive recursive implementation of its text."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitnexus.actors.ledger.log import Tree, leaf_hash
from bitnexus.actors.ledger.proofs import (
    Entry,
    ProofInvalid,
    Span,
    consistency_path,
    entries_of,
    inclusion_path,
    proof_of,
    span_hash,
    verify_consistency,
    verify_inclusion,
)
from tests.property.test_log import LEAVES, ROOTS, naive_root

MANY = 70_000
SIZES = [1, 2, 3, 255, 256, 257, 511, 512, 513, 65_535, 65_536, 65_537, 65_792, MANY]


def naive_path(m: int, leaves: list[bytes]) -> list[bytes]:
    """PATH of RFC 6962, section 2.1.1, word for word."""
    if len(leaves) == 1:
        return []
    k = largest_power_below(len(leaves))
    if m < k:
        return [*naive_path(m, leaves[:k]), naive_root(leaves[k:])]
    return [*naive_path(m - k, leaves[k:]), naive_root(leaves[:k])]


def naive_subproof(m: int, leaves: list[bytes], *, complete: bool) -> list[bytes]:
    """SUBPROOF of RFC 6962, section 2.1.2, word for word."""
    if m == len(leaves):
        return [] if complete else [naive_root(leaves)]
    k = largest_power_below(len(leaves))
    if m <= k:
        return [*naive_subproof(m, leaves[:k], complete=complete), naive_root(leaves[k:])]
    return [*naive_subproof(m - k, leaves[k:], complete=False), naive_root(leaves[:k])]


def largest_power_below(n: int) -> int:
    k = 1
    while k * 2 < n:
        k *= 2
    return k


def kept(hashes: list[bytes]) -> dict[Entry, bytes]:
    """What is kept of a tree that has grown in portions."""
    found = {Entry(0, index): each for index, each in enumerate(hashes)}
    tree, at, chance = Tree(), 0, random.Random(1)
    while at < len(hashes):
        portion = hashes[at : at + chance.choice([1, 7, 300, 5_000])]
        nodes: list = []
        tree = tree.extend(portion, nodes)
        at += len(portion)
        for node in nodes:
            assert found.setdefault(Entry(node.level, node.number), node.hash) is node.hash, "each node once"
    return found


HASHES = [leaf_hash(number.to_bytes(4, "big")) for number in range(MANY)]
KEPT = kept(HASHES)
SMALL = kept([leaf_hash(leaf) for leaf in LEAVES])

# The test vectors of certificate-transparency (merkletree/merkle_tree_test.cc); its leaves are counted from 1.
NODES = {
    "a": "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
    "b": "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
    "c": "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    "d": "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    "e": "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
    "f": "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "g": "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "h": "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "i": "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
}


@pytest.mark.parametrize(
    ("leaf", "size", "nodes"), [(1, 1, ""), (1, 8, "abc"), (6, 8, "def"), (3, 3, "g"), (2, 5, "hbd")]
)
def test_inclusion_proofs_are_those_of_the_published_vectors(leaf, size, nodes):
    proof = proof_of(inclusion_path(leaf - 1, size), SMALL)
    assert [node.hex() for node in proof] == [NODES[name] for name in nodes]
    verify_inclusion(leaf_hash(LEAVES[leaf - 1]), leaf - 1, size, proof, bytes.fromhex(ROOTS[size]))


@pytest.mark.parametrize(("old", "new", "nodes"), [(1, 1, ""), (1, 8, "abc"), (6, 8, "ief"), (2, 5, "bd")])
def test_consistency_proofs_are_those_of_the_published_vectors(old, new, nodes):
    proof = proof_of(consistency_path(old, new), SMALL)
    assert [node.hex() for node in proof] == [NODES[name] for name in nodes]
    verify_consistency(old, new, proof, bytes.fromhex(ROOTS[old]), bytes.fromhex(ROOTS[new]))


@pytest.mark.parametrize("size", range(1, 24))
def test_proofs_of_all_small_trees_are_those_of_the_rfc_s_text(size):
    leaves = [number.to_bytes(4, "big") for number in range(size)]
    for index in range(size):
        assert proof_of(inclusion_path(index, size), KEPT) == naive_path(index, leaves)
    for old in range(1, size + 1):
        assert proof_of(consistency_path(old, size), KEPT) == naive_subproof(old, leaves, complete=True)


@given(st.data())
def test_proofs_in_a_large_tree_verify_and_read_at_most_a_tile_per_level_and_edge(data):
    size = data.draw(st.one_of(st.sampled_from(SIZES), st.integers(1, MANY)))
    index = data.draw(st.integers(0, size - 1))
    old = data.draw(st.one_of(st.sampled_from(SIZES), st.integers(1, size)).filter(lambda each: each <= size))
    root, old_root = span_hash(Span(0, size), KEPT), span_hash(Span(0, old), KEPT)
    assert root == Tree().extend(HASHES[:size]).root()
    path = inclusion_path(index, size)
    tiles = {(level, each // 256) for level, each in entries_of(path)}
    assert len(tiles) <= 2 * 3
    proof = proof_of(path, KEPT)
    verify_inclusion(HASHES[index], index, size, proof, root)
    consistency = proof_of(consistency_path(old, size), KEPT)
    verify_consistency(old, size, consistency, old_root, root)
    other = bytes(32)
    with pytest.raises(ProofInvalid):
        verify_inclusion(other, index, size, proof, root)
    for at in range(len(proof)):
        with pytest.raises(ProofInvalid):
            verify_inclusion(HASHES[index], index, size, [*proof[:at], other, *proof[at + 1 :]], root)
    for at in range(len(consistency)):
        broken = [*consistency[:at], other, *consistency[at + 1 :]]
        with pytest.raises(ProofInvalid):
            verify_consistency(old, size, broken, old_root, root)
    for wrong in ([*proof, other], proof[:-1] if proof else [other]):
        with pytest.raises(ProofInvalid):
            verify_inclusion(HASHES[index], index, size, wrong, root)
    with pytest.raises(ProofInvalid):
        verify_consistency(old, size, consistency, other, root)


def test_what_cannot_be_proved_is_refused():
    for bad in ((0, 0), (3, 3), (-1, 3)):
        with pytest.raises(ValueError, match="no leaf"):
            inclusion_path(*bad)
    for bad in ((0, 3), (4, 3)):
        with pytest.raises(ValueError, match="cannot extend"):
            consistency_path(*bad)
