"""``bitnexus start PATH``: see the command's help."""

from __future__ import annotations

from bitnexus.cli._change import change_command

command = change_command("start", "Start what was stopped at PATH, or release a light actor from its quarantine.")
