"""The books: the ledger's asset, log and block, and the users' actors before it."""

from __future__ import annotations

import re

from pydantic import Field, SecretStr, field_validator

from bitnexus.config import rules
from bitnexus.config.sections.base import Section


class BooksSection(Section):
    """What the ledger signs with, and how much it and the users' actors keep in memory."""

    default_asset: str = Field(
        "USD/2",
        validation_alias="BITNEXUS_DEFAULT_ASSET",
        description="Asset of a new user's first account: a code and the number of decimals.",
    )
    log_origin: str = Field(
        "bitnexus.localhost/ledger",
        pattern=r"^[!-*,-~]{1,100}$",
        validation_alias="BITNEXUS_LOG_ORIGIN",
        description="Name of this ledger's log in its signed checkpoints, as a URL without scheme; never change it.",
    )
    ledger_key: SecretStr | None = Field(
        None,
        validation_alias="BITNEXUS_LEDGER_KEY",
        description="Ed25519 key of checkpoints, 64 hexadecimal digits; without it the file data_dir/ledger_key.",
    )
    max_block: int = Field(
        8192, ge=1, le=65_536, validation_alias="BITNEXUS_MAX_BLOCK", description="Most transfers in one block."
    )
    balance_cache: int = Field(
        100_000,
        ge=1,
        le=50_000_000,
        validation_alias="BITNEXUS_BALANCE_CACHE",
        description="Accounts whose balances the ledger keeps in memory.",
    )
    user_idle_s: float = Field(
        300.0,
        ge=0.01,
        le=86_400,
        validation_alias="BITNEXUS_USER_IDLE_S",
        description="Idle time after which a user's actor is passivated, in seconds.",
    )
    max_active_users: int = Field(
        250_000,
        ge=1,
        le=5_000_000,
        validation_alias="BITNEXUS_MAX_ACTIVE_USERS",
        description="Users active at once in one partition, about 0.5 KB each; the one idle longest makes room.",
    )
    max_in_flight_per_user: int = Field(
        64,
        ge=1,
        le=10_000,
        validation_alias="BITNEXUS_MAX_IN_FLIGHT",
        description="Commands of one user in flight; more are refused.",
    )

    @field_validator("default_asset")
    @classmethod
    def _check_default_asset(cls, value: str) -> str:
        return rules.asset(value)

    @field_validator("ledger_key")
    @classmethod
    def _check_ledger_key(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not re.fullmatch("[0-9a-fA-F]{64}", value.get_secret_value()):
            message = "must be 64 hexadecimal digits"
            raise ValueError(message)
        return value
