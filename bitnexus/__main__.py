"""``python -m bitnexus`` is the command ``bitnexus``."""

from bitnexus.cli import main

if __name__ == "__main__":
    main()
