"""The old service behind this one, while clients move from there."""

from __future__ import annotations

from pydantic import Field, ValidationInfo, field_validator

from bitnexus.config import legacy_routes, rules
from bitnexus.config.sections.base import Section


class LegacySection(Section):
    """What is passed on, where to, and for how long."""

    legacy_api_url: str | None = Field(
        None,
        max_length=1000,
        validation_alias="LEGACY_API_URL",
        description="Address of the service that this one replaces: it gets the routes that this one does not have.",
    )
    legacy_routes: str = Field(
        "",
        max_length=20_000,
        validation_alias="LEGACY_ROUTES",
        description="Routes that go to LEGACY_API_URL also if this service has them, with commas.",
    )
    legacy_timeout_s: float = Field(
        30.0,
        ge=0.05,
        le=300,
        validation_alias="LEGACY_TIMEOUT_S",
        description="Longest silence of the service at LEGACY_API_URL, in seconds.",
    )

    @field_validator("legacy_api_url")
    @classmethod
    def _check_legacy_api_url(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is None:
            return None
        value = rules.legacy_url(value)
        if {"host", "port"} <= info.data.keys():
            rules.another_address(value, info.data["host"], info.data["port"])
        return value

    @field_validator("legacy_routes")
    @classmethod
    def _check_legacy_routes(cls, value: str, info: ValidationInfo) -> str:
        if legacy_routes.parse(value) and info.data.get("legacy_api_url", "") is None:
            message = "needs LEGACY_API_URL, where these routes go"
            raise ValueError(message)
        return value
