"""What a client of the node takes from its environment: as little as it needs, none of the service's own secrets."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from bitnexus.config import rules
from bitnexus.config.certificates import TlsFiles
from bitnexus.config.cookie import COOKIE_FILE
from bitnexus.config.secret_file import UnsafeSecretFileError, read
from bitnexus.errors import InvalidSettings


class ClientSettings(BaseSettings):
    """The part of the environment that concerns a client; arguments of `connect` win over it."""

    model_config = SettingsConfigDict(
        frozen=True, extra="ignore", env_ignore_empty=True, case_sensitive=True, hide_input_in_errors=True
    )

    address: str | None = Field(None, validation_alias="BITNEXUS_NODE")
    token: SecretStr | None = Field(None, validation_alias="BITNEXUS_TOKEN")
    cookie: SecretStr | None = Field(None, validation_alias="BITNEXUS_COOKIE")
    data_dir: Path = Field(Path("var"), validation_alias="BITNEXUS_DATA_DIR")
    tls_cert: Path | None = Field(None, validation_alias="BITNEXUS_NODE_TLS_CERT")
    tls_key: Path | None = Field(None, validation_alias="BITNEXUS_NODE_TLS_KEY")
    tls_ca: Path | None = Field(None, validation_alias="BITNEXUS_NODE_TLS_CA")

    @model_validator(mode="after")
    def _check_tls_is_whole(self) -> Self:
        rules.all_or_none(
            BITNEXUS_NODE_TLS_CERT=self.tls_cert, BITNEXUS_NODE_TLS_KEY=self.tls_key, BITNEXUS_NODE_TLS_CA=self.tls_ca
        )
        return self

    @property
    def tls(self) -> TlsFiles | None:
        """The files of TLS; None without it."""
        if self.tls_cert is None or self.tls_key is None or self.tls_ca is None:
            return None
        return TlsFiles(self.tls_cert, self.tls_key, self.tls_ca)

    def known_cookie(self) -> bytes:
        """The cookie: ``BITNEXUS_COOKIE``, else the node's file, which a client never makes. Raises InvalidSettings."""
        if self.cookie is not None:
            return self.cookie.get_secret_value().encode()
        path = self.data_dir / COOKIE_FILE
        try:
            return read(path).encode()
        except UnsafeSecretFileError as error:
            raise InvalidSettings(f"BITNEXUS_COOKIE is not set and {error}") from error
        except OSError as error:
            raise InvalidSettings(f"BITNEXUS_COOKIE is not set and {path} cannot be read: {error.strerror}") from error


def load_client() -> ClientSettings:
    """The settings of the environment. Raises InvalidSettings."""
    try:
        return ClientSettings()
    except ValidationError as error:
        problems = [
            e["msg"].removeprefix("Value error, ") for e in error.errors(include_url=False, include_input=False)
        ]
    raise InvalidSettings("; ".join(problems))
