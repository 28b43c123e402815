"""The settings: typed, described and bounded, from the environment and an optional file ``.env``.

The environment wins over ``.env`` in the working directory, which wins over the defaults. An empty variable
counts as not set. What may be convenient in ``dev`` and ``test`` is refused in ``prod``, by the variable's name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from pydantic_settings.exceptions import SettingsError

from bitnexus.config import legacy_routes, rules
from bitnexus.config.certificates import TlsFiles
from bitnexus.config.secret_file import UnsafeSecretFileError, read_or_create
from bitnexus.errors import InvalidSettings

SECRET_FILE = "secret_key_base"  # noqa: S105 - a file's name
MASK = "********"

Profile = Literal["dev", "test", "prod"]
LogLevel = Literal["debug", "info", "warning", "error"]
LogFormat = Literal["auto", "console", "json"]


@dataclass(frozen=True, slots=True)
class EffectiveSetting:
    """One setting as it may be shown: secrets are masked."""

    name: str
    variable: str
    value: str | int | float | None
    given: bool  # False: the default
    description: str


class Settings(BaseSettings):
    """Everything that can be set. Immutable; ``model_copy(update={...})`` makes a changed one.

    A keyword is the field's name, an environment variable is its alias. The order of the fields matters:
    a rule sees the fields before its own.
    """

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
    default_asset: str = Field(
        "USD/2",
        validation_alias="BITNEXUS_DEFAULT_ASSET",
        description="Asset of a new user's first account: a code and the number of decimals.",
    )
    call_timeout_s: float = Field(
        10.0,
        ge=0.05,
        le=300,
        validation_alias="BITNEXUS_CALL_TIMEOUT_S",
        description="Longest wait for an actor's answer, in seconds.",
    )
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
    log_level: LogLevel = Field(
        "info", validation_alias="BITNEXUS_LOG_LEVEL", description="Least level written: debug, info, warning, error."
    )
    log_format: LogFormat = Field(
        "auto",
        validation_alias="BITNEXUS_LOG_FORMAT",
        description="console, json, or auto: console on a terminal, JSON lines otherwise.",
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

    def __init__(self, **given: Any) -> None:  # noqa: ANN401 - any field, judged by pydantic
        # By hand, not by validate_by_name: with that, pydantic-settings takes a lower-case variable `host` too.
        super().__init__(**{_variable(name): value for name, value in given.items()})

    @field_validator("profile", "log_level", "log_format", mode="before")
    @classmethod
    def _lower_case(cls, value: object) -> object:
        return value.lower() if isinstance(value, str) else value

    @field_validator("default_asset")
    @classmethod
    def _check_default_asset(cls, value: str) -> str:
        return rules.asset(value)

    @field_validator("trusted_proxies")
    @classmethod
    def _check_trusted_proxies(cls, value: str) -> str:
        return rules.networks(value)

    @field_validator("cors_origins")
    @classmethod
    def _check_cors_origins(cls, value: str) -> str:
        return rules.origins(value)

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
        return rules.unguessable_password(value) if _in_prod(info) else value

    @field_validator("ledger_key")
    @classmethod
    def _check_ledger_key(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not re.fullmatch("[0-9a-fA-F]{64}", value.get_secret_value()):
            message = "must be 64 hexadecimal digits"
            raise ValueError(message)
        return value

    @field_validator("cookie")
    @classmethod
    def _check_cookie(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if value is not None and _in_prod(info):
            rules.random_secret(value.get_secret_value(), rules.SHORTEST_PROD_COOKIE)
        return value

    @field_validator("data_dir")
    @classmethod
    def _check_data_dir(cls, value: Path, info: ValidationInfo) -> Path:
        value = value.expanduser()
        needed = info.data.get("database_url") is None or info.data.get("cookie") is None
        if _in_prod(info) and needed and not value.is_absolute():
            # Else a start from another directory would quietly open another, empty ledger.
            message = "must be an absolute path in prod, unless DATABASE_URL and BITNEXUS_COOKIE are set"
            raise ValueError(message)
        # Resolved once, so that a process which changes its directory still finds it.
        return value.absolute()

    @field_validator("secret_key_base")
    @classmethod
    def _check_secret_key_base(cls, value: SecretStr, info: ValidationInfo) -> SecretStr:
        secret = value.get_secret_value()
        if _in_prod(info):
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
        shortest = rules.SHORTEST_PROD_SECRET if _in_prod(info) else 1
        rules.old_secrets(rules.listed(value.get_secret_value()), present, shortest)
        return value

    @field_validator("node_host")
    @classmethod
    def _check_node_host(cls, value: str, info: ValidationInfo) -> str:
        rules.one_address(value)
        has_tls = info.data.get("node_tls_cert") is not None
        return rules.loopback(value) if _in_prod(info) and not has_tls else value

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
    def webhooks_may_be_private(self) -> bool:
        """Whether webhooks may lead into networks that are not public."""
        return self.profile != "prod" if self.webhook_private is None else self.webhook_private

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


def _in_prod(info: ValidationInfo) -> bool:
    return info.data.get("profile") == "prod"


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
