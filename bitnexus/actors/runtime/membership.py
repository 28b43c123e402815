"""What makes a process one of this node's: a secret that its processes inherit by fork and that is written nowhere.

The cookie is shared with clients; it does not make a process of the node. See docs/adr on the trust between them.
"""

from __future__ import annotations

import secrets

from bitnexus.actors.runtime.handshake import Keys

_SECRET_BYTES = 32
# At import, before anything can be forked; the launcher makes another for each tree.
_secret = secrets.token_bytes(_SECRET_BYTES)


def renew() -> None:
    """Make a new secret: processes forked from now on are strangers to all that were forked before."""
    global _secret  # noqa: PLW0603  # one per process, as inherited
    _secret = secrets.token_bytes(_SECRET_BYTES)


def keys(cookie: bytes) -> Keys:
    """The keys of a process of this node."""
    return Keys.derive(cookie, _secret)
