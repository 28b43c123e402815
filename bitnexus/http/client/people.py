"""Sessions and users."""

from __future__ import annotations

from typing import Final, Literal, TypedDict, Unpack

from bitnexus.http.client.listing import Listing
from bitnexus.http.client.models import Session, User
from bitnexus.http.client.transport import Request, Transport

AUTH: Final = "/api/v1/auth"
USERS: Final = "/api/v1/users"
ANY: Final = "*"
ME: Final = "me"


class UserChanges(TypedDict, total=False):
    """What may change of a user; who changes the own password shows the present one."""

    email: str
    name: str
    password: str
    current_password: str


class Auth:
    """Registration and sessions. What a login gives is used by the client from then on, and renewed by itself."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def register(self, email: str, password: str, *, name: str = "") -> User:
        """A new user with an account. Sent once: see whether a login works before it is repeated.

        Raises:
            Refused, InvalidFields, Conflict: the email is taken, or something is not as it must be.
        """
        body = {"user": {"email": email, "password": password, "name": name}}
        answer = await self._transport.send(
            Request(method="POST", path=f"{AUTH}/register", body=body, with_token=False)
        )
        return answer.data(User)

    async def login(self, email: str, password: str) -> Session:
        """Begin a session.

        Raises:
            Unauthenticated: there is no such user, or the password is wrong.
        """
        body = {"user": {"email": email, "password": password}}
        request = Request(method="POST", path=f"{AUTH}/login", body=body, with_token=False, is_safe=True)
        session = (await self._transport.send(request)).data(Session)
        self._transport.tokens.take(session)
        return session

    async def refresh(self) -> Session:
        """Fresh tokens; the client does this by itself when a token has expired. See Transport.refresh."""
        return await self._transport.refresh()

    async def logout(self) -> None:
        """End the session, everywhere; nothing if there is none."""
        now = self._transport.tokens.now
        if now is None:
            return
        body = {"session": {"refresh_token": now.refresh_token}} if now.refresh_token else None
        request = Request(method="POST", path=f"{AUTH}/logout", body=body, with_token=body is None, is_safe=True)
        await self._transport.send(request)
        self._transport.tokens.forget()


class Users:
    """Users: oneself; any of them for an admin."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self, *, limit: int = 50) -> Listing[User]:
        """All users, newest first (admins)."""
        return Listing(self._transport, USERS, User, {"limit": limit})

    async def me(self) -> User:
        """The user of the token."""
        return await self.get(ME)

    async def get(self, user_id: str) -> User:
        """One user."""
        answer = await self._transport.send(Request(method="GET", path=f"{USERS}/{user_id}", is_safe=True))
        return answer.data(User, etag=answer.known["etag"])

    async def create(
        self, email: str, password: str, *, name: str = "", role: Literal["user", "service", "admin"] = "user"
    ) -> User:
        """A new user of any role (admins). Sent once, as a registration."""
        body = {"user": {"email": email, "password": password, "name": name, "role": role}}
        answer = await self._transport.send(Request(method="POST", path=USERS, body=body))
        return answer.data(User, etag=answer.known["etag"])

    async def update(self, user_id: str = ME, *, etag: str = ANY, **changes: Unpack[UserChanges]) -> User:
        """Change `email`, `name` or `password` (one's own with `current_password`), if `etag` is still the user's.

        A new password ends all sessions of the user, this one too.

        Raises:
            PreconditionFailed, InvalidFields, Conflict: nothing was changed.
        """
        request = Request(method="PATCH", path=f"{USERS}/{user_id}", body={"user": changes}, headers={"If-Match": etag})
        answer = await self._transport.send(request)
        return answer.data(User, etag=answer.known["etag"])

    async def delete(self, user_id: str, *, etag: str = ANY) -> None:
        """Delete a user whose accounts are empty; for admins.

        Raises:
            Forbidden: for others.
            Conflict: they are not.
        """
        await self._transport.send(Request(method="DELETE", path=f"{USERS}/{user_id}", headers={"If-Match": etag}))
