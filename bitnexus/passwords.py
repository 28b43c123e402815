"""Passwords: hashed by argon2id, verified in the same time whether the user exists or not.

Both functions take some tens of milliseconds of one core and 19 MiB: call them in a thread, and bound how many run.
"""

from __future__ import annotations

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError

#: OWASP's second recommendation for argon2id: several of these must run at once beside the service.
_HASHER = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1, hash_len=32, salt_len=16)

#: The hash, by the parameters above, of a random password that nobody kept.
DUMMY_HASH = "$argon2id$v=19$m=19456,t=2,p=1$DpXKjKtTe5muYTHg+aV88w$JANo8+97jYPod4bnVyMGmMmnP74RE03WzyYGAEvI+EA"


def hash_password(password: str) -> str:
    """The hash of a password with a new salt, in PHC string format."""
    return _HASHER.hash(password)


def verify_password(password: str, password_hash: str | None) -> tuple[bool, bool]:
    """Whether the password fits the hash, and if so, whether it should be hashed anew (the parameters have changed).

    None stands for an unknown user: as much work is done, and nothing fits.

    Raises:
        ValueError: the hash is damaged.
    """
    try:
        _HASHER.verify(DUMMY_HASH if password_hash is None else password_hash, password)
    except VerifyMismatchError:
        return False, False
    except (InvalidHashError, VerificationError) as error:
        raise ValueError("not an argon2 hash") from error
    if password_hash is None:
        return False, False
    return True, _HASHER.check_needs_rehash(password_hash)
