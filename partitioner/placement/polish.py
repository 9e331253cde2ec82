"""Ties: of equally good solutions, one with less load and fewer bytes on later tiers.

One choice of some instances is changed at a time, while the objective does not grow and the capacities hold. This makes the
result one a reader would expect (a weight is not streamed over an idle link while the GPU has room), and is no part of the
proof.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from partitioner.placement.columns import Column
from partitioner.placement.folded import Folded
from partitioner.placement.goal import HARD, Goal
from partitioner.placement.near_columns import NearColumns, near_columns
from partitioner.placement.unthreaded import times

MAX_EXCHANGES = 40


def polish(folded: Folded, goal: Goal, stages: list[Counter[Column]]) -> list[Counter[Column]]:
    """Returns columns and counts whose goal value is no higher, and whose weight in ties is lower or the same."""
    weight = _tie_weight(folded)
    stages = [Counter(counted) for counted in stages]
    near: dict[Column, NearColumns] = {}
    for _ in range(MAX_EXCHANGES):
        exchange = _exchange(folded, goal, weight, stages, near)
        if exchange is None:
            break
        old, new, count = exchange
        counted = stages[old.stage]
        same = next((c for c in counted if (c.entry, c.picks) == (new.entry, new.picks)), new)
        counted[old] -= count
        counted[same] += count
        stages[old.stage] = +counted
    return stages


def _tie_weight(folded: Folded) -> NDArray[np.float64]:
    """Returns [D]: seconds and bytes as shares of the most there can be; bytes count more on each later tier."""
    most, first, end = folded.most, folded.first_tier, folded.first_tier + folded.num_tiers
    weight = np.zeros(len(most))
    weight[:first] = 1.0 / (most[:first].sum() or 1.0)
    weight[first:end] = np.arange(folded.num_tiers) / (most[first:end].sum() or 1.0)
    return weight


def _exchange(
    folded: Folded,
    goal: Goal,
    weight: NDArray[np.float64],
    stages: list[Counter[Column]],
    near: dict[Column, NearColumns],
) -> tuple[Column, Column, int] | None:
    """Returns (old column, new column, instances) of the exchange that lowers the weight most."""
    total = sum((c.vector * n for counted in stages for c, n in counted.items()), np.zeros(len(weight)))
    value = goal.values(total[None])[0]
    hard = goal.group == HARD
    best: tuple[Column, int, int] | None = None
    gained = 1e-9
    for old, used in ((c, n) for counted in stages for c, n in counted.items()):
        if old not in near:
            around = near_columns(folded, old)
            near[old] = around.take(np.flatnonzero(times(around.change, weight) < 0))
        change = near[old].change
        if not len(change):
            continue
        lighter = -times(change, weight)
        for count in sorted({1, used}):
            totals = total + count * change
            fits = (totals[:, hard] <= goal.limit[hard]).all(axis=1) & (goal.values(totals) <= value)
            gains = np.where(fits, count * lighter, 0.0)
            index = int(np.argmax(gains))
            if gains[index] > gained:
                best, gained = (old, index, count), float(gains[index])
    if best is None:
        return None
    old, index, count = best
    return old, near[old].column(index), count
