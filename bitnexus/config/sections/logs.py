"""What is written to the log, and how."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from bitnexus.config.sections.base import Section, lower_case

LogLevel = Literal["debug", "info", "warning", "error"]
LogFormat = Literal["auto", "console", "json"]


class LogSection(Section):
    """The log's level and form."""

    log_level: LogLevel = Field(
        "info", validation_alias="BITNEXUS_LOG_LEVEL", description="Least level written: debug, info, warning, error."
    )
    log_format: LogFormat = Field(
        "auto",
        validation_alias="BITNEXUS_LOG_FORMAT",
        description="console, json, or auto: console on a terminal, JSON lines otherwise.",
    )

    @field_validator("log_level", "log_format", mode="before")
    @classmethod
    def _lower_case(cls, value: object) -> object:
        return lower_case(value)
