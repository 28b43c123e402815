from __future__ import annotations

import pytest
import pytest_asyncio

from tests.browser.chromium import PROGRAM, Chromium
from tests.service import Service

pytestmark = [
    pytest.mark.skipif(PROGRAM is None, reason="no Chromium on this machine"),
    pytest.mark.asyncio(loop_scope="session"),
]

SHADOW = "document.querySelector('rapi-doc')?.shadowRoot"
#: The operations in the page's list, and those of them that have no place in the page.
LISTED = (
    f"Array.from({SHADOW}?.querySelectorAll('[id]') ?? []).map(e => e.id)"
    ".filter(id => /^link-(get|post|put|patch|delete)-/.test(id))"
)
MISSING = f"{LISTED}.filter(id => !{SHADOW}.getElementById(id.slice(5))).length"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def service(database_url, tmp_path_factory):
    running = await Service.start(database_url, tmp_path_factory.mktemp("service"), BITNEXUS_FRONTS="1")
    yield running
    assert await running.stop() == 0


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def chromium(tmp_path_factory):
    started = await Chromium.start(tmp_path_factory.mktemp("chromium"))
    yield started
    await started.stop()


async def test_the_docs_page_shows_every_operation_and_asks_nobody_else(service, chromium):
    base = service.running.address
    async with service.session.get("/api/openapi.json") as response:
        document = await response.json()
    wanted = {f"link-{method}-{path}" for path, methods in document["paths"].items() for method in methods}
    await chromium.do("Page.navigate", url=f"{base}/docs")
    listed = await chromium.until(LISTED, lambda found: len(found) >= len(wanted))
    assert set(listed) == {each.translate({ord("{"): "-", ord("}"): "-"}) for each in wanted}
    assert await chromium.value(MISSING) == 0
    asked = [params["request"]["url"] for method, params in chromium.events if method == "Network.requestWillBeSent"]
    assert asked
    assert [url for url in asked if not url.startswith((base, "data:", "blob:"))] == []
    complaints = [params["entry"] for method, params in chromium.events if method == "Log.entryAdded"]
    assert [each for each in complaints if each["level"] == "error"] == []
    thrown = [params for method, params in chromium.events if method == "Runtime.exceptionThrown"]
    assert thrown == []


async def test_the_errors_page_has_a_place_for_the_type_of_every_problem(service, chromium):
    await chromium.do("Page.navigate", url=f"{service.running.address}/docs/errors#exceeds_credits")
    await chromium.until("document.querySelectorAll('tr:target code').length", lambda found: found == 1)
    assert await chromium.value("document.querySelector('tr:target code').textContent") == "exceeds_credits"
    colour = "getComputedStyle(document.querySelector('tr:target')).backgroundColor"
    await chromium.until(colour, lambda found: found != "rgba(0, 0, 0, 0)")  # once its style sheet is there
