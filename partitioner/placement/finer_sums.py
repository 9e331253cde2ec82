"""Sums of counts that tell apart what a search's sums leave open, made where a mixture needs them.

The sums of ``count_sums`` say how many units of attentions are on a tier, and a mixture of layers with three and with five
units keeps them whole: four each. Whether a layer has more than three tells these apart. A third of a layer that keeps three
alike weights on a tier is one of them on it, as a whole number; how many layers keep a certain one of the three there tells.

Letters in the shapes: J kinds of one choice, S sums.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from partitioner.placement.bounded_simplex import Vertex
from partitioner.placement.column_program import ColumnProgram
from partitioner.placement.column_sums import ColumnSums
from partitioner.placement.fractional import WHOLE
from partitioner.placement.units import MANY

Floats = NDArray[np.float64]

MORE, SINGLE = 1, 0
"""Ranks: attentions with more than some bytes on a tier, and how often one choice takes a kind."""


def finer_sums(program: ColumnProgram, vertex: Vertex) -> ColumnSums:
    """Returns sums that are fractional in a solution in which those of the program are whole; none where there is none."""
    counts = _counts(program, vertex)
    found, rank = _fractional(_thresholds(program, counts), counts), MORE
    if not found:
        found, rank = _fractional(np.eye(len(counts))[np.flatnonzero(counts)], counts), SINGLE
    choices = np.array(found).reshape(len(found), len(counts))
    return ColumnSums.by_choice(program.folded, choices, np.full(len(found), rank))


def _thresholds(program: ColumnProgram, counts: Floats) -> Iterator[Floats]:
    """Yields for choices of many kinds which of these take more bytes of a tier than another one in use."""
    kinds, first = program.folded.kinds, program.folded.first_tier
    memory = kinds.vector[kinds.together, first : first + program.folded.num_tiers]
    for choice in (np.unique(of) for stage in kinds.apart for of in stage):
        for own in memory[choice].T if len(choice) >= MANY else ():
            for least in np.unique(own[counts[choice] > 0])[:-1].tolist():
                row = np.zeros(len(counts))
                row[choice] = own > least
                yield row


def _counts(program: ColumnProgram, vertex: Vertex) -> Floats:
    """Returns [J] how often each choice takes a kind in a solution."""
    kinds = program.folded.kinds
    counts = np.zeros(len(kinds.together))
    for column, share in zip(program.columns, program.shares(vertex).tolist(), strict=False):
        for of, pick in zip(kinds.apart[column.stage], column.picks, strict=True) if share else ():
            counts[of[pick]] += share
    return counts


def _fractional(rows: Iterable[Floats], counts: Floats) -> list[Floats]:
    found = ((row, float(row @ counts)) for row in rows)
    return [row for row, total in found if abs(total - round(total)) > WHOLE]
