"""Runs the command line as ``python -m runtime.cli``."""

from runtime.cli.main import main

if __name__ == "__main__":
    main()
