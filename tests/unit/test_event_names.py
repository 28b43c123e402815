"""Log events have names that one can search for, in one style: what varies stands in fields."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import bitnexus

_METHODS = {"debug", "info", "warning", "error", "exception", "critical"}
_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")


def events(path: Path) -> Iterator[tuple[int, str]]:
    """Line and name of every event that a module logs; a part that varies shows as one letter."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or node.func.attr not in _METHODS:
            continue
        logger = ast.unparse(node.func.value).rpartition(".")[2].lstrip("_")
        if logger not in ("log", "logger") or not node.args:
            continue
        name = node.args[0]
        if isinstance(name, ast.Constant):
            yield node.lineno, str(name.value)
        elif isinstance(name, ast.JoinedStr):
            yield (
                node.lineno,
                "".join(str(part.value) if isinstance(part, ast.Constant) else "x" for part in name.values),
            )


def test_every_event_has_a_name_in_snake_case():
    found = [
        (f"{path.name}:{line}", event)
        for path in Path(bitnexus.__file__).parent.rglob("*.py")
        for line, event in events(path)
    ]
    assert len(found) > 50
    assert [each for each in found if not _NAME.fullmatch(each[1])] == []
