"""Ties: of equally good solutions, one with less load and fewer bytes on later tiers.

One choice of some instances is changed at a time, while the objective does not grow and the capacities hold. This makes the
result one a reader would expect (a weight is not streamed over an idle link while the GPU has room), and is no part of the
proof.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from partitioner.placement.columns import Column, column
from partitioner.placement.folded import Folded
from partitioner.placement.goal import HARD, Goal
from partitioner.placement.unthreaded import times

MAX_EXCHANGES = 40


def polish(folded: Folded, goal: Goal, stages: list[Counter[Column]]) -> list[Counter[Column]]:
    """Returns columns and counts whose goal value is no higher, and whose weight in ties is lower or the same."""
    weight = _tie_weight(folded)
    stages = [Counter(counted) for counted in stages]
    near: dict[Column, list[Column]] = {}
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
    near: dict[Column, list[Column]],
) -> tuple[Column, Column, int] | None:
    """Returns (old column, new column, instances) of the exchange that lowers the weight most."""
    total = sum((c.vector * n for counted in stages for c, n in counted.items()), np.zeros(len(weight)))
    value = _values(goal, total[None])[0]
    hard = goal.group == HARD
    best: tuple[Column, Column, int] | None = None
    gained = 1e-9
    for old, used in ((c, n) for counted in stages for c, n in counted.items()):
        if old not in near:
            near[old] = _neighbours(folded, old, weight)
        if not near[old]:
            continue
        changes = np.stack([new.vector - old.vector for new in near[old]])
        for count in sorted({1, used}):
            totals = total + count * changes
            gains = -count * times(changes, weight)
            fits = (totals[:, hard] <= goal.limit[hard]).all(axis=1) & (_values(goal, totals) <= value)
            gains = np.where(fits, gains, 0.0)
            index = int(np.argmax(gains))
            if gains[index] > gained:
                best, gained = (old, near[old][index], count), float(gains[index])
    return best


def _neighbours(folded: Folded, old: Column, weight: NDArray[np.float64]) -> list[Column]:
    """Returns the columns that differ in one choice, have the same exit and a lower weight."""
    graph = folded.stages[old.stage].graph
    found: list[Column] = []
    for position, layer in enumerate(graph.layers):
        gain = times(layer.variant[old.picks[position]] - layer.variant, weight)
        same_way = layer.way == layer.way[old.picks[position]]
        for pick in np.flatnonzero(~same_way | (gain > 0)).tolist():
            if pick != old.picks[position]:
                picks = (*old.picks[:position], pick, *old.picks[position + 1 :])
                new = column(old.stage, graph, old.entry, picks)
                if new.leave == old.leave and (old.vector - new.vector) @ weight > 0:
                    found.append(new)
    return found


def _values(goal: Goal, totals: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the goal's value of each total vector [n D]."""
    over = totals - goal.limit
    groups = [over[:, goal.group == group].max(axis=1, initial=0.0) for group in range(goal.num_groups)]
    return np.sum(groups, axis=0)
