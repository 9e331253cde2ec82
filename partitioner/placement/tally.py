"""How often each kind of variant is taken: the few whole numbers that the objective and the capacities depend on most.

Variants of equal cost in one stage are one *kind*: a layer's four square weights kept in the host are the same to every
capacity and resource. Besides the moves, the cost of a placement depends on how often each kind is taken alone, so a search over
these numbers is a search over tens of integers where the variants are hundreds.

Letter in the shapes: K kinds.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from partitioner.placement.components import variant_vector, vector_size
from partitioner.placement.problem import Problem


@dataclass(frozen=True)
class Kinds:
    """Holds the kinds of variants of a problem.

    Attributes:
        of: For each stage and choice [V] the kind of each variant.
        vector: [K D] the cost vector of each kind, without moves.
        most: [K] how often each can be taken at most.
    """

    of: tuple[tuple[NDArray[np.int64], ...], ...]
    vector: NDArray[np.float64]
    most: NDArray[np.float64]

    def tally(self, stage: int, picks: tuple[int, ...]) -> NDArray[np.float64]:
        """Returns [K] how often a way to place a stage's block takes each kind."""
        taken = [int(kinds[pick]) for kinds, pick in zip(self.of[stage], picks, strict=True)]
        return np.bincount(np.array(taken, np.int64), minlength=len(self.most)).astype(float)


@dataclass(frozen=True)
class Box:
    """Holds a least and a largest number [K] of each kind."""

    lower: NDArray[np.float64]
    upper: NDArray[np.float64]

    def limit(self, price: NDArray[np.float64]) -> float:
        """Returns the most that any tally in the box costs at a price [K]."""
        return float(np.where(price > 0, self.upper, self.lower) @ price)

    def split(self, kind: int, value: float) -> tuple[Box, Box]:
        """Returns the parts of the box where a kind is taken at most, or more than, floor(value) times."""
        upper, lower = self.upper.copy(), self.lower.copy()
        upper[kind], lower[kind] = np.floor(value), np.floor(value) + 1
        return replace(self, upper=upper), replace(self, lower=lower)

    def hull(self, other: Box) -> Box:
        """Returns the smallest box with both in it."""
        return Box(np.minimum(self.lower, other.lower), np.maximum(self.upper, other.upper))


def kinds_of(problem: Problem) -> Kinds:
    """Returns the kinds of variants of a problem."""
    known: dict[tuple[int, bytes], int] = {}
    vectors: list[NDArray[np.float64]] = []
    most: list[float] = []
    of: list[tuple[NDArray[np.int64], ...]] = []
    for position, stage in enumerate(problem.stages):
        choices: list[NDArray[np.int64]] = []
        for choice in stage.block.choices:
            kinds: list[int] = []
            for variant in choice.variants:
                vector = variant_vector(problem, variant)
                kind = known.setdefault((position, vector.tobytes()), len(known))
                if kind == len(vectors):
                    vectors.append(vector)
                    most.append(0.0)
                kinds.append(kind)
            for kind in set(kinds):
                most[kind] += stage.count
            choices.append(np.array(kinds, np.int64))
        of.append(tuple(choices))
    stacked = np.stack(vectors) if vectors else np.zeros((0, vector_size(problem)))
    return Kinds(tuple(of), stacked, np.array(most))
