"""``bitnexus restart PATH``: see the command's help."""

from __future__ import annotations

from bitnexus.cli._change import change_command

command = change_command(
    "restart",
    "Restart the subtree at PATH: stop it from its last process to its first, start it from the first to the last."
    " Below a supervisor of replicas, as http is for the fronts, they go one after another.",
)
