"""Starts BitNexus: the same as ``bitnexus serve``."""

import sys

from bitnexus.cli import main

if __name__ == "__main__":
    main(["serve", *sys.argv[1:]])
