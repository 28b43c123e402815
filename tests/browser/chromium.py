"""A headless Chromium, where the machine has one, driven by the DevTools protocol."""

from __future__ import annotations

import asyncio
import base64
import itertools
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import aiohttp

PROGRAM = shutil.which("chromium") or shutil.which("google-chrome")
START_TIMEOUT_S = 30.0
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-port=0",
)


class Chromium:
    """One tab. `events` are what the protocol told, as (method, parameters)."""

    def __init__(self, process: asyncio.subprocess.Process, session: aiohttp.ClientSession) -> None:
        self._process = process
        self._session = session
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self.events: list[tuple[str, dict[str, Any]]] = []

    @classmethod
    async def start(cls, directory: Path) -> Self:
        """Start it with a profile in this directory."""
        assert PROGRAM is not None
        profile = directory / "profile"
        with (directory / "chromium.log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                PROGRAM, *_FLAGS, f"--user-data-dir={profile}", "about:blank", stdout=log, stderr=log
            )
        started = cls(process, aiohttp.ClientSession())
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                await started._connect(profile / "DevToolsActivePort")
        except BaseException:
            await started.stop()
            raise
        return started

    async def _connect(self, told: Path) -> None:
        while (port := await asyncio.to_thread(_port, told)) is None:
            await asyncio.sleep(0.02)
        async with self._session.get(f"http://127.0.0.1:{port}/json/list") as response:
            (tab,) = [each for each in await response.json() if each["type"] == "page"]
        self._socket = await self._session.ws_connect(tab["webSocketDebuggerUrl"], max_msg_size=0)
        self._reader = asyncio.create_task(self._read())
        for domain in ("Page", "Runtime", "Network", "Log"):
            await self.do(f"{domain}.enable")

    async def _read(self) -> None:
        async for message in self._socket:
            told = message.json()
            if "id" in told:
                self._answers.pop(told["id"]).set_result(told)
            else:
                self.events.append((told["method"], told["params"]))

    async def do(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The result of a command."""
        number = next(self._numbers)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        async with asyncio.timeout(START_TIMEOUT_S):
            told = await answer
        assert "error" not in told, told
        result: dict[str, Any] = told["result"]
        return result

    async def value(self, expression: str) -> Any:
        """What a JavaScript expression gives in the page."""
        result = await self.do("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    async def until(self, expression: str, holds: Callable[[Any], bool], timeout_s: float = 20.0) -> Any:
        """The value of an expression, once it is as wanted."""
        async with asyncio.timeout(timeout_s):
            while not holds(found := await self.value(expression)):
                await asyncio.sleep(0.05)
        return found

    async def picture(self) -> bytes:
        """The tab as PNG."""
        return base64.b64decode((await self.do("Page.captureScreenshot"))["data"])

    async def stop(self) -> None:
        """End it."""
        if hasattr(self, "_reader"):
            await self._socket.close()
            await self._reader
        await self._session.close()
        if self._process.returncode is None:
            self._process.terminate()
        async with asyncio.timeout(START_TIMEOUT_S):
            await self._process.wait()


def _port(told: Path) -> str | None:
    """The port in the file that it writes when it is up."""
    lines = told.read_text().splitlines() if told.exists() else []
    return lines[0] if len(lines) > 1 else None
