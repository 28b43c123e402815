"""The group ``bitnexus`` and how its subcommands are found, run and ended.

A subcommand is a module of this package that defines ``command``, a :class:`click.Command` (or group); the module's
name is the subcommand's (without the underscore behind a keyword), so ``bitnexus db migrate`` is the command
``migrate`` of the group in ``bitnexus.cli.db``.
Modules are imported when they are needed, not before.

Exit codes: 0 done, 1 it failed, 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import importlib
import keyword
import pkgutil
import sys
from typing import TYPE_CHECKING

import click

import bitnexus
from bitnexus.errors import BitNexusError

if TYPE_CHECKING:
    from collections.abc import Sequence

EXIT_FAILURE = 1
EXIT_INTERRUPTED = 130


class Subcommands(click.Group):
    """A group whose commands are the public modules of a package."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """The names of the modules."""
        package = importlib.import_module("bitnexus.cli")
        modules = pkgutil.iter_modules(package.__path__)
        return sorted(found.name.removesuffix("_") for found in modules if not found.name.startswith("_"))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of a module; None if there is no such module."""
        if cmd_name not in self.list_commands(ctx):
            return None
        name = f"{cmd_name}_" if keyword.iskeyword(cmd_name) else cmd_name
        command = importlib.import_module(f"bitnexus.cli.{name}").command
        if not isinstance(command, click.Command):
            raise TypeError(f"bitnexus.cli.{cmd_name}.command is not a click command")
        return command


@click.group(cls=Subcommands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(bitnexus.__version__, prog_name="bitnexus")
def program() -> None:
    """BitNexus: a money service built as a supervision tree of actors."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line (`arguments`, else those of the process) and exit with its code."""
    try:
        code = program.main(arguments, prog_name="bitnexus", standalone_mode=False)
    except click.exceptions.Exit as finished:
        code = finished.exit_code
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (KeyboardInterrupt, click.Abort):
        click.echo(err=True)  # ends the line on which the terminal shows ^C
        code = EXIT_INTERRUPTED
    except BitNexusError as error:
        _complain(error.detail)
        code = EXIT_FAILURE
    except BrokenPipeError:
        # The reader of our output has had enough (`bitnexus … | head`); nothing more can be said to it.
        sys.stderr.close()
        code = EXIT_FAILURE
    sys.exit(code if isinstance(code, int) else 0)


def _complain(detail: str) -> None:
    prefix = click.style("error:", fg="red", bold=True)
    click.echo(f"{prefix} {' '.join(detail.split())}", err=True)
