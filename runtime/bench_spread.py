"""How far repeated measurements lie apart."""

from collections.abc import Sequence
from statistics import median


def spread(values: Sequence[float]) -> float:
    """Returns the range of some numbers over their median."""
    return (max(values) - min(values)) / median(values)
