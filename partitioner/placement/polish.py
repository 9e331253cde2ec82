"""Ties: of equally good solutions, one with less load and fewer bytes on later tiers.

One choice of some instances is changed at a time, while the objective does not grow and the capacities hold. This makes the
result one a reader would expect (a weight is not streamed over an idle link while the GPU has room), and is no part of the
proof.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from partitioner.placement.columns import Column, column
from partitioner.placement.folded import Folded
from partitioner.placement.goal import HARD, Goal
from partitioner.placement.unthreaded import times

MAX_EXCHANGES = 40


@dataclass(frozen=True)
class _Near:
    """Holds the columns that differ from one in a single choice, have the same exit and a lower weight.

    Attributes:
        position: [N] the choice.
        pick: [N] its variant.
        change: [N D] what the column costs more.
    """

    position: NDArray[np.int64]
    pick: NDArray[np.int64]
    change: NDArray[np.float64]


def polish(folded: Folded, goal: Goal, stages: list[Counter[Column]]) -> list[Counter[Column]]:
    """Returns columns and counts whose goal value is no higher, and whose weight in ties is lower or the same."""
    weight = _tie_weight(folded)
    stages = [Counter(counted) for counted in stages]
    near: dict[Column, _Near] = {}
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
    near: dict[Column, _Near],
) -> tuple[Column, Column, int] | None:
    """Returns (old column, new column, instances) of the exchange that lowers the weight most."""
    total = sum((c.vector * n for counted in stages for c, n in counted.items()), np.zeros(len(weight)))
    value = _values(goal, total[None])[0]
    hard = goal.group == HARD
    best: tuple[Column, int, int] | None = None
    gained = 1e-9
    for old, used in ((c, n) for counted in stages for c, n in counted.items()):
        if old not in near:
            near[old] = _near(folded, old, weight)
        change = near[old].change
        if not len(change):
            continue
        lighter = -times(change, weight)
        for count in sorted({1, used}):
            totals = total + count * change
            fits = (totals[:, hard] <= goal.limit[hard]).all(axis=1) & (_values(goal, totals) <= value)
            gains = np.where(fits, count * lighter, 0.0)
            index = int(np.argmax(gains))
            if gains[index] > gained:
                best, gained = (old, index, count), float(gains[index])
    if best is None:
        return None
    old, index, count = best
    picks = list(old.picks)
    picks[int(near[old].position[index])] = int(near[old].pick[index])
    return old, column(old.stage, folded.stages[old.stage].graph, old.entry, tuple(picks)), count


def _near(folded: Folded, old: Column, weight: NDArray[np.float64]) -> _Near:
    """Returns the columns near one, from what its choices cost before and after each."""
    graph = folded.stages[old.stage].graph
    leave, after = graph.leaves, np.zeros((len(graph.leaves), graph.size))
    behind = [(leave, after)]
    for layer, pick in zip(reversed(graph.layers), reversed(old.picks), strict=True):
        way = layer.way[pick]
        target = layer.target[:, way]
        leave, after = leave[target], layer.move[:, way] + layer.variant[pick] + after[target]
        behind.append((leave, after))
    state, before = int(graph.roots[old.entry]), np.zeros(graph.size)
    found: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]] = []
    for position, (layer, pick) in enumerate(zip(graph.layers, old.picks, strict=True)):
        leave, after = behind[len(graph.layers) - 1 - position]
        target = layer.target[state, layer.way]
        change = before + layer.move[state, layer.way] + layer.variant + after[target] - old.vector
        picks = np.flatnonzero((leave[target] == old.leave) & (times(change, weight) < 0))
        picks = picks[picks != pick]
        found.append((np.full(len(picks), position), picks, change[picks]))
        way = layer.way[pick]
        before = before + layer.move[state, way] + layer.variant[pick]
        state = int(layer.target[state, way])
    return _Near(*(np.concatenate(parts) for parts in zip(*found, strict=True)))


def _values(goal: Goal, totals: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the goal's value of each total vector [n D]."""
    over = totals - goal.limit
    groups = [over[:, goal.group == group].max(axis=1, initial=0.0) for group in range(goal.num_groups)]
    return np.sum(groups, axis=0)
