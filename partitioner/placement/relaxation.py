"""Column generation: the exact optimum of the relaxed problem, without listing all ways to place a block.

The master problem over a few columns gives prices; the cheapest ways through each block at these prices either improve on its
columns or prove that none can. At the end the prices give a lower bound of their own: for prices that are not negative and sum
to at most one in each group, the cheapest placement of the whole model minus the price of the limits is at most the objective
of any placement (Lagrangian relaxation). This bound depends on the dynamic program alone, not on the linear solver.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from partitioner.placement.cheapest import CheapestPaths, cheapest_model, stage_paths
from partitioner.placement.columns import Column, ColumnPool, column
from partitioner.placement.folded import Folded
from partitioner.placement.goal import Goal
from partitioner.placement.master import Duals, solve_master
from partitioner.placement.proof import Proof
from partitioner.placement.tally import Box

MAX_ROUNDS = 200
COLUMNS_A_ROUND = 24


@dataclass(frozen=True)
class Relaxation(Proof):
    """Holds the solved relaxation in a box.

    Attributes:
        box: How often features may be taken.
        tally: [F] how often each feature is taken at the optimum, as a mixture.
        rounds: How often columns were generated.
    """

    box: Box
    tally: NDArray[np.float64]
    rounds: int


def relax(
    folded: Folded, goal: Goal, unit: float, pool: ColumnPool, box: Box, enough: float = -np.inf
) -> Relaxation:
    """Solves the relaxation in a box, adding columns to the pool.

    Args:
        folded: The problem.
        goal: What is minimised.
        unit: The size of the objective, roughly.
        pool: Columns of which some mixture keeps the hard limits.
        box: How often features may be taken.
        enough: A value at which there is no need to go on.

    Raises:
        MasterError: The linear solver failed.
    """
    rounds = 0
    while True:
        duals = solve_master(folded, goal, unit, list(pool), box, unit)
        rounds += 1
        paths = stage_paths(folded, duals.price, duals.feature_price)
        better = _improving(folded, paths, duals, 1e-9 * unit)
        if not pool.add(better) or duals.value <= enough or rounds >= MAX_ROUNDS:
            break
    return relaxation_at(folded, goal, duals.price, duals.feature_price, box, duals.tally, rounds)


def relaxation_at(
    folded: Folded,
    goal: Goal,
    price: NDArray[np.float64],
    feature_price: NDArray[np.float64],
    box: Box,
    tally: NDArray[np.float64],
    rounds: int,
) -> Relaxation:
    """Returns what some prices prove."""
    price = price.copy()
    for group in range(goal.num_groups):
        price[goal.group == group] /= max(1.0, float(price[goal.group == group].sum()))
    paths = stage_paths(folded, price, feature_price)
    model = cheapest_model(folded, paths)
    bound = model.price - float(price @ goal.limit) - box.limit(feature_price)
    return Relaxation(bound, price, paths, model, box, tally, rounds)


def _improving(
    folded: Folded, paths: tuple[CheapestPaths, ...], duals: Duals, tolerance: float
) -> list[Column]:
    """Returns the columns of most negative reduced cost, a few of each stage."""
    better: list[Column] = []
    for position, (stage, path) in enumerate(zip(folded.stages, paths, strict=True)):
        node = duals.node[position]
        entering = node[: len(stage.graph.entries)]
        reduced = path.prices - duals.instance[position] - entering[:, None] + node[stage.onward][None, :]
        order = np.argsort(reduced, axis=None, kind="stable")[:COLUMNS_A_ROUND]
        for entry, leave in zip(*np.unravel_index(order, reduced.shape), strict=True):
            if reduced[entry, leave] < -tolerance:
                better.append(column(position, path.graph, int(entry), path.picks(int(entry), int(leave))))
    return better
