"""What every section of the settings builds on: how they are read, and the profile that their rules ask for."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

Profile = Literal["dev", "test", "prod"]


class Section(BaseSettings):
    """A part of the settings. A keyword is the field's name, an environment variable is its alias."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="ignore",  # .env may hold variables of other programs
        env_file=".env",
        env_ignore_empty=True,
        case_sensitive=True,
        validate_default=True,
        hide_input_in_errors=True,
    )

    profile: Profile = Field(
        "dev", validation_alias="BITNEXUS_PROFILE", description="dev, test or prod; prod refuses unsafe values."
    )

    @field_validator("profile", mode="before")
    @classmethod
    def _lower_profile(cls, value: object) -> object:
        return lower_case(value)


def in_prod(info: ValidationInfo) -> bool:
    """Whether the rules of prod hold for the settings that are being read."""
    return info.data.get("profile") == "prod"


def lower_case(value: object) -> object:
    """Words are taken in any case."""
    return value.lower() if isinstance(value, str) else value
