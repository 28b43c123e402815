"""``bitnexus resume PATH``: see the command's help."""

from __future__ import annotations

from bitnexus.cli._change import change_command

command = change_command("resume", "Let what was suspended or drained at PATH go on with what waited.")
