"""What users are made of: the rules of their fields, and how answers show them."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, StringConstraints

from bitnexus.actors.representation import timestamp
from bitnexus.http.validation import Text
from bitnexus.storage.users import User

#: One @, no spaces, a dot in the host: what is certainly no address is refused; only a letter to it proves the rest.
Email = Annotated[
    str,
    StringConstraints(
        pattern=r"^[^@\s\x00-\x20\x7f]{1,64}@[^@\s\x00-\x20\x7f]+\.[^@\s.\x00-\x20\x7f]+$", max_length=254
    ),
]
Password = Annotated[Text, Field(min_length=8, max_length=256)]
#: Bounded only: what cannot be right gets the same answer as what is wrong.
GivenPassword = Annotated[Text, Field(max_length=256)]
UserName = Annotated[Text, Field(max_length=200)]


def shown(user: User) -> dict[str, Any]:
    """A user as answers show it."""
    return {
        "id": user.id,
        "email": user.email,
        "name": user.name,
        "role": user.role,
        "inserted_at": timestamp(user.inserted_at_us),
        "updated_at": timestamp(user.updated_at_us),
    }
