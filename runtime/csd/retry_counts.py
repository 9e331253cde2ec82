"""How often a page read is repeated: a distribution with a given mean and a given most."""

import numpy as np


def retry_chances(mean: float, most: int) -> np.ndarray:
    """Returns the chance of 0, 1, ... ``most`` retries of one page read.

    It is the truncated geometric distribution, in which a read that failed ``j`` times fails again with the same odds
    for every ``j`` below ``most``: of all with this range and mean it assumes the least (its entropy is the largest).

    Args:
        mean: Retries on average, from 0 to ``most``.
        most: Most retries.

    Returns:
        float64 ``[most + 1]``, with sum 1.
    """
    counts = np.arange(most + 1)
    low, high = 0.0, 1.0
    for _ in range(60):  # halves down to the resolution of a float64
        middle = 0.5 * (low + high)
        if _chances(middle, counts) @ counts < mean:
            low = middle
        else:
            high = middle
    return _chances(low, counts)


def _chances(share: float, counts: np.ndarray) -> np.ndarray:
    """Returns chances in the ratio ``share : 1 - share`` from each count to the next, upwards."""
    weights = share**counts * (1.0 - share) ** counts[::-1]
    return weights / weights.sum()
