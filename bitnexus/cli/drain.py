"""``bitnexus drain PATH``: see the command's help."""

from __future__ import annotations

from bitnexus.cli._change import change_command

command = change_command(
    "drain",
    "Let the processes at PATH finish what they have and take no more, until they are resumed or restarted.",
)
