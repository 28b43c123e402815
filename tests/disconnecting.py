"""What an operator's program does to have a user's channel connections closed."""

from __future__ import annotations

import uuid

import pytest

import bitnexus
from bitnexus.http.channels.messages import Disconnected, DisconnectUser
from bitnexus.tokens import AccessTokens
from tests.service import Service, User


async def disconnect(service: Service, user: User, *, role: str = "admin") -> int:
    """Have every front close the user's connections; how many there were."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("BITNEXUS_DATA_DIR", service.environment["BITNEXUS_DATA_DIR"])
        token = AccessTokens(service.environment["SECRET_KEY_BASE"], 600).issue(str(uuid.uuid4()), role)
        async with bitnexus.connect(token=token) as node:
            answer = await node.call("http-0", DisconnectUser(user.id))
    assert isinstance(answer, Disconnected)
    return answer.count
