"""A placement made better by exchanges: one or two instances at a time take another variant in one choice.

At the prices of the relaxation most such changes cost next to nothing: they trade memory for seconds. What makes a placement
worse than the bound is what is left over, a part of a unit of memory, a chain a little longer than the stream beside it; and of
thousands of changes there are two that together leave less. Limits may be broken on the way, at a price.

Letters in the shapes: D components of a cost vector, N changes.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from partitioner.placement.columns import Column
from partitioner.placement.distinct_rows import first_rows
from partitioner.placement.folded import Folded
from partitioner.placement.goal import HARD, Goal
from partitioner.placement.near_columns import NearColumns, near_columns
from partitioner.placement.unthreaded import times

Floats = NDArray[np.float64]
Placement = list[Counter[Column]]
"""For each stage its columns and how many instances make use of each."""

NEAR = 600
"""So many changes are tried in pairs: those whose price is closest to nothing."""
AT_ONCE = 64
"""Changes whose pairs are tried in one go, which keeps these in the processor's cache."""
CLIMBS = 60
"""Exchanges in a row."""
KICKS, KICKED = 12, 4
"""How often some changes are made at random to go on from, and how many at most."""
ALIKE = 1e-9
"""Share of the objective or of a limit by which changes differ at least; of those that are alike, one is tried."""
BREAKING = 10.0
"""What exceeding a whole limit costs, in values of the goal, and a byte, in twice its price, at least."""
BROKEN = 1e-3
"""What exceeding any limit costs besides, in values of the goal."""
SIDEWAYS = 2e-5
"""Relative amount by which a placement to go on from may be worse."""


@dataclass(frozen=True)
class _Standing:
    """Holds a placement with its total vector [D] and what it counts, broken limits included."""

    stages: Placement
    total: Floats
    counts: float


class Exchanges:
    """Makes placements of one problem better.

    Args:
        folded: The problem.
        goal: What is minimised.
        price: [D] prices of the relaxation.
        value: What placements are worth, roughly.
    """

    def __init__(self, folded: Folded, goal: Goal, price: Floats, value: float) -> None:
        self._folded, self._goal, self._price = folded, goal, price
        self._hard = goal.group == HARD
        room = np.where(goal.limit > 0, goal.limit, 1.0)
        self._fine = np.where(self._hard, np.maximum(2 * BREAKING * price, BREAKING * value / room), 0.0)
        self._broken = BROKEN * value
        asked = goal.asked
        self._fineness = ALIKE * np.where(self._hard, room, value or 1.0)[asked]
        self._near: dict[Column, NearColumns] = {}

    def improved(self, stages: Placement) -> Placement:
        """Returns a placement that is no worse, and keeps the hard limits if the one given does."""
        random = np.random.default_rng(0)
        here = best = self._climbed(self._standing(stages))
        for _ in range(KICKS):
            olds, owner, number, _ = self._changes(here.stages)
            if not len(owner):
                break
            some = random.integers(len(owner), size=int(random.integers(2, KICKED + 1)))
            moves = [(self._near[olds[owner[n]]], int(number[n])) for n in some.tolist()]
            there = self._climbed(self._standing(_made(here.stages, moves)))
            if there.counts <= here.counts * (1 + SIDEWAYS):
                here = there
            best = min(best, there, key=lambda standing: standing.counts)
        return best.stages

    def around(self, stages: Placement) -> list[Column]:
        """Returns the columns that single changes of a placement make, those whose price is closest to nothing first."""
        olds, owner, number, _ = self._changes(stages)
        return [
            self._near[olds[old]].column(n) for old, n in zip(owner.tolist(), number.tolist(), strict=True)
        ]

    def _climbed(self, here: _Standing) -> _Standing:
        """Returns what single changes and pairs of them lead to, the best one at each step."""
        for _ in range(CLIMBS):
            found = self._best(here)
            if not found:
                break
            here = self._standing(_made(here.stages, found))
        return here

    def _best(self, here: _Standing) -> list[tuple[NearColumns, int]]:
        """Returns the change, or the two, after which a placement counts least; none where all make it worse."""
        olds, owner, number, change = self._changes(here.stages)
        single = np.array([sum(counted[c] for counted in here.stages) for c in olds])[owner] < 2
        best: tuple[int, ...] = ()
        least = here.counts * (1 - 1e-10)
        alone = self._counts(here.total + change)
        if len(alone) and alone.min() < least:
            best, least = (int(np.argmin(alone)),), float(alone.min())
        for begin in range(0, len(change), AT_ONCE):
            end = min(len(change), begin + AT_ONCE)
            pairs = here.total + change[begin:end, None] + change[None, begin:]
            counts = self._counts(pairs.reshape(-1, pairs.shape[2])).reshape(end - begin, -1)
            counts[(owner[begin:end, None] == owner[begin:]) & single[begin:end, None]] = np.inf
            lowest = int(np.argmin(counts))
            if counts.flat[lowest] < least:
                first, second = divmod(lowest, len(change) - begin)
                best, least = (begin + first, begin + second), float(counts.flat[lowest])
        return [(self._near[olds[owner[n]]], int(number[n])) for n in best]

    def _changes(
        self, stages: Placement
    ) -> tuple[list[Column], NDArray[np.int64], NDArray[np.int64], Floats]:
        """Returns the columns in use, and of each change the column's number, its own number near this, and [N D] its cost."""
        olds = [used for counted in stages for used, _ in counted.most_common()]
        near = [self._around(old) for old in olds]
        change = np.concatenate([own.change for own in near])
        owner = np.repeat(np.arange(len(olds)), [len(own.pick) for own in near])
        number = np.concatenate([np.arange(len(own.pick)) for own in near])
        kept = np.array(first_rows(np.round(change[:, self._goal.asked] / self._fineness)), np.int64)
        kept = kept[np.argsort(np.abs(times(change[kept], self._price)), kind="stable")[:NEAR]]
        return olds, owner[kept], number[kept], change[kept]

    def _around(self, old: Column) -> NearColumns:
        if old not in self._near:
            around = near_columns(self._folded, old)
            cheap = np.argsort(np.abs(times(around.change, self._price)), kind="stable")[:NEAR]
            self._near[old] = around.take(cheap)
        return self._near[old]

    def _standing(self, stages: Placement) -> _Standing:
        total = sum(
            (c.vector * n for counted in stages for c, n in counted.items()), np.zeros(len(self._price))
        )
        return _Standing(stages, total, float(self._counts(total[None])[0]))

    def _counts(self, totals: Floats) -> Floats:
        """Returns what total vectors [n D] count: their value, and what broken limits cost."""
        over = np.maximum(0.0, totals[:, self._hard] - self._goal.limit[self._hard])
        fine = times(over, self._fine[self._hard]) + self._broken * over.any(axis=1)
        return self._goal.values(totals) + fine


def _made(stages: Placement, moves: list[tuple[NearColumns, int]]) -> Placement:
    """Returns a placement after some changes, each of one instance; those that have run out are left out."""
    stages = [Counter(counted) for counted in stages]
    for near, number in moves:
        counted, old, new = stages[near.old.stage], near.old, near.column(number)
        if not counted[old]:
            continue
        same = next((c for c in counted if c.key == new.key), new)
        counted[old] -= 1
        counted[same] += 1
        stages[old.stage] = +counted
    return stages
