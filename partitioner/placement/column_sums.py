"""Sums over columns that a search with columns made on demand branches on: by what choices take, and by where columns lead.

Letters in the shapes: J kinds of one choice, S sums, E entries, X exits of a stage's block.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from partitioner.placement.columns import Column
from partitioner.placement.count_sums import ONCE, CountSums
from partitioner.placement.folded import Folded
from partitioner.placement.unthreaded import times

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ColumnSums:
    """Holds the sums.

    Attributes:
        choices: [S J] what a variant of each kind of one choice adds to each sum, a whole number.
        ways: For each stage [S E X] what a column from an entry to an exit adds besides.
        rank: [S] those of the largest are decided first.
    """

    choices: Floats
    ways: tuple[Floats, ...]
    rank: NDArray[np.int64]

    @classmethod
    def none(cls, folded: Folded) -> ColumnSums:
        """Returns no sums."""
        return cls.by_choice(folded, np.zeros((0, len(folded.kinds.together))), np.zeros(0, np.int64))

    @classmethod
    def of(cls, folded: Folded, sums: CountSums) -> ColumnSums:
        """Returns the sums of a problem, and behind them where the stages that there is one instance of begin and end."""
        counts = cls.by_choice(folded, sums.weights[:, folded.kinds.together], sums.rank)
        return counts.and_more(cls._of_single(folded))

    @classmethod
    def by_choice(cls, folded: Folded, choices: Floats, rank: NDArray[np.int64]) -> ColumnSums:
        """Returns sums of what choices take [S J]."""
        graphs = [stage.graph for stage in folded.stages]
        shapes = [(len(rank), len(graph.entries), len(graph.exits)) for graph in graphs]
        return cls(choices, tuple(map(np.zeros, shapes)), rank)

    @classmethod
    def _of_single(cls, folded: Folded) -> ColumnSums:
        """Returns whether each stage that there is one instance of begins at an entry, and whether it ends at an exit.

        Where such a stage comes behind another one, where that one ends says where it begins.
        """
        ends: list[tuple[int, NDArray[np.bool_]]] = []
        for position, stage in enumerate(folded.stages):
            if stage.count > 1:
                continue
            shape = len(stage.graph.entries), len(stage.graph.exits)
            entry, leave = np.indices(shape)
            if position and folded.stages[position - 1].count > 1:
                ends += [(position, entry == number) for number in range(shape[0])]
            if position + 1 < len(folded.stages):
                ends += [(position, leave == number) for number in range(shape[1])]
        num_choices = len(folded.kinds.together)
        sums = cls.by_choice(folded, np.zeros((len(ends), num_choices)), np.full(len(ends), ONCE))
        for number, (position, there) in enumerate(ends):
            sums.ways[position][number] = there
        return sums

    @property
    def size(self) -> int:
        """Returns the number of sums."""
        return len(self.rank)

    def and_more(self, more: ColumnSums) -> ColumnSums:
        """Returns these sums, and behind them some more."""
        ways = zip(self.ways, more.ways, strict=True)
        return ColumnSums(
            np.vstack([self.choices, more.choices]),
            tuple(np.concatenate(both) for both in ways),
            np.concatenate([self.rank, more.rank]),
        )

    def number(self, sums: ColumnSums) -> int | None:
        """Returns which of these sums is the first of some others, or None where it is not among them."""
        same = (self.choices == sums.choices[0]).all(axis=1)
        for own, other in zip(self.ways, sums.ways, strict=True):
            same &= (own == other[0]).all(axis=(1, 2))
        return int(np.argmax(same)) if same.any() else None

    def adds(self, folded: Folded, columns: Sequence[Column]) -> Floats:
        """Returns [S columns] what columns add."""
        found = np.zeros((self.size, len(columns)))
        for number, c in enumerate(columns if self.size else ()):
            taken = [int(of[pick]) for of, pick in zip(folded.kinds.apart[c.stage], c.picks, strict=True)]
            found[:, number] = self.choices[:, taken].sum(axis=1) + self.ways[c.stage][:, c.entry, c.leave]
        return found

    def most(self, folded: Folded) -> Floats:
        """Returns [S] what no sum of a placement exceeds."""
        most = np.zeros(self.choices.shape[1])
        found = np.zeros(self.size)
        for stage, kinds, ways in zip(folded.stages, folded.kinds.apart, self.ways, strict=True):
            most[np.concatenate(kinds)] = stage.count
            found += stage.count * ways.max(axis=(1, 2), initial=0.0)
        return found + times(self.choices, most)
