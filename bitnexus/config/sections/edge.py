"""What strangers meet: tokens, limits, proxies, other sites' pages, webhooks."""

from __future__ import annotations

from pydantic import Field, field_validator

from bitnexus.config import rules
from bitnexus.config.sections.base import Section


class EdgeSection(Section):
    """How long tokens live, how much anybody may ask for, and whom a front believes."""

    access_token_ttl_s: int = Field(
        900,
        ge=1,
        le=86_400,
        validation_alias="BITNEXUS_ACCESS_TOKEN_TTL_S",
        description="Life of an access token, in seconds.",
    )
    refresh_token_ttl_s: int = Field(
        30 * 86_400,
        ge=1,
        le=366 * 86_400,
        validation_alias="BITNEXUS_REFRESH_TOKEN_TTL_S",
        description="How long a session may be silent until its user must log in again, in seconds.",
    )
    rate_limits: bool = Field(
        True,  # noqa: FBT003 - the default
        validation_alias="BITNEXUS_RATE_LIMITS",
        description="false: nobody is limited, for load tests.",
    )
    rate_limit_user: int = Field(
        1000,
        ge=0,
        le=1_000_000,
        validation_alias="BITNEXUS_RATE_LIMIT_USER",
        description="Requests a second of one user at one front, ten seconds' worth at once; 0: no limit.",
    )
    rate_limit_address: int = Field(
        200,
        ge=0,
        le=1_000_000,
        validation_alias="BITNEXUS_RATE_LIMIT_ADDRESS",
        description="Requests a second without a valid token from one address at one front; 0: no limit.",
    )
    login_limit_account: int = Field(
        10,
        ge=0,
        le=1_000_000,
        validation_alias="BITNEXUS_LOGIN_LIMIT_ACCOUNT",
        description="Failed logins a minute for one email at one front; 0: no limit.",
    )
    login_limit_address: int = Field(
        60,
        ge=0,
        le=1_000_000,
        validation_alias="BITNEXUS_LOGIN_LIMIT_ADDRESS",
        description="Failed logins a minute from one address at one front; 0: no limit.",
    )
    register_limit_address: int = Field(
        300,
        ge=0,
        le=1_000_000,
        validation_alias="BITNEXUS_REGISTER_LIMIT_ADDRESS",
        description="Registrations a minute from one address at one front; 0: no limit.",
    )
    trusted_proxies: str = Field(
        "",
        max_length=10_000,
        validation_alias="BITNEXUS_TRUSTED_PROXIES",
        description="Networks of proxies, with commas, whose X-Forwarded-For tells the client's address.",
    )
    cors_origins: str = Field(
        "",
        max_length=10_000,
        validation_alias="BITNEXUS_CORS_ORIGINS",
        description="Origins of other sites' pages, with commas, that may use the API from browsers; none otherwise.",
    )
    webhook_private: bool | None = Field(
        None,
        validation_alias="BITNEXUS_WEBHOOK_PRIVATE",
        description="true: webhooks may lead to private addresses, and over http; by default everywhere but in prod.",
    )
    webhook_attempts: int = Field(
        8,
        ge=1,
        le=100,
        validation_alias="BITNEXUS_WEBHOOK_ATTEMPTS",
        description="How often a receiver may refuse an event until it becomes a dead letter.",
    )
    max_requests: int = Field(
        2048,
        ge=1,
        le=1_000_000,
        validation_alias="BITNEXUS_MAX_REQUESTS",
        description="Requests under way in one front; more are refused with 503.",
    )
    max_connections: int = Field(
        10_000,
        ge=1,
        le=1_000_000,
        validation_alias="BITNEXUS_MAX_CONNECTIONS",
        description="Connections of one front; more are refused with 503.",
    )
    docs: bool = Field(
        True,  # noqa: FBT003 - the default
        validation_alias="BITNEXUS_DOCS",
        description="false: neither /docs nor /api/openapi.json.",
    )

    @field_validator("trusted_proxies")
    @classmethod
    def _check_trusted_proxies(cls, value: str) -> str:
        return rules.networks(value)

    @field_validator("cors_origins")
    @classmethod
    def _check_cors_origins(cls, value: str) -> str:
        return rules.origins(value)

    @property
    def webhooks_may_be_private(self) -> bool:
        """Whether webhooks may lead into networks that are not public."""
        return self.profile != "prod" if self.webhook_private is None else self.webhook_private
