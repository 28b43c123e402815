"""What every resource is: made from the services of a front, and good for some routes."""

from __future__ import annotations

from abc import ABC, abstractmethod

from bitnexus.http.routes import Route
from bitnexus.http.services import Services


class Resource(ABC):
    """A group of routes that belong together."""

    def __init__(self, services: Services) -> None:
        self._services = services

    @abstractmethod
    def routes(self) -> list[Route]:
        """The routes of this resource."""
