"""The settings: typed, described and bounded, from the environment and an optional file ``.env``.

The environment wins over ``.env`` in the working directory, which wins over the defaults. An empty variable
counts as not set. What may be convenient in ``dev`` and ``test`` is refused in ``prod``, by the variable's name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from pydantic import SecretStr, ValidationError
from pydantic_settings.exceptions import SettingsError

from bitnexus.config.sections.books import BooksSection
from bitnexus.config.sections.edge import EdgeSection
from bitnexus.config.sections.legacy import LegacySection
from bitnexus.config.sections.logs import LogSection
from bitnexus.config.sections.node import NodeSection
from bitnexus.errors import InvalidSettings

MASK = "********"


@dataclass(frozen=True, slots=True)
class EffectiveSetting:
    """One setting as it may be shown: secrets are masked."""

    name: str
    variable: str
    value: str | int | float | None
    given: bool  # False: the default
    description: str


# The sections' fields stand in the reverse order of the bases: those of the node first, those of the log last.
class Settings(LogSection, BooksSection, LegacySection, EdgeSection, NodeSection):
    """Everything that can be set. Immutable; ``model_copy(update={...})`` makes a changed one.

    A keyword is the field's name, an environment variable is its alias. The order of the sections matters: a rule
    sees the fields before its own.
    """

    def __init__(self, **given: Any) -> None:  # noqa: ANN401 - any field, judged by pydantic
        # By hand, not by validate_by_name: with that, pydantic-settings takes a lower-case variable `host` too.
        super().__init__(**{_variable(name): value for name, value in given.items()})

    def effective(self) -> list[EffectiveSetting]:
        """All settings in their order, as they may be shown to an operator: secrets are masked."""
        return [
            EffectiveSetting(
                name=name,
                variable=str(field.validation_alias),
                value=_shown(getattr(self, name)),
                given=name in self.model_fields_set,
                description=field.description or "",
            )
            for name, field in type(self).model_fields.items()
        ]


def load(**given: Any) -> Settings:  # noqa: ANN401 - any field, judged by pydantic
    """The settings of the environment and ``.env``; `given` (by field name) wins over both.

    Raises:
        InvalidSettings: names every variable that is wrong and the rule it breaks, never its value.
    """
    try:
        return Settings(**given)
    except ValidationError as error:
        problems = [_problem(e["loc"], e["msg"]) for e in error.errors(include_url=False, include_input=False)]
    except (SettingsError, OSError, UnicodeDecodeError) as error:
        problems = [f".env cannot be read ({type(error).__name__})"]
    # Outside of the handlers: the exception must not drag the rejected values along as its context.
    raise InvalidSettings("; ".join(problems))


_current: Settings | None = None


def get_settings() -> Settings:
    """The settings of this process, loaded at the first call and inherited by forked processes.

    Raises:
        InvalidSettings: as :func:`load`.
    """
    global _current  # noqa: PLW0603 - one per process is what this is
    if _current is None:
        _current = load()
    return _current


def use(settings: Settings | None) -> Settings | None:
    """Make `settings` those of this process and of all forked later; returns the previous ones.

    None lets the next :func:`get_settings` load them again.
    """
    global _current
    previous, _current = _current, settings
    return previous


def _variable(name: str) -> str:
    """The environment variable of a field; any other name as it is."""
    field = Settings.model_fields.get(name)
    return name if field is None else str(field.validation_alias)


def _problem(location: tuple[int | str, ...], message: str) -> str:
    sentence = message.removeprefix("Value error, ").removeprefix("Input ")
    if not location:  # a rule about several: it names them
        return sentence
    variable = _variable(str(location[0]))
    return f"{variable} {sentence[:1].lower()}{sentence[1:]}"


def _shown(value: object) -> str | int | float | None:
    if isinstance(value, SecretStr):
        return MASK
    if isinstance(value, str):
        return mask_passwords(value)
    if value is None or isinstance(value, int | float):
        return value
    return str(value)


_PASSWORD_IN_URL = re.compile(r"(?<=://)([^\s:/@?#]*):[^\s/?#]*@|(?<=[?&]password=)[^\s&#]+")


def mask_passwords(text: str) -> str:
    """`text` with the passwords of all addresses in it masked."""
    if "://" not in text:
        return text
    return _PASSWORD_IN_URL.sub(lambda found: f"{found[1]}:{MASK}@" if found[1] is not None else MASK, text)
