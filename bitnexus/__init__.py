"""BitNexus: a money service built as a supervision tree of actors."""

__version__ = "0.1.0"
