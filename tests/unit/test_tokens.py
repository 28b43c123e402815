from __future__ import annotations

import base64
import json
import uuid

import jwt
import pytest

from bitnexus.errors import Unauthorized
from bitnexus.keys import derive_key, key_id
from bitnexus.principal import Principal
from bitnexus.tokens import AUDIENCE, ISSUER, AccessTokens

SECRET = "s" * 64
KEY = derive_key(SECRET, "access-token")
USER = str(uuid.UUID(int=7))


class Clock:
    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def tokens(clock):
    return AccessTokens(SECRET, 3600, clock=clock)


def claims(clock, **changes):
    now = int(clock())
    made = {"iss": ISSUER, "aud": AUDIENCE, "sub": USER, "role": "user", "iat": now, "exp": now + 60, **changes}
    return {name: value for name, value in made.items() if value is not None}


def signed(payload, *, key=KEY, algorithm="HS256", kid=None):
    return jwt.encode(payload, key, algorithm=algorithm, headers={"kid": kid or key_id(KEY)})


def test_an_issued_token_is_verified_as_its_user(tokens, clock):
    assert tokens.verify(tokens.issue(USER, "admin")) == Principal(USER, "admin", clock.now + 3600)


def test_a_token_of_another_instance_with_the_same_secret_is_accepted(tokens, clock):
    assert AccessTokens(SECRET, 60, clock=clock).verify(tokens.issue(USER, "user")).user_id == USER


def test_a_token_of_an_old_key_is_accepted_as_long_as_the_key_is_listed(clock):
    old_token = AccessTokens("o" * 64, 3600, clock=clock).issue(USER, "admin")
    older_token = AccessTokens("p" * 64, 3600, clock=clock).issue(USER, "user")
    rotated = AccessTokens(SECRET, 3600, old_secrets=("o" * 64, "p" * 64), clock=clock)
    assert rotated.verify(old_token) == Principal(USER, "admin", clock.now + 3600)
    assert rotated.verify(older_token).role == "user"
    retired = AccessTokens(SECRET, 3600, old_secrets=("p" * 64,), clock=clock)
    assert retired.verify(older_token).role == "user"
    with pytest.raises(Unauthorized):
        retired.verify(old_token)


def test_what_is_made_during_a_rotation_is_made_with_the_new_key(clock):
    rotated = AccessTokens(SECRET, 3600, old_secrets=("o" * 64,), clock=clock)
    token = rotated.issue(USER, "user")
    assert jwt.get_unverified_header(token)["kid"] == key_id(KEY)
    assert AccessTokens(SECRET, 60, clock=clock).verify(token).user_id == USER
    with pytest.raises(Unauthorized):
        AccessTokens("o" * 64, 60, clock=clock).verify(token)


def test_a_kid_does_not_lend_one_key_to_the_signature_of_another(clock):
    rotated = AccessTokens(SECRET, 3600, old_secrets=("o" * 64,), clock=clock)
    old_key = derive_key("o" * 64, "access-token")
    with pytest.raises(Unauthorized):
        rotated.verify(signed(claims(clock), key=old_key))
    assert rotated.verify(signed(claims(clock), key=old_key, kid=key_id(old_key))).user_id == USER


def test_peers_prove_tokens_of_old_keys_too(clock):
    old_token = AccessTokens("o" * 64, 3600, clock=clock).issue(USER, "user")
    rotated = AccessTokens(SECRET, 3600, old_secrets=("o" * 64,), clock=clock)
    assert rotated.complete(old_token.rpartition(".")[0]) == old_token


def test_a_token_ends_when_its_time_is_over_even_if_it_is_remembered(tokens, clock):
    token = tokens.issue(USER, "user")
    tokens.verify(token)
    clock.now += 3599
    tokens.verify(token)
    clock.now += 1
    with pytest.raises(Unauthorized, match="expired"):
        tokens.verify(token)
    with pytest.raises(Unauthorized, match="expired"):
        tokens.verify(token)


def test_remembered_tokens_are_bounded_and_the_least_used_goes(clock):
    tokens = AccessTokens(SECRET, 60, clock=clock, cache_size=2)
    first, second, third = (tokens.issue(USER, "user") for _ in range(3))
    tokens.verify(first)
    tokens.verify(second)
    tokens.verify(first)
    tokens.verify(third)
    assert list(tokens._cache) == [first, third]


@pytest.mark.parametrize("algorithm", ["HS384", "HS512"])
def test_another_algorithm_with_the_right_key_is_refused(tokens, clock, algorithm):
    with pytest.raises(Unauthorized), pytest.warns(jwt.InsecureKeyLengthWarning):
        tokens.verify(signed(claims(clock), algorithm=algorithm))


def test_an_unsigned_token_is_refused(tokens, clock):
    with pytest.raises(Unauthorized):
        tokens.verify(jwt.encode(claims(clock), "", algorithm="none", headers={"kid": key_id(KEY)}))


def test_another_key_is_refused(tokens, clock):
    with pytest.raises(Unauthorized):
        tokens.verify(signed(claims(clock), key=derive_key("other" * 10, "access-token")))


def test_the_key_of_another_purpose_is_refused(tokens, clock):
    with pytest.raises(Unauthorized):
        tokens.verify(signed(claims(clock), key=derive_key(SECRET, "cursor")))


def test_an_unknown_kid_is_refused(tokens, clock):
    with pytest.raises(Unauthorized):
        tokens.verify(signed(claims(clock), kid="0" * 12))


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": "other"},
        {"iss": "other"},
        {"sub": "not-a-uuid"},
        {"sub": None},
        {"exp": None},
        {"iat": None},
        {"role": "root"},
        {"role": None},
        {"role": ["admin"]},
        {"exp": 9e99},
        {"exp": True},
    ],
)
def test_wrong_claims_are_refused(tokens, clock, changes):
    with pytest.raises(Unauthorized):
        tokens.verify(signed(claims(clock, **changes)))


@pytest.mark.parametrize("token", ["", "a", "a.b.c", "..", "x" * 5000, "é.é.é", "[" * 2000])
def test_garbage_is_refused(tokens, token):
    with pytest.raises(Unauthorized):
        tokens.verify(token)


def test_a_changed_role_breaks_the_signature(tokens):
    head, body, signature = tokens.issue(USER, "user").split(".")
    payload = json.loads(base64.urlsafe_b64decode(body + "=="))
    payload["role"] = "admin"
    forged = base64.urlsafe_b64encode(json.dumps(payload).encode()).rstrip(b"=").decode()
    with pytest.raises(Unauthorized):
        tokens.verify(f"{head}.{forged}.{signature}")
