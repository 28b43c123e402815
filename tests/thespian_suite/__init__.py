"""Thespian's own tests of its TCP system base, run against ours: ``python -m tests.thespian_suite DIRECTORY``."""
