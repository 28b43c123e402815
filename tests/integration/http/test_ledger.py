"""An outsider, with public programs alone, verifies what the service hands out."""

from __future__ import annotations

import asyncio
import random
import uuid
from base64 import b64decode
from hashlib import sha256

import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from rekor_verifier.merkle_proof import DEFAULT_HASHER, verify_consistency, verify_inclusion

pytestmark = pytest.mark.asyncio(loop_scope="session")

PATH = "/api/v1/ledger"


@pytest_asyncio.fixture(loop_scope="session")
async def transfers(service):
    ann, ben = await service.register(), await service.register()
    await service.fund(ann, 1_000)
    answers = await asyncio.gather(*(service.transfer(ann, ben, 1) for _ in range(20)))
    return ann, [answer["data"] for _, answer, _ in answers]


async def text(service, path: str) -> str:
    async with service.session.get(f"{PATH}/{path}") as response:
        assert response.status == 200
        assert response.content_type == "text/plain"
        return await response.text()


def opened(note: str, key: str) -> tuple[int, str]:
    """Size and root of a note, verified with nothing but `cryptography` and the format's description."""
    name, key_id, encoded = key.strip().split("+", 2)
    body, signatures = note.split("\n\n")
    signed_by, blob = signatures.removeprefix("— ").strip().split(" ")
    raw = b64decode(blob)
    assert (signed_by, raw[:4].hex()) == (name, key_id)
    Ed25519PublicKey.from_public_bytes(b64decode(encoded)[1:]).verify(raw[4:], f"{body}\n".encode())
    origin, size, root = body.split("\n")
    assert origin == name
    return int(size), b64decode(root).hex()


async def test_a_transfer_is_proved_to_be_in_the_signed_tree(service, transfers):
    ann, made = transfers
    key = await text(service, "key")
    for transfer in random.sample(made, 5):
        status, answer, _ = await service.call("GET", f"/api/v1/transactions/{transfer['id']}/proof", user=ann)
        shown = answer["data"]
        assert (status, shown["index"]) == (200, transfer["seq"])
        size, root = opened(shown["checkpoint"], key)
        leaf = bytes.fromhex(shown["leaf"])
        assert leaf[26:42] == uuid.UUID(transfer["id"]).bytes
        assert int.from_bytes(leaf[74:82], "big") == 1
        leaf_hash = sha256(b"\x00" + leaf).hexdigest()
        verify_inclusion(DEFAULT_HASHER, shown["index"], size, leaf_hash, shown["proof"], root)


async def test_a_tlog_proof_is_verified_offline_with_the_key_alone(service, transfers):
    ann, made = transfers
    key = await text(service, "key")
    for transfer in random.sample(made, 5):
        url = f"/api/v1/transactions/{transfer['id']}/tlog-proof"
        async with service.session.get(url, headers=ann.headers) as response:
            assert (response.status, response.content_type) == (200, "text/plain")
            shown = await response.text()
        # By the description of the format: a head, hashes, an empty line, and the checkpoint as it is.
        head, note = shown.split("\n\n", 1)
        form, extra, index, *hashes = head.split("\n")
        assert (form, index) == ("c2sp.org/tlog-proof@v1", f"index {transfer['seq']}")
        leaf = b64decode(extra.removeprefix("extra "), validate=True)
        assert leaf[26:42] == uuid.UUID(transfer["id"]).bytes
        size, root = opened(note, key)
        proof = [b64decode(each, validate=True).hex() for each in hashes]
        verify_inclusion(DEFAULT_HASHER, transfer["seq"], size, sha256(b"\x00" + leaf).hexdigest(), proof, root)
    other = await service.register()
    assert (await service.call("GET", url, user=other))[0] == 404


async def test_a_proof_is_shown_to_those_who_see_the_transfer_alone(service, transfers):
    _, made = transfers
    other = await service.register()
    for id_ in (made[0]["id"], str(uuid.uuid4()), "x"):
        status, _, _ = await service.call("GET", f"/api/v1/transactions/{id_}/proof", user=other)
        assert status == 404


async def test_a_newer_checkpoint_extends_an_older_one(service, transfers):
    ann, _ = transfers
    key = await text(service, "key")
    old, old_root = opened(await text(service, "checkpoint"), key)
    await service.transfer(ann, await service.register(), 1)
    new, new_root = opened(await text(service, "checkpoint"), key)
    assert new > old
    status, answer, _ = await service.call("GET", f"{PATH}/consistency?old={old}&new={new}")
    assert status == 200
    verify_consistency(DEFAULT_HASHER, old, new, answer["data"]["proof"], old_root, new_root)
    for query, expected in (
        (f"old={new}&new={old}", 422),
        ("old=0&new=1", 422),
        (f"old=1&new={10**9}", 404),
        ("", 422),
    ):
        status, _, _ = await service.call("GET", f"{PATH}/consistency?{query}")
        assert status == expected, query


async def leaf_hashes(service, size: int) -> list[bytes]:
    """Those of the first `size` events, from the tiles."""
    hashes: list[bytes] = []
    for first in range(0, size, 256):
        width = min(256, size - first)
        path = f"tile/0/{first // 256:03}" + (f".p/{width}" if width < 256 else "")
        async with service.session.get(f"{PATH}/{path}") as response:
            assert (response.status, response.content_type) == (200, "application/octet-stream")
            body = await response.read()
        assert len(body) == 32 * width
        hashes += [body[at : at + 32] for at in range(0, len(body), 32)]
    return hashes


async def test_the_tree_is_rebuilt_from_its_tiles(service, transfers):
    size, root = opened(await text(service, "checkpoint"), await text(service, "key"))
    assert merkle_root(await leaf_hashes(service, size)).hex() == root


async def test_trees_of_any_two_sizes_are_proved_to_extend_each_other(service, transfers):
    size, _ = opened(await text(service, "checkpoint"), await text(service, "key"))
    hashes = await leaf_hashes(service, size)
    for _ in range(10):
        old, new = sorted(random.sample(range(1, size + 1), 2))
        status, answer, _ = await service.call("GET", f"{PATH}/consistency?old={old}&new={new}")
        assert status == 200
        roots = [merkle_root(hashes[:each]).hex() for each in (old, new)]
        verify_consistency(DEFAULT_HASHER, old, new, answer["data"]["proof"], *roots)


@pytest.mark.parametrize(
    "tile", ["0/x001/x234/067", "0/999", "9/000", "0/000.p/256", "0/000.p/0", "0/1", "0/000.p/999", "0/a"]
)
async def test_a_tile_that_is_not_there_is_not_found(service, transfers, tile):
    status, _, _ = await service.call("GET", f"{PATH}/tile/{tile}")
    assert status == 404


def merkle_root(hashes: list[bytes]) -> bytes:
    if len(hashes) == 1:
        return hashes[0]
    k = 1 << (len(hashes) - 1).bit_length() - 1
    return sha256(b"\x01" + merkle_root(hashes[:k]) + merkle_root(hashes[k:])).digest()
