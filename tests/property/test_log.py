"""The Merkle log against RFC 6962's published vectors and a naive recursive implementation of its text."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitnexus.actors.ledger import log
from bitnexus.actors.ledger.log import Head, Tree

# The test vectors of certificate-transparency (merkletree/merkle_tree_test.cc).
LEAVES = [
    bytes.fromhex(text)
    for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
UUIDS = st.binary(min_size=16, max_size=16)


def naive_root(leaves: list[bytes]) -> bytes:
    """MTH of RFC 6962, section 2.1, word for word."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return sha256(b"\x00" + leaves[0]).digest()
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return sha256(b"\x01" + naive_root(leaves[:k]) + naive_root(leaves[k:])).digest()


@pytest.mark.parametrize("size", range(9))
def test_roots_are_those_of_the_published_vectors(size):
    tree = Tree().extend(log.leaf_hash(leaf) for leaf in LEAVES[:size])
    assert tree.root().hex() == ROOTS[size]
    assert naive_root(LEAVES[:size]).hex() == ROOTS[size]


@given(st.lists(st.lists(st.binary(max_size=40), max_size=20), max_size=12))
def test_a_tree_grown_in_any_portions_has_the_root_of_all_its_leaves(portions):
    tree, leaves = Tree(), []
    for portion in portions:
        tree = tree.extend(log.leaf_hash(leaf) for leaf in portion)
        leaves += portion
        assert tree.size == len(leaves)
        assert len(tree.peaks) == tree.size.bit_count()
        assert tree.root() == naive_root(leaves)


def test_a_tree_with_a_wrong_number_of_peaks_is_refused():
    with pytest.raises(ValueError, match="peaks"):
        Tree(3, (bytes(32),))


@given(st.lists(st.lists(st.binary(max_size=8), min_size=1, max_size=5), max_size=8))
def test_every_block_names_the_one_before_and_the_tree_after_it(blocks):
    head, leaves = Head(), []
    for number, block in enumerate(blocks, start=1):
        before = head
        head = head.extend([log.leaf_hash(leaf) for leaf in block], time_us=1_000 + number)
        leaves += block
        root = naive_root(leaves)
        material = b"".join(
            (
                number.to_bytes(8, "big"),
                before.hash,
                len(leaves).to_bytes(8, "big"),
                root,
                (1_000 + number).to_bytes(8, "big"),
            )
        )
        assert (head.height, head.root, head.hash) == (number, root, sha256(material).digest())


def test_a_transfer_s_leaf_is_laid_out_as_documented():
    leaf = log.transfer_leaf(
        5,
        2,
        1_700_000_000_000_000,
        b"T" * 16,
        b"D" * 16,
        b"C" * 16,
        1_050,
        7,
        -3,
        2**63 - 1,
        b"P" * 32,
        log.text("USD/2"),
    )
    assert leaf.hex() == (
        "01" "02" "0000000000000005" "0000000000000002" "00060a24181e4000"
        + "54" * 16 + "44" * 16 + "43" * 16
        + "000000000000041a" "00000007" "fffffffffffffffd" "7fffffffffffffff"
        + "50" * 32 + "05" "5553442f32"
    )  # fmt: skip


def test_a_refusal_s_leaf_ends_with_its_code():
    leaf = log.transfer_leaf(
        0, 1, 1, bytes(16), bytes(16), bytes(16), 1, 0, 0, 0, bytes(32), log.text("USD/2"), "exceeds_credits"
    )
    assert leaf[1] == log.KIND_REFUSAL
    assert leaf.endswith(b"\x05USD/2\x0fexceeds_credits")


def test_an_account_s_leaf_is_laid_out_as_documented():
    leaf = log.account_leaf(
        seq=1, block=1, time_us=2, account=b"A" * 16, flags=1, code=9, private=b"P" * 32, asset="EUR/2"
    )
    assert leaf.hex() == (
        "01" "01" "0000000000000001" "0000000000000001" "0000000000000002"
        + "41" * 16 + "00000001" "00000009" + "50" * 32 + "05" "4555522f32"
    )  # fmt: skip


def test_the_leaf_of_an_account_with_a_credit_limit_ends_with_it():
    fields: Any = {
        "seq": 1,
        "block": 1,
        "time_us": 2,
        "account": b"A" * 16,
        "flags": 1,
        "code": 9,
        "private": b"P" * 32,
    }
    plain, limited = log.account_leaf(**fields, asset="X/0"), log.account_leaf(**fields, asset="X/0", credit_limit=258)
    assert (plain[1], limited[1]) == (1, 4)
    assert limited[2:] == plain[2:] + bytes.fromhex("0000000000000102")


def test_the_leaf_of_a_changed_account_is_laid_out_as_documented():
    leaf = log.change_leaf(seq=1, block=1, time_us=2, account=b"A" * 16, action="close", private=b"P" * 32)
    assert leaf.hex() == (
        "01" "05" "0000000000000001" "0000000000000001" "0000000000000002" + "41" * 16 + "03" + "50" * 32
    )  # fmt: skip


@pytest.mark.parametrize("refusal", [None, "overflow"])
def test_the_leaf_of_another_kind_of_transfer_says_it_behind_the_asset(refusal):
    fields = (0, 1, 1, bytes(16), bytes(16), bytes(16), 1, 0, 0, 0, bytes(32), log.text("USD/2"))
    pending = log.other_kind("post_pending", 3, pending=b"R" * 16, reverses=bytes(16))
    assert pending.hex() == "03" + "52" * 16 + "00000003"
    assert log.other_kind("reversal", 0, pending=bytes(16), reverses=b"R" * 16).hex() == "86" + "52" * 16 + "00000000"
    plain, other = log.transfer_leaf(*fields, None), log.transfer_leaf(*fields, refusal, pending)
    assert other[1] == (6 if refusal is None else 7)
    assert other[2:] == plain[2:] + pending + (log.text(refusal) if refusal else b"")


@given(UUIDS, UUIDS, st.text(max_size=20), st.text(max_size=20))
def test_the_commitment_is_the_documented_one_with_and_without_texts(salt, user, description, metadata):
    one, two = description.encode(), metadata.encode()
    lengths = len(one).to_bytes(4, "big"), len(two).to_bytes(4, "big")
    expected = sha256(salt + user + lengths[0] + one + lengths[1] + two).digest()
    assert log.private_hash(salt, user, description, metadata) == expected
