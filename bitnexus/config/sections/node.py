"""What a node is made of: its addresses, its database, its secrets, its processes."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import Field, SecretStr, ValidationInfo, field_validator, model_validator

from bitnexus.config import rules
from bitnexus.config.certificates import TlsFiles
from bitnexus.config.secret_file import UnsafeSecretFileError, read_or_create
from bitnexus.config.sections.base import Section, in_prod

SECRET_FILE = "secret_key_base"  # noqa: S105 - a file's name


class NodeSection(Section):
    """Where a node listens and keeps what it keeps, what proves that somebody belongs to it, and its processes."""

    host: str = Field("127.0.0.1", validation_alias="HOST", description="Address the HTTP fronts listen on.")
    port: int = Field(
        4000, ge=0, le=65535, validation_alias="PORT", description="Port of the HTTP fronts; 0 takes a free one."
    )
    # The address holds a password: kept out of repr, masked wherever it is shown. None = embedded server.
    database_url: str | None = Field(
        None,
        repr=False,
        validation_alias="DATABASE_URL",
        description="PostgreSQL (14 or newer) to use; without it an embedded server runs in the data directory.",
    )
    pool_size: int = Field(
        4, ge=1, le=100, validation_alias="POOL_SIZE", description="PostgreSQL connections of each process."
    )
    cookie: SecretStr | None = Field(
        None,
        min_length=16,
        max_length=1024,
        validation_alias="BITNEXUS_COOKIE",
        description="Secret shared by the processes of one node; without it the file data_dir/cookie.",
    )
    data_dir: Path = Field(
        Path("var"),
        validation_alias="BITNEXUS_DATA_DIR",
        description="Directory of the embedded database and of generated secrets.",
    )
    secret_key_base: SecretStr = Field(
        SecretStr(""),
        max_length=1024,
        validation_alias="SECRET_KEY_BASE",
        description="Root of the keys that sign tokens; required in prod, else made once and kept.",
    )
    secret_key_base_old: SecretStr | None = Field(
        None,
        max_length=10_000,
        validation_alias="SECRET_KEY_BASE_OLD",
        description="Earlier values of SECRET_KEY_BASE, with commas: what they signed is still accepted.",
    )
    node_tls_cert: Path | None = Field(
        None,
        validation_alias="BITNEXUS_NODE_TLS_CERT",
        description="Certificate (PEM) of this node; with key and CA, the actors' ports speak mutual TLS 1.3.",
    )
    node_tls_key: Path | None = Field(
        None, validation_alias="BITNEXUS_NODE_TLS_KEY", description="Private key (PEM) of that certificate."
    )
    node_tls_ca: Path | None = Field(
        None, validation_alias="BITNEXUS_NODE_TLS_CA", description="CA (PEM) of everybody who may connect to this node."
    )
    node_host: str = Field(
        "127.0.0.1", validation_alias="BITNEXUS_NODE_HOST", description="The one address of the actors' ports."
    )
    node_port: int = Field(
        0,
        ge=0,
        le=65535,
        validation_alias="BITNEXUS_NODE_PORT",
        description="Port of the root process, where clients come in; 0 takes a free one.",
    )
    fronts: int = Field(2, ge=1, le=256, validation_alias="BITNEXUS_FRONTS", description="HTTP front processes.")
    partitions: int = Field(
        1,
        ge=1,
        le=256,
        validation_alias="BITNEXUS_PARTITIONS",
        description="Processes that host the users' actors; one for two fronts.",
    )
    call_timeout_s: float = Field(
        10.0,
        ge=0.05,
        le=300,
        validation_alias="BITNEXUS_CALL_TIMEOUT_S",
        description="Longest wait for an actor's answer, in seconds.",
    )

    @field_validator("host")
    @classmethod
    def _check_host(cls, value: str) -> str:
        return rules.listen_host(value)

    @field_validator("database_url")
    @classmethod
    def _check_database_url(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is None:
            return None
        rules.postgres_url(value)
        return rules.unguessable_password(value) if in_prod(info) else value

    @field_validator("cookie")
    @classmethod
    def _check_cookie(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if value is not None and in_prod(info):
            rules.random_secret(value.get_secret_value(), rules.SHORTEST_PROD_COOKIE)
        return value

    @field_validator("data_dir")
    @classmethod
    def _check_data_dir(cls, value: Path, info: ValidationInfo) -> Path:
        value = value.expanduser()
        needed = info.data.get("database_url") is None or info.data.get("cookie") is None
        if in_prod(info) and needed and not value.is_absolute():
            # Else a start from another directory would quietly open another, empty ledger.
            message = "must be an absolute path in prod, unless DATABASE_URL and BITNEXUS_COOKIE are set"
            raise ValueError(message)
        # Resolved once, so that a process which changes its directory still finds it.
        return value.absolute()

    @field_validator("secret_key_base")
    @classmethod
    def _check_secret_key_base(cls, value: SecretStr, info: ValidationInfo) -> SecretStr:
        secret = value.get_secret_value()
        if in_prod(info):
            if not secret:
                message = "must be set in prod, to the same random secret on every start (openssl rand -hex 64)"
                raise ValueError(message)
            rules.random_secret(secret, rules.SHORTEST_PROD_SECRET)
        elif not secret and "profile" in info.data and "data_dir" in info.data:
            try:
                return SecretStr(read_or_create(info.data["data_dir"] / SECRET_FILE))
            except UnsafeSecretFileError as error:
                message = f"is not set and {error}"
                raise ValueError(message) from error
        return value

    @field_validator("secret_key_base_old")
    @classmethod
    def _check_old_secrets(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if value is None:
            return None
        present = info.data.get("secret_key_base", SecretStr("")).get_secret_value()
        shortest = rules.SHORTEST_PROD_SECRET if in_prod(info) else 1
        rules.old_secrets(rules.listed(value.get_secret_value()), present, shortest)
        return value

    @field_validator("node_host")
    @classmethod
    def _check_node_host(cls, value: str, info: ValidationInfo) -> str:
        rules.one_address(value)
        has_tls = info.data.get("node_tls_cert") is not None
        return rules.loopback(value) if in_prod(info) and not has_tls else value

    @field_validator("node_tls_cert", "node_tls_key", "node_tls_ca")
    @classmethod
    def _resolve(cls, value: Path | None) -> Path | None:
        return None if value is None else value.expanduser().absolute()

    @model_validator(mode="after")
    def _check_tls_is_whole(self) -> Self:
        rules.all_or_none(
            BITNEXUS_NODE_TLS_CERT=self.node_tls_cert,
            BITNEXUS_NODE_TLS_KEY=self.node_tls_key,
            BITNEXUS_NODE_TLS_CA=self.node_tls_ca,
        )
        return self

    @property
    def old_secrets(self) -> tuple[str, ...]:
        """The earlier values of `secret_key_base` whose signatures are still accepted."""
        old = self.secret_key_base_old
        return () if old is None else rules.listed(old.get_secret_value())

    @property
    def node_tls(self) -> TlsFiles | None:
        """The files of TLS between hosts; None without it."""
        if self.node_tls_cert is None or self.node_tls_key is None or self.node_tls_ca is None:
            return None
        return TlsFiles(self.node_tls_cert, self.node_tls_key, self.node_tls_ca)
