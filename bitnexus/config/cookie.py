"""The node's cookie: what the processes of one node prove to each other before they exchange a byte."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bitnexus.config.secret_file import UnsafeSecretFileError, read_or_create
from bitnexus.errors import InvalidSettings

if TYPE_CHECKING:
    from bitnexus.config.settings import Settings

COOKIE_FILE = "cookie"


def node_cookie(settings: Settings) -> bytes:
    """The cookie: ``BITNEXUS_COOKIE``, else the content of ``data_dir/cookie`` (made at first use, mode 0600).

    Raises:
        InvalidSettings: the file cannot be trusted or used.
    """
    if settings.cookie is not None:
        return settings.cookie.get_secret_value().encode()
    try:
        return read_or_create(settings.data_dir / COOKIE_FILE).encode()
    except UnsafeSecretFileError as error:
        message = f"BITNEXUS_COOKIE is not set and {error}"
        raise InvalidSettings(message) from error
