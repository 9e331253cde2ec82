"""Errors of the benchmark."""


class BenchError(ValueError):
    """Says which argument of a benchmark cannot be used, and what would be."""
