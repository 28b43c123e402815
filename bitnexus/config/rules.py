"""What a setting's value must be like.

Each rule returns the value, or raises ValueError with a sentence that never repeats the value.
"""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import parse_qs, unquote, urlsplit

#: Phoenix, whose API this service replaces, asks for the same of its secret_key_base.
SHORTEST_PROD_SECRET = 64
SHORTEST_PROD_COOKIE = 32
MOST_OLD_SECRETS = 5
#: A random secret of the least length, in hexadecimal, has fewer distinct characters once in about 10**9.
FEWEST_DISTINCT_CHARACTERS = 8

_PLACEHOLDER = re.compile(
    r"change.?me|default|example|placeholder|insecure|replace|secret|password|xxxx", re.IGNORECASE
)
_HOST_NAME = re.compile(r"(?=.{1,253}$)[A-Za-z0-9]([A-Za-z0-9_-]{0,62}|\.(?=[A-Za-z0-9]))*")
#: As browsers send it: in lower case, without a slash at the end.
_ORIGIN = re.compile(r"https?://(?:[a-z0-9](?:[a-z0-9._-]{0,252})|\[[0-9a-f:.]{2,45}\])(?::[1-9][0-9]{0,4})?")
_URL_PATH = re.compile(r"(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._~-]+)*/?")
_HTTP_PORTS = {"http": 80, "https": 443}
_THIS_HOST = frozenset({"localhost", "127.0.0.1", "::1"})
_ALL_ADDRESSES = frozenset({"0.0.0.0", "::"})  # noqa: S104 - to tell them, not to listen there
_ASSET = re.compile(r"[A-Z][A-Z0-9]{0,16}/[0-9]{1,2}")
_GUESSABLE_PASSWORDS = frozenset(
    {"", "postgres", "password", "bitnexus", "admin", "root", "secret", "changeme", "change_me", "test", "dev"}
)


def random_secret(value: str, shortest: int) -> str:
    """`value`, if it looks like the output of a random generator with at least `shortest` characters."""
    if len(value) < shortest:
        message = f"must have at least {shortest} characters in prod"
        raise ValueError(message)
    if _PLACEHOLDER.search(value) or len(set(value)) < FEWEST_DISTINCT_CHARACTERS:
        message = "is a placeholder, not a random secret"
        raise ValueError(message)
    return value


def listed(value: str) -> tuple[str, ...]:
    """The parts of a list with commas, without blanks around them; empty ones are none."""
    return tuple(part.strip() for part in value.split(",") if part.strip())


def old_secrets(secrets: tuple[str, ...], present: str, shortest: int) -> None:
    """Nothing, if these may stand beside the present secret; in prod they were good secrets themselves."""
    if len(secrets) > MOST_OLD_SECRETS:
        message = f"must be at most {MOST_OLD_SECRETS} secrets: each of them is tried"
        raise ValueError(message)
    if present in secrets:
        message = "must not hold SECRET_KEY_BASE itself: the old value goes here, a new one there"
        raise ValueError(message)
    if shortest > 1:
        for secret in secrets:
            random_secret(secret, shortest)


def asset(value: str) -> str:
    """`value`, if it is an asset: a code and a number of decimals."""
    if _ASSET.fullmatch(value):
        return value
    message = "must be a code in capitals and a number of decimals, as in USD/2"
    raise ValueError(message)


def listen_host(value: str) -> str:
    """`value`, if it is an IP address or could be a host name."""
    if _is_address(value) or _HOST_NAME.fullmatch(value):
        return value
    message = "must be an IP address or a host name"
    raise ValueError(message)


def one_address(value: str) -> str:
    """`value`, if it is exactly one address: the actor port never listens on all of a host's."""
    if value == "localhost":
        return value
    if not _is_address(value):
        message = "must be an IP address or localhost"
        raise ValueError(message)
    if ipaddress.ip_address(value).is_unspecified:
        message = "must be one address, not all of this host's"
        raise ValueError(message)
    return value


def loopback(value: str) -> str:
    """`value`, if only this host can reach it."""
    if value == "localhost" or ipaddress.ip_address(value).is_loopback:
        return value
    message = (
        "must be a loopback address in prod, unless BITNEXUS_NODE_TLS_CERT, BITNEXUS_NODE_TLS_KEY and "
        "BITNEXUS_NODE_TLS_CA are set: actor messages would cross the network in the clear"
    )
    raise ValueError(message)


def all_or_none(**given: object) -> None:
    """Nothing, if all of these variables are set, or none."""
    missing = [variable for variable, value in given.items() if value is None]
    if missing and len(missing) < len(given):
        message = f"{' and '.join(missing)} must be set too, or none of {', '.join(given)}"
        raise ValueError(message)


def postgres_url(value: str) -> str:
    """`value`, if it is a PostgreSQL address."""
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        port, parts = 0, urlsplit("")
    if parts.scheme not in {"postgresql", "postgres"} or port == 0:
        message = "must be of the form postgresql://user:password@host:port/database"
        raise ValueError(message)
    return value


def networks(value: str) -> str:
    """`value`, if it is a list, with commas, of networks and addresses."""
    try:
        for part in value.split(","):
            ipaddress.ip_network(part.strip()) if part.strip() else None
    except ValueError:
        message = "must be networks or addresses with commas between them, as in 10.0.0.0/8, 192.0.2.7"
        raise ValueError(message) from None
    return value


def origins(value: str) -> str:
    """`value`, if it is a list, with commas, of web origins: scheme and host, with a port or not, and nothing else."""
    if all(_ORIGIN.fullmatch(part.strip()) for part in value.split(",") if part.strip()):
        return value
    message = "must be origins with commas between them, as in https://app.example.com, http://localhost:3000"
    raise ValueError(message)


def legacy_url(value: str) -> str:
    """`value`, if it is the address of an HTTP service: scheme, host, perhaps a port and a path, and nothing else."""
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        port, parts = 0, urlsplit("")
    if parts.scheme not in {"http", "https"} or not _is_http_host(parts.hostname) or port == 0:
        message = "must be of the form http://host:port/path or https://host:port/path"
        raise ValueError(message)
    if parts.username is not None or "?" in value or "#" in value or not _URL_PATH.fullmatch(parts.path):
        message = "must have no user, password, query or fragment, and a plain path"
        raise ValueError(message)
    return value.rstrip("/")


def another_address(url: str, host: str, port: int) -> None:
    """Nothing, unless the URL is that of this service itself."""
    parts = urlsplit(url)
    if (parts.port or _HTTP_PORTS[parts.scheme]) != port:
        return
    if parts.hostname == host or (parts.hostname in _THIS_HOST and host in _THIS_HOST | _ALL_ADDRESSES):
        message = "must not be this service itself"
        raise ValueError(message)


def unguessable_password(value: str) -> str:
    """`value`, if it is a PostgreSQL address without a password that everybody tries first.

    No password at all is fine: sockets, certificates and password files need none.
    """
    parts = urlsplit(value)
    given = [parts.password] if parts.password is not None else parse_qs(parts.query).get("password", [])
    for password in given:
        if unquote(password).lower() in _GUESSABLE_PASSWORDS | {(parts.username or "").lower()}:
            message = "contains a password that anybody would guess"
            raise ValueError(message)
    return value


def _is_http_host(value: str | None) -> bool:
    return value is not None and (_is_address(value) or _HOST_NAME.fullmatch(value) is not None)


def _is_address(value: str) -> bool:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return False
    return True
