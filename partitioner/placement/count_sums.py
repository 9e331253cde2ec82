"""Sums of counts that a search decides before their parts: how much is on a tier, in whole weights and units.

Weights of one model come in few sizes, and most are small multiples of one of them: a layer's wide ones are four times as large
as its square ones. Between two whole numbers of such multiples on a tier lies a whole weight, whichever one it is. The same
holds for the units in which attentions are split, and for the number of attentions that have any on a tier.

Letters in the shapes: K kinds, S sums.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from partitioner.placement.distinct_rows import first_rows
from partitioner.placement.folded import Folded
from partitioner.placement.units import families, usual_step

COARSEST = 1000.0
"""How many multiples of a size that all others are measured by the largest may be."""
TELLING = 0.01
"""Share of all bytes that variants of a size make up together if others are measured by it."""
AGREED, WEIGHTS, SHARED, UNITS, AWAY, ONCE, ALIKE = 6, 5, 4, 3, 2, 2, 1
"""Ranks: homes on which ops have to agree, multiples of weights on a tier, attentions with any units on it, their units,
multiples of weights there by where they are used in a phase, what a layer that there is only once does, and how often one kind
of home or way is taken."""


@dataclass(frozen=True)
class CountSums:
    """Holds the sums.

    Attributes:
        weights: [S K] what a variant of each kind adds to each sum, a whole number.
        rank: [S] those of the largest are decided first.
    """

    weights: NDArray[np.float64]
    rank: NDArray[np.int64]


def count_sums(folded: Folded) -> CountSums:
    """Returns the sums of a problem."""
    kinds, num_kinds = folded.kinds, len(folded.kinds.vector)
    memory = kinds.vector[:, folded.first_tier : folded.first_tier + folded.num_tiers]
    split = np.zeros(num_kinds, bool)
    alike = families(kinds)
    for family in alike:
        split[family] = True
    unit = _unit(memory[~split].max(axis=1, initial=0.0), kinds.most[:num_kinds][~split])
    sums: list[tuple[int, NDArray[np.float64]]] = []
    for bytes_there in memory.T:
        multiples = np.where(split, 0.0, np.rint(bytes_there / unit))
        sums.append((WEIGHTS, multiples))
        for ran in kinds.tiers.T:
            sums += [(AWAY, np.where(ran == tier, multiples, 0.0)) for tier in range(memory.shape[1])]
        for family in alike:
            own = bytes_there[family]
            sums.append((SHARED, _spread(num_kinds, family, own > 0)))
            step = usual_step(own)
            if step:
                sums.append((UNITS, _spread(num_kinds, family, np.rint(own / step))))
    for limited in kinds.vector[:, folded.first_tier + folded.num_tiers :].T:
        for choice in itertools.chain.from_iterable(kinds.of):
            sums.append((AGREED, _spread(num_kinds, choice, limited[choice] > 0)))
    once = np.isin(np.arange(num_kinds), _kinds_of_single(folded))
    alike_rows = kinds.feature[num_kinds:].toarray()
    sums += [(ONCE if once[row > 0].all() else ALIKE, row) for row in alike_rows]
    rows = np.array([row for _, row in sums])
    kept = [n for n in first_rows(rows) if rows[n].any()]
    return CountSums(rows[kept], np.array([rank for rank, _ in sums], np.int64)[kept])


def _kinds_of_single(folded: Folded) -> NDArray[np.int64]:
    """Returns the kinds of the stages that there is one instance of."""
    stages = zip(folded.stages, folded.kinds.of, strict=True)
    return np.array(
        [kind for stage, of in stages if stage.count == 1 for kind in itertools.chain(*of)], np.int64
    )


def _spread(num_kinds: int, family: NDArray[np.int64], values: NDArray[np.generic]) -> NDArray[np.float64]:
    row = np.zeros(num_kinds)
    row[family] = values
    return row


def _unit(sizes: NDArray[np.float64], counts: NDArray[np.float64]) -> float:
    """Returns the size of which most bytes are whole multiples.

    Args:
        sizes: Bytes of each kind.
        counts: How often it may be taken.
    """
    total = float(sizes @ counts)
    present = np.unique(sizes)
    telling = [s for s in present.tolist() if counts[sizes == s].sum() * s > TELLING * total]
    telling = [s for s in telling if s * COARSEST >= sizes.max()]
    if not telling:
        return float(sizes.max(initial=1.0)) or 1.0

    def rest(size: float) -> float:
        return float(np.abs(sizes / size - np.rint(sizes / size)) @ counts) * size

    return min(telling, key=rest)
