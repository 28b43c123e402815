"""``bitnexus stop PATH``: see the command's help."""

from __future__ import annotations

from bitnexus.cli._change import change_command

command = change_command("stop", "Stop the subtree at PATH in order; it stays stopped until somebody starts it.")
