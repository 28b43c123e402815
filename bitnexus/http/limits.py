"""The limits of one front: how often a user, and a stranger's address, may ask; how often one may try to log in.

A request with a valid token counts against its user, every other against its address: so many users behind one address
do not stand in each other's way, and a request pays for one check. Admins and services are not limited. The counts are
this front's own: who reaches all F fronts has up to F times as much.
"""

from __future__ import annotations

import time
from typing import Final

from aiohttp import web

from bitnexus.config.settings import Settings
from bitnexus.http.client_address import client_of, networks
from bitnexus.http.throttle import Policy, Throttle

WINDOW_S: Final = 10
ATTEMPTS_WINDOW_S: Final = 60
LIMITED_ROLE: Final = "user"


class Attempt:
    """One attempt to prove who one is. It counts, unless it `succeeded`."""

    __slots__ = ("_taken",)

    def __init__(self) -> None:
        self._taken: list[tuple[Throttle, str]] = []

    def count(self, throttle: Throttle | None, key: str) -> None:
        """Count it against the key as well; TooManyRequests if that is one too many."""
        if throttle is not None:
            throttle.take(key)
            self._taken.append((throttle, key))

    def succeeded(self) -> None:
        """It was the right password: only failures count."""
        for throttle, key in self._taken:
            throttle.give_back(key)


class Limits:
    """The throttles by the settings; None for what is not limited."""

    def __init__(self, settings: Settings) -> None:
        def throttle(name: str, quota: int, window_s: int) -> Throttle | None:
            on = settings.rate_limits and quota > 0
            return Throttle(Policy(name, quota, window_s), time.monotonic) if on else None

        self.users = throttle("user", settings.rate_limit_user * WINDOW_S, WINDOW_S)
        self.addresses = throttle("address", settings.rate_limit_address * WINDOW_S, WINDOW_S)
        self._login_accounts = throttle("login-account", settings.login_limit_account, ATTEMPTS_WINDOW_S)
        self._login_addresses = throttle("login-address", settings.login_limit_address, ATTEMPTS_WINDOW_S)
        self._registrations = throttle("register-address", settings.register_limit_address, ATTEMPTS_WINDOW_S)
        self._trusted = networks(settings.trusted_proxies)

    def stranger(self, request: web.Request) -> float:
        """Count a request of nobody's; see Throttle.take.

        Raises:
            TooManyRequests: its address has sent too many.
        """
        return 0.0 if self.addresses is None else self.addresses.take(self.client_of(request))

    def attempt(self, request: web.Request, email: str) -> Attempt:
        """Count an attempt to show the password of `email`, whether there is such a user or not.

        Raises:
            TooManyRequests: too many have failed from this address or for this email.
        """
        attempt = Attempt()
        attempt.count(self._login_addresses, self.client_of(request))
        attempt.count(self._login_accounts, email.lower())
        return attempt

    def registration(self, request: web.Request, email: str) -> None:
        """Count an attempt to register: by address, and by the email, for that tells who is a user already.

        Raises:
            TooManyRequests: too many.
        """
        attempt = Attempt()
        attempt.count(self._registrations, self.client_of(request))
        attempt.count(self._login_accounts, "register " + email.lower())

    def client_of(self, request: web.Request) -> str:
        """The key of the client's address."""
        forwarded_for = request.headers.getall("X-Forwarded-For", ()) if self._trusted else ()
        return client_of(request.remote, forwarded_for, self._trusted)
