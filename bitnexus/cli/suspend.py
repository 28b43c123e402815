"""``bitnexus suspend PATH``: see the command's help."""

from __future__ import annotations

from bitnexus.cli._change import change_command

command = change_command("suspend", "Let the processes at PATH take no more messages; those wait. Heartbeats go on.")
