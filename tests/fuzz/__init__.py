"""The wire protocol fed with garbage: ``python -m tests.fuzz --seconds 600``."""
