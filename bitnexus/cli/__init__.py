"""The ``bitnexus`` command. Every module here without a leading underscore is one subcommand, by its own name."""

from bitnexus.cli._program import main

__all__ = ["main"]
