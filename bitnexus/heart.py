"""The heart: what beats in the process that the operator started.

It owns the embedded PostgreSQL, brings the schema up to date, launches the tree and watches both. A tree that dies is
started afresh and a server that dies is started again, within an intensity; beyond that the process ends with code 1,
so that systemd or a container's restart policy takes over. SIGTERM and SIGINT stop everything in order within `STOP_S`.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import sys
import time
import uuid
from collections import deque
from collections.abc import Callable
from types import FrameType
from typing import Final

import structlog

from bitnexus import application
from bitnexus.actors.runtime.reasons import ExitReason
from bitnexus.config import Settings, get_settings, use
from bitnexus.config import logging as log_lines
from bitnexus.errors import BitNexusError
from bitnexus.http.listener import PortInUse, free_port
from bitnexus.passwords import hash_password
from bitnexus.storage import migrator, users
from bitnexus.storage.database import Database
from bitnexus.storage.embedded import EmbeddedPostgres
from bitnexus.supervision.launcher import Launcher

#: The whole stop: the tree first, then the server.
STOP_S: Final = 10.0
#: A tree, or a server, that dies more often than this many times in a minute is given up.
INTENSITY: Final = 3
PERIOD_S: Final = 60.0
_WATCH_S: Final = 0.5
_DEV_ADMIN: Final = "admin@bitnexus.local"

log = structlog.get_logger("bitnexus.heart")


class GaveUp(BitNexusError):
    """The service could not be kept alive."""

    code, title = "gave_up", "The service could not be kept alive"


class CannotStart(BitNexusError):
    """The service cannot start as it is configured."""

    code, title = "cannot_start", "The service cannot start"


class Heart:
    """One life of the service; `announce` prints a line for the operator."""

    def __init__(self, announce: Callable[[str], object]) -> None:
        self._announce = announce
        self._server: EmbeddedPostgres | None = None
        self._deaths: deque[float] = deque(maxlen=INTENSITY + 1)
        self._stopping = False

    def run(self) -> None:
        """Serve until a signal. Raises BitNexusError: what kept it from starting, or GaveUp."""
        log_lines.configure(get_settings(), process="main")
        _catch_signals(self._interrupted)
        try:
            use(_with_port(get_settings()))
            self._prepare_database()
            while not self._stopping:
                self._run_tree()
        except KeyboardInterrupt:
            log.info("interrupted")
        finally:
            # From here on a second signal may end the process at once.
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_DFL)
            if self._server is not None:
                self._server.stop()
        log.info("stopped")

    def _interrupted(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """A signal while no loop of ours runs: starting PostgreSQL, migrating."""
        self._stopping = True
        raise KeyboardInterrupt

    # -- the database ----------------------------------------------------------------------------------------

    def _prepare_database(self) -> None:
        settings = get_settings()
        if settings.database_url is None:
            self._server = EmbeddedPostgres(settings.data_dir)
            url = self._server.start()
            log.info("postgresql_started", server_pid=self._server.pid)
            settings = settings.model_copy(update={"database_url": url})
            use(settings)
        assert settings.database_url is not None
        _prepare_schema(settings, settings.database_url)
        if settings.profile == "dev":
            asyncio.run(self._ensure_admin(settings.database_url))

    async def _ensure_admin(self, url: str) -> None:
        """In dev there is an admin from the first start on; their password is shown once and kept nowhere."""
        database = await Database.connect(url, pool_size=1, process="main")
        try:
            async with database.connection() as connection:
                if await users.any_admin(connection):
                    return
                password = secrets.token_urlsafe(12)
                await users.insert(
                    connection,
                    user_id=str(uuid.uuid4()),
                    email=_DEV_ADMIN,
                    name="Administrator",
                    password_hash=hash_password(password),
                    role="admin",
                )
        finally:
            await database.close()
        self._announce(f"Admin for development: {_DEV_ADMIN} with the password {password} (shown only now)")

    # -- the tree --------------------------------------------------------------------------------------------

    def _run_tree(self) -> None:
        """Start the tree and stay with it until it is stopped or dead."""
        settings = get_settings()
        started_at = time.monotonic()
        launcher = Launcher(application.ROOT, application.FLAGS, application.tree(settings))
        launcher.start()
        log.info("started", seconds=round(time.monotonic() - started_at, 3), processes=launcher.node.names())
        self._announce(f"BitNexus is ready at http://{settings.host}:{settings.port} (stop it with Ctrl-C)")
        sys.stdout.flush()
        try:
            reason = launcher.loop.run_until_complete(self._attend(launcher))
        finally:
            launcher.close()
            _catch_signals(self._interrupted)
        if reason is not None:
            log.error("tree_died", reason=str(reason))
            self._count_death("the tree", reason)

    async def _attend(self, launcher: Launcher) -> ExitReason | None:
        """None once it has been stopped by a signal; else why the tree died."""
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            launcher.loop.add_signal_handler(number, stop.set)
        stopped, died = asyncio.ensure_future(stop.wait()), asyncio.ensure_future(launcher.wait())
        watch = asyncio.ensure_future(self._watch_server())
        await asyncio.wait({stopped, died, watch}, return_when=asyncio.FIRST_COMPLETED)
        reason = died.result() if died.done() and not stop.is_set() else None
        if reason is None:
            self._stopping = True
            log.info("stopping")
        in_time = await launcher.stop(STOP_S if reason is None else 0)
        if reason is None and not in_time:
            log.error("killed_what_did_not_stop", after_s=STOP_S)
        for task in (stopped, died, watch):
            task.cancel()
        for number in (signal.SIGINT, signal.SIGTERM):
            launcher.loop.remove_signal_handler(number)
        if watch.done() and not watch.cancelled() and (error := watch.exception()) is not None:
            raise error
        return reason

    async def _watch_server(self) -> None:
        """Start the embedded server again if it dies; the tree lives on and recovers by itself."""
        while True:
            await asyncio.sleep(_WATCH_S)
            if self._server is None or self._server.alive():
                continue
            self._count_death("PostgreSQL", None)
            log.error("postgresql_died")
            # Blocks this loop: it has nothing to do but to wait for the very same.
            self._server.stop()
            self._server.start()
            log.info("postgresql_started", server_pid=self._server.pid)

    def _count_death(self, what: str, reason: ExitReason | None) -> None:
        now = time.monotonic()
        self._deaths.append(now)
        if len(self._deaths) > INTENSITY and now - self._deaths[0] <= PERIOD_S:
            raise GaveUp(
                f"Gave up: {what} died{f' ({reason})' if reason else ''}, {INTENSITY + 1} deaths in {PERIOD_S:.0f} s."
            )


def _prepare_schema(settings: Settings, url: str) -> None:
    if settings.profile != "prod":
        applied = migrator.migrate(url)
        if applied:
            log.info("schema_migrated", revisions=list(applied))
    elif not migrator.status(url).is_current:
        raise CannotStart("The schema is not up to date: run `bitnexus db migrate` first.")


def _with_port(settings: Settings) -> Settings:
    """The settings with a port that nobody else listens on."""
    try:
        return settings.model_copy(update={"port": free_port(settings.host, settings.port)})
    except PortInUse as error:
        message = error.strerror or str(error)
        raise CannotStart(f"{message[:1].upper()}{message[1:]}.") from error
    except OSError as error:
        raise CannotStart(
            f"Cannot listen on {settings.host}:{settings.port}: {os.strerror(error.errno or 0)}."
        ) from error


def _catch_signals(handler: Callable[[int, FrameType | None], None]) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, handler)
