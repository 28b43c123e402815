"""``bitnexus kill PATH``: see the command's help."""

from __future__ import annotations

from bitnexus.cli._change import change_command

command = change_command(
    "kill",
    "Kill the process or light actor at PATH; its supervisor does what it does at any death.",
)
