"""What users are made of: the rules of their fields, and how answers show them."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import Field, StringConstraints

from bitnexus.actors.representation import timestamp
from bitnexus.http.validation import Text
from bitnexus.storage.users import User

#: No control characters and no spaces, of whatever script: written out, for readers of patterns differ about \s.
_MARK: Final = r"[^@\x00-\x20\x7f-\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ufeff]"
_LAST: Final = _MARK.replace("@", "@.")
#: One @, no spaces, a dot in the host: what is certainly no address is refused; only a letter to it proves the rest.
Email = Annotated[str, StringConstraints(pattern=rf"^{_MARK}{{1,64}}@{_MARK}+\.{_LAST}+$", max_length=254)]
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
