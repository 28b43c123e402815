"""The API's description, served by what it describes: the OpenAPI document, a page that shows it, and the errors.

Nothing comes from elsewhere: the page's script is vendored (see bitnexus/http/docs/rapidoc), and its policy lets it
load and send to this service alone.
"""

from __future__ import annotations

import asyncio
import hashlib
import html
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Final

import orjson
from aiohttp import web

from bitnexus.errors import NotFound
from bitnexus.http import docs
from bitnexus.http.described import Described, Media
from bitnexus.http.openapi.document import document
from bitnexus.http.openapi.problems import codes
from bitnexus.http.routes import Access, Call, Route, json_bytes
from bitnexus.http.shapes.system import Document

DOCUMENT: Final = "/api/openapi.json"
PAGE: Final = "/docs"
ERRORS: Final = PAGE + "/errors"
_HTML: Final = "text/html; charset=utf-8"
_FOR_EVER: Final = {"Cache-Control": "public, max-age=31536000, immutable"}
#: As of every page, but that the script styles what it shows, and shows what its answers are made of.
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_FILES: Final = Path(docs.__file__).parent
#: Path below /docs/assets without its version → file and type.
_ASSETS: Final = {
    "rapidoc.js": ("rapidoc/rapidoc-min.js", "text/javascript; charset=utf-8"),
    "errors.css": ("errors.css", "text/css; charset=utf-8"),
}


class Docs:
    """The resource; `routes` are all that are served, itself among them."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self._routes = routes
        self._document: asyncio.Task[bytes] | None = None

    def routes(self) -> list[Route]:
        """The routes of this resource."""
        public, page = Access.PUBLIC, Described({200: Media(_HTML)})
        asset = Described({200: Media("*/*")}, errors=(NotFound,))
        told = Described({200: Document})
        return [
            Route("GET", DOCUMENT, self.document, "The OpenAPI document", access=public, described=told),
            Route("GET", PAGE, self.page, "The documentation, as a page", access=public, described=page),
            Route("GET", ERRORS, self.errors, "What each error means, as a page", access=public, described=page),
            Route("GET", PAGE + "/assets/{asset}", self.asset, "A file of a page", access=public, described=asset),
        ]

    async def document(self, _: Call[None, None]) -> web.Response:
        """OpenAPI 3.1, of exactly the routes and models that serve."""
        if self._document is None:  # in a thread: it takes a tenth of a second, once
            self._document = asyncio.create_task(asyncio.to_thread(self._make))
        return json_bytes(await asyncio.shield(self._document))

    async def page(self, _: Call[None, None]) -> web.Response:
        """The document, to be read and tried."""
        text = _text("page.html").replace("{version}", _version("rapidoc.js"))
        return _html(text, _POLICY)

    async def errors(self, _: Call[None, None]) -> web.Response:
        """A table of all codes; `type` of every problem points into it."""
        rows = "\n".join(
            f'<tr id="{code}"><td><code>{code}</code></td><td>{status}</td><td>{html.escape(meaning)}</td></tr>'
            for code, (status, meaning) in codes().items()
        )
        return _html(_text("errors.html").replace("{version}", _version("errors.css")).replace("{rows}", rows))

    async def asset(self, call: Call[None, None]) -> web.Response:
        """A file by its name and version: it never changes.

        Raises:
            NotFound: no such file, or not in this version.
        """
        wanted = call.request.match_info["asset"]
        for name, (path, type_) in _ASSETS.items():
            stem, _, suffix = name.rpartition(".")
            if wanted == f"{stem}-{_version(name)}.{suffix}":
                body = await asyncio.to_thread(_bytes, path)
                return web.Response(body=body, headers={"Content-Type": type_, **_FOR_EVER})
        raise NotFound

    def _make(self) -> bytes:
        return orjson.dumps(document(self._routes))


def _html(text: str, policy: str | None = None) -> web.Response:
    headers = {"Content-Type": _HTML}
    if policy is not None:
        headers["Content-Security-Policy"] = policy
    return web.Response(body=text.encode(), headers=headers)


@cache
def _bytes(path: str) -> bytes:
    return (_FILES / path).read_bytes()


def _text(path: str) -> str:
    return _bytes(path).decode()


@cache
def _version(name: str) -> str:
    return hashlib.sha256(_bytes(_ASSETS[name][0])).hexdigest()[:12]
