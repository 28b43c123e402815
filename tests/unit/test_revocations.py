from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitnexus.errors import InvalidRefreshToken, Unauthorized
from bitnexus.http.refresh_tokens import RANDOM_BYTES, RefreshTokens, hash_of
from bitnexus.revocations import Revocations, Revoked
from bitnexus.tokens import AccessTokens

USER, OTHER = str(uuid.UUID(int=7)), str(uuid.UUID(int=8))
SESSIONS = [str(uuid.UUID(int=number)) for number in range(100, 108)]
TIMES = st.floats(0, 1000, allow_nan=False)


def refused(list_, session_id="", user_id=USER, issued_at=500.0):
    return list_.refuses(session_id=session_id, user_id=user_id, issued_at=issued_at)


@given(st.lists(st.tuples(st.sampled_from(SESSIONS), TIMES, TIMES), max_size=30), st.integers(1, 10), st.lists(TIMES))
def test_no_token_of_a_revoked_session_is_ever_accepted_however_short_the_list(revoked, most, looks):
    kept = Revocations(most)
    first: dict[str, tuple[float, float]] = {}
    for id_, at, lives_s in revoked:
        kept.add([Revoked(id_, at, at + lives_s)])
        first.setdefault(id_, (at, at + lives_s))
        assert len(kept) <= most
    for now in sorted(looks):
        kept.forget(now)
        for id_, (at, until) in first.items():
            if until > now:
                assert refused(kept, id_, issued_at=at)


def test_what_is_not_revoked_is_accepted_as_long_as_the_list_has_room():
    kept = Revocations(2)
    assert kept.add([Revoked(SESSIONS[0], 400, 900), Revoked(SESSIONS[1], 450, 900)]) == set(SESSIONS[:2])
    assert kept.add([Revoked(SESSIONS[0], 400, 900)]) == frozenset()
    assert not refused(kept, SESSIONS[2])
    assert not refused(kept)
    kept.add([Revoked(SESSIONS[3], 600, 900)])
    assert kept.merged_until == 400
    assert refused(kept, SESSIONS[2], issued_at=400)
    assert not refused(kept, SESSIONS[2], issued_at=401)


def test_a_verified_token_is_refused_as_soon_as_its_session_or_its_user_is_revoked():
    tokens = AccessTokens("s" * 64, 3600, clock=lambda: 500.0)
    mine = tokens.issue(USER, "user", session_id=SESSIONS[0])
    second = tokens.issue(USER, "user", session_id=SESSIONS[1])
    loose, others = tokens.issue(USER, "user"), tokens.issue(OTHER, "user", session_id=SESSIONS[2])
    for token in (mine, second, loose, others):
        tokens.verify(token)
    assert tokens.verify(mine).session_id == SESSIONS[0]
    tokens.revoke([Revoked(SESSIONS[0], 500, 4200)])
    with pytest.raises(Unauthorized, match="revoked"):
        tokens.verify(mine)
    tokens.verify(second)
    tokens.revoke([Revoked(USER, 500, 9000)])
    for token in (second, loose):
        with pytest.raises(Unauthorized, match="revoked"):
            tokens.verify(token)
    tokens.verify(others)


@given(st.sampled_from(SESSIONS), st.binary(min_size=RANDOM_BYTES, max_size=RANDOM_BYTES))
def test_a_refresh_token_leads_to_its_session_and_to_no_other_services(session_id, random):
    token = RefreshTokens("s" * 64, 60).make(session_id, random)
    assert RefreshTokens("s" * 64, 60).session_of(token) == session_id
    assert len(hash_of(token)) == 32
    with pytest.raises(InvalidRefreshToken):
        RefreshTokens("t" * 64, 60).session_of(token)


def test_a_refresh_token_made_with_an_old_secret_is_read_as_long_as_that_is_listed():
    old = RefreshTokens("t" * 64, 60).make(SESSIONS[0], bytes(RANDOM_BYTES))
    rotated = RefreshTokens("s" * 64, 60, old_secrets=("u" * 64, "t" * 64))
    assert rotated.session_of(old) == SESSIONS[0]
    renewed = rotated.make(SESSIONS[0], bytes(RANDOM_BYTES))
    assert RefreshTokens("s" * 64, 60).session_of(renewed) == SESSIONS[0]


@given(st.integers(0, 89), st.characters())
def test_a_refresh_token_that_was_changed_anywhere_is_refused(index, character):
    tokens = RefreshTokens("s" * 64, 60)
    token = tokens.make(SESSIONS[0], bytes(RANDOM_BYTES))
    changed = token[:index] + character + token[index + 1 :]
    # Unused low bits of the last character: another text, the same token, and another hash.
    if changed != token and index < len(token) - 1:
        with pytest.raises(InvalidRefreshToken):
            tokens.session_of(changed)
