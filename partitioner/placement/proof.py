"""What prices prove about placements: a lower bound, and by how much ways through the blocks are above it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from partitioner.placement.cheapest import CheapestModel, CheapestPaths


@dataclass(frozen=True)
class Proof:
    """Holds prices and what they prove.

    Attributes:
        bound: Lower bound on the goal's value.
        price: [D] the prices of limits.
        paths: The cheapest ways through each stage's block at these prices.
        model: The cheapest placement of the model at these prices.
    """

    bound: float
    price: NDArray[np.float64]
    paths: tuple[CheapestPaths, ...]
    model: CheapestModel
