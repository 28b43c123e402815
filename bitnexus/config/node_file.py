"""``data_dir/node.json``: where the running node can be reached, for clients on its host. Mode 0600, gone with it."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from bitnexus.config.secret_file import UnsafeSecretFileError, read

NODE_FILE = "node.json"


@dataclass(frozen=True, slots=True)
class NodeFile:
    """The address ("host:port") of the root process, the instance it proves there (hex), and its pid."""

    address: str
    instance: str
    pid: int


def publish(data_dir: Path, node: NodeFile) -> None:
    """Replace whatever an earlier node left. Raises OSError."""
    data_dir.mkdir(mode=0o711, parents=True, exist_ok=True)
    draft = data_dir / f".{NODE_FILE}.{os.getpid()}"
    with contextlib.suppress(FileNotFoundError):
        draft.unlink()
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        json.dump(asdict(node), file)
        file.write("\n")
    draft.replace(data_dir / NODE_FILE)


def read_published(data_dir: Path) -> NodeFile | None:
    """The node that was published last, or None; it may have died since.

    Raises:
        UnsafeSecretFileError: somebody else could have written the file, or it makes no sense.
    """
    path = data_dir / NODE_FILE
    try:
        found = json.loads(read(path))
        return NodeFile(str(found["address"]), str(found["instance"]), int(found["pid"]))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, UnsafeSecretFileError):
            raise
        raise UnsafeSecretFileError(f"{path} does not say where a node is") from error
    except OSError as error:
        raise UnsafeSecretFileError(f"{path} cannot be used: {error.strerror or error}") from error


def withdraw(data_dir: Path, node: NodeFile) -> None:
    """Remove the file, unless it is another node's by now. Raises OSError."""
    try:
        is_own = read_published(data_dir) == node
    except UnsafeSecretFileError:
        return
    if is_own:
        (data_dir / NODE_FILE).unlink(missing_ok=True)
