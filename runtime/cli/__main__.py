"""Runs the command line as ``python -m runtime.cli``."""

from runtime.cli.main import main

main()
