"""How a schema stands, and the error of one that is not as it should be."""

from __future__ import annotations

from dataclasses import dataclass

from bitnexus.errors import BitNexusError


class SchemaError(BitNexusError):
    """The schema cannot be brought to what was asked for; the message is for the operator."""

    code, title = "schema_error", "The database's schema is not as it should be"


@dataclass(frozen=True, slots=True)
class Status:
    """How the schema stands: the revision it is at (None: empty), the newest we know, and those between."""

    current: str | None
    head: str
    pending: tuple[str, ...]

    @property
    def is_current(self) -> bool:
        """True if nothing is pending."""
        return not self.pending
