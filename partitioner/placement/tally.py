"""How often each kind of variant is taken: the few whole numbers that the objective and the capacities depend on most.

Variants of equal cost in one stage are one *kind*: a layer's four square weights kept in the host are the same to every
capacity and resource. Besides the moves, the cost of a placement depends on how often each kind is taken alone, so a search
over these numbers is a search over tens of integers where the variants are hundreds.

A *feature* is such a number or a sum of them that means something on its own: how many of the things of one size have their
home on a tier, or run on it. A mixture may keep a third of a KV cache on the drive in any of several ways at once; only a split
at the number of caches on the drive takes all of them away.

Letters in the shapes: K kinds, J kinds of one choice, F features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from partitioner.placement.components import vector_size
from partitioner.placement.distinct_rows import row_bytes
from partitioner.placement.problem import Problem


@dataclass(frozen=True)
class Kinds:
    """Holds the kinds of variants of a problem.

    Attributes:
        of: For each stage and choice [V] the kind of each variant.
        vector: [K D] the cost vector of each kind, without moves.
        feature: [F K] which kinds each feature sums up; the first K features are the kinds themselves.
        most: [F] how often each can be taken at most.
        tiers: [K phases] on which tier each runs, -1 where it does not occur.
    """

    of: tuple[tuple[NDArray[np.int64], ...], ...]
    vector: NDArray[np.float64]
    feature: csr_array
    most: NDArray[np.float64]
    tiers: NDArray[np.int64]

    @cached_property
    def apart(self) -> tuple[tuple[NDArray[np.int64], ...], ...]:
        """Returns for each stage and choice [V] the kind of each variant, told apart from equal ones of other choices."""
        found: list[tuple[NDArray[np.int64], ...]] = []
        first = 0
        for choices in self.of:
            numbers: list[NDArray[np.int64]] = []
            for of in choices:
                kinds, number = np.unique(of, return_inverse=True)
                numbers.append(first + number)
                first += len(kinds)
            found.append(tuple(numbers))
        return tuple(found)

    @cached_property
    def in_a_row(self) -> NDArray[np.int64]:
        """Returns the kinds of all variants, stage by stage and choice by choice."""
        return _in_a_row(self.of)

    @cached_property
    def apart_in_a_row(self) -> NDArray[np.int64]:
        """Returns likewise the kinds that are told apart."""
        return _in_a_row(self.apart)

    @cached_property
    def together(self) -> NDArray[np.int64]:
        """Returns [J] the kind of each kind of one choice."""
        return np.concatenate([np.unique(of) for choices in self.of for of in choices])

    def tally(self, stage: int, picks: tuple[int, ...]) -> NDArray[np.float64]:
        """Returns [F] how often a way to place a stage's block has each feature."""
        taken = [int(kinds[pick]) for kinds, pick in zip(self.of[stage], picks, strict=True)]
        return self.feature @ np.bincount(taken, minlength=len(self.vector)).astype(np.float64)


@dataclass(frozen=True)
class Box:
    """Holds a least and a largest number [F] of each feature."""

    lower: NDArray[np.float64]
    upper: NDArray[np.float64]

    def limit(self, price: NDArray[np.float64]) -> float:
        """Returns the most that any tally in the box costs at a price [F]."""
        return float(np.where(price > 0, self.upper, self.lower) @ price)

    def split(self, feature: int, value: float) -> tuple[Box, Box]:
        """Returns the parts of the box where a feature is at most, or more than, floor(value)."""
        upper, lower = self.upper.copy(), self.lower.copy()
        upper[feature], lower[feature] = np.floor(value), np.floor(value) + 1
        return replace(self, upper=upper), replace(self, lower=lower)

    def hull(self, other: Box) -> Box:
        """Returns the smallest box with both in it."""
        return Box(np.minimum(self.lower, other.lower), np.maximum(self.upper, other.upper))


def kinds_of(problem: Problem, costs: Sequence[Sequence[NDArray[np.float64]]]) -> Kinds:
    """Returns the kinds of variants of a problem.

    Args:
        problem: The problem.
        costs: For each stage and choice [V D] the cost vectors of the variants (see ``components``).
    """
    known: dict[tuple[int, tuple[int | None, ...], bytes], int] = {}
    vectors: list[NDArray[np.float64]] = []
    most: list[float] = []
    of: list[tuple[NDArray[np.int64], ...]] = []
    for position, (stage, stage_costs) in enumerate(zip(problem.stages, costs, strict=True)):
        choices: list[NDArray[np.int64]] = []
        for choice, rows in zip(stage.block.choices, stage_costs, strict=True):
            kinds: list[int] = []
            for number, way in enumerate(zip(choice.ran, row_bytes(rows), strict=True)):
                kind = known.setdefault((position, *way), len(known))
                if kind == len(vectors):
                    vectors.append(rows[number])
                    most.append(0.0)
                kinds.append(kind)
            for kind in set(kinds):
                most[kind] += stage.count
            choices.append(np.array(kinds, np.int64))
        of.append(tuple(choices))
    stacked = np.stack(vectors) if vectors else np.zeros((0, vector_size(problem)))
    feature = _features(problem, [(stage, tiers) for stage, tiers, _ in known], stacked)
    ways = [[-1 if tier is None else tier for tier in tiers] for _, tiers, _ in known]
    tiers = np.array(ways, np.int64).reshape(len(known), len(problem.phases))
    return Kinds(tuple(of), stacked, feature, feature @ np.array(most), tiers)


def _in_a_row(numbers: Sequence[Sequence[NDArray[np.int64]]]) -> NDArray[np.int64]:
    return np.concatenate([of for choices in numbers for of in choices])


def _features(
    problem: Problem, ways: list[tuple[int, tuple[int | None, ...]]], vectors: NDArray[np.float64]
) -> csr_array:
    """Returns the kinds, and what sums up several of them: same stage and size, and same home or same tiers."""
    memory = vectors[:, vector_size(problem) - len(problem.capacities) :]
    rows = zip(ways, row_bytes(memory), memory.sum(axis=1).tolist(), strict=True)
    together: dict[tuple[object, ...], list[int]] = {}
    for kind, ((stage, tiers), home, size) in enumerate(rows):
        together.setdefault(("home", stage, home), []).append(kind)
        together.setdefault(("runs", stage, size, tiers), []).append(kind)
    summed = [[kind] for kind in range(len(ways))]
    summed += [kinds for kinds in together.values() if len(kinds) > 1]
    columns = np.array([kind for kinds in summed for kind in kinds], np.int64)
    ends = np.cumsum([0, *map(len, summed)])
    return csr_array((np.ones(len(columns)), columns, ends), shape=(len(summed), len(ways)))
