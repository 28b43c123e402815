"""Access tokens: short-lived JWTs, signed with HS256 and nothing else.

A verified token is remembered until it expires, so that a client's second request costs one dictionary look-up
instead of a JSON parse and a signature. What is revoked is forgotten, and judged anew when it comes again: the look-up
costs no more for that.
"""

from __future__ import annotations

import base64
import hmac
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import jwt

from bitnexus.errors import Unauthorized
from bitnexus.keys import derive_keys, key_id
from bitnexus.principal import ROLES, Principal
from bitnexus.revocations import Revocations, Revoked

ISSUER: Final = "bitnexus"
AUDIENCE: Final = "bitnexus-api"
ALGORITHM: Final = "HS256"
MAX_TOKEN_CHARS: Final = 2048
CACHE_SIZE: Final = 10_000  # about 10 MB of tokens at most


class AccessTokens:
    """Issues and verifies access tokens; `clock` gives seconds since 1970.

    They are signed with the key of `secret_key_base`, which each names (`kid`); those that were signed with the keys of
    `old_secrets` are good as well, until their time is over.
    """

    def __init__(
        self,
        secret_key_base: str,
        ttl_s: int,
        *,
        old_secrets: Sequence[str] = (),
        clock: Callable[[], float] = time.time,
        cache_size: int = CACHE_SIZE,
    ) -> None:
        keys = derive_keys(secret_key_base, old_secrets, "access-token")
        self._kid = key_id(keys[0])
        self._keys = {key_id(key): key for key in keys}
        self.ttl_s = ttl_s
        self._clock = clock
        self._cache: OrderedDict[str, Principal] = OrderedDict()
        self._cache_size = cache_size
        self._revocations = Revocations()

    def issue(self, user_id: str, role: str, *, ttl_s: int | None = None, session_id: str = "") -> str:
        """A token for the user, valid for `ttl_s` (else this issuer's) seconds from now, or as long as the session."""
        now = int(self._clock())
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": user_id,
            "role": role,
            "iat": now,
            "exp": now + (self.ttl_s if ttl_s is None else ttl_s),
            "jti": uuid.uuid4().hex,
        }
        if session_id:
            claims["sid"] = session_id
        return jwt.encode(claims, self._keys[self._kid], algorithm=ALGORITHM, headers={"kid": self._kid})

    def complete(self, unsigned: str) -> str:
        """The token with the header and payload `unsigned`, signed: for peers that prove it, not show it.

        It must go nowhere else, and whoever named `unsigned` is nobody until it has proved that it has the signature.

        Raises:
            Unauthorized: malformed, or not of a key of this service.
        """
        if len(unsigned) > MAX_TOKEN_CHARS:
            raise Unauthorized("The access token is not valid")
        try:
            kid = jwt.get_unverified_header(unsigned + ".").get("kid")
        except (jwt.InvalidTokenError, ValueError, RecursionError) as error:
            raise Unauthorized("The access token is not valid") from error
        key = self._keys.get(kid) if isinstance(kid, str) else None
        if key is None:
            raise Unauthorized("The access token is not valid")
        signature = hmac.digest(key, unsigned.encode(), "sha256")
        return f"{unsigned}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"

    def verify(self, token: str) -> Principal:
        """The principal that the token vouches for.

        Raises:
            Unauthorized: unsigned, signed by another key or algorithm, for somebody else, malformed, expired, revoked.
        """
        principal = self._cache.get(token)
        if principal is None:
            principal = self._decode(token)
            self._remember(token, principal)
        else:
            self._cache.move_to_end(token)
        if principal.expires_at <= self._clock():
            self._cache.pop(token, None)
            raise Unauthorized("The access token has expired")
        return principal

    def revoke(self, revoked: Iterable[Revoked]) -> frozenset[str]:
        """Refuse the tokens of these sessions and users from now on; the ids of those that were not refused before."""
        merged_until = self._revocations.merged_until
        self._revocations.forget(self._clock())
        new = self._revocations.add(revoked)
        if self._revocations.merged_until > merged_until:
            self._cache.clear()
        elif new:
            for token, principal in tuple(self._cache.items()):
                if principal.session_id in new or principal.user_id in new:
                    del self._cache[token]
        return new

    def _remember(self, token: str, principal: Principal) -> None:
        self._cache[token] = principal
        if len(self._cache) > self._cache_size:
            self._cache.popitem(last=False)

    def _decode(self, token: str) -> Principal:
        if len(token) > MAX_TOKEN_CHARS:
            raise Unauthorized("The access token is not valid")
        try:
            kid = jwt.get_unverified_header(token).get("kid")
            key = self._keys.get(kid) if isinstance(kid, str) else None
            if key is None:
                raise Unauthorized("The access token is not valid")
            claims = jwt.decode(
                token,
                key,
                algorithms=[ALGORITHM],
                issuer=ISSUER,
                audience=AUDIENCE,
                # The times are checked against `clock` by verify(), on the cached path as on this one.
                options={
                    "require": ["iss", "aud", "sub", "iat", "exp"],
                    "verify_exp": False,
                    "verify_iat": False,
                    "verify_nbf": False,
                },
            )
            expires_at = claims["exp"]
            role = claims.get("role")
            if type(expires_at) is not int or not isinstance(role, str) or role not in ROLES:
                raise Unauthorized("The access token is not valid")
            user_id, session_id, issued_at = str(uuid.UUID(claims["sub"])), claims.get("sid", ""), claims["iat"]
            if not isinstance(session_id, str) or not isinstance(issued_at, int | float):
                raise Unauthorized("The access token is not valid")
            if self._revocations.refuses(session_id=session_id, user_id=user_id, issued_at=issued_at):
                raise Unauthorized("The access token was revoked")
            return Principal(user_id, role, expires_at, session_id)
        except (jwt.InvalidTokenError, ValueError, RecursionError) as error:
            raise Unauthorized("The access token is not valid") from error
