"""The key that signs the ledger's checkpoints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bitnexus.config.secret_file import UnsafeSecretFileError, read_or_create
from bitnexus.errors import InvalidSettings

if TYPE_CHECKING:
    from bitnexus.config.settings import Settings

KEY_FILE = "ledger_key"


def ledger_key(settings: Settings) -> bytes:
    """The 32 bytes of ``BITNEXUS_LEDGER_KEY``, else of ``data_dir/ledger_key`` (made at first use, mode 0600).

    Raises:
        InvalidSettings: the file cannot be trusted or used.
    """
    if settings.ledger_key is not None:
        return bytes.fromhex(settings.ledger_key.get_secret_value())
    try:
        seed = bytes.fromhex(read_or_create(settings.data_dir / KEY_FILE))
    except (UnsafeSecretFileError, ValueError) as error:
        message = f"BITNEXUS_LEDGER_KEY is not set and {error}"
        raise InvalidSettings(message) from error
    if len(seed) != 32:  # noqa: PLR2004 - of Ed25519
        message = f"BITNEXUS_LEDGER_KEY is not set and {KEY_FILE} does not hold 64 hexadecimal digits"
        raise InvalidSettings(message)
    return seed
