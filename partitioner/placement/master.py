"""The master problem of the relaxation: which mixture of columns is best.

Variables are a share of instances per column, the boundaries between stages, a time (or missing bytes) per group of the goal,
and slacks of a box on features. The slacks cost a penalty, so that a few columns are enough to
begin with; a penalty that is too small gives a weaker bound and never a wrong one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import block_array, csr_array

from partitioner.placement.balance import boundaries, incidence
from partitioner.placement.columns import Column
from partitioner.placement.folded import Folded
from partitioner.placement.goal import SCALE, Goal
from partitioner.placement.highs import OPTIMAL, SolverError, linear_program
from partitioner.placement.tally import Box

LARGEST = 1e10
"""Larger numbers confuse the solver; a column that costs less than it does makes a bound weaker and never wrong."""


@dataclass(frozen=True)
class Duals:
    """Holds the prices at the optimum over some columns.

    Attributes:
        value: The optimum.
        price: [D] price of each component, in units of the objective.
        feature_price: [F] price of each feature.
        node: For each stage [nodes] the price of leaving a node.
        instance: For each stage the price of an instance.
        tally: [F] how often each feature is taken.
    """

    value: float
    price: NDArray[np.float64]
    feature_price: NDArray[np.float64]
    node: tuple[NDArray[np.float64], ...]
    instance: tuple[float, ...]
    tally: NDArray[np.float64]


def solve_master(
    folded: Folded, goal: Goal, unit: float, columns: list[Column], box: Box, penalty: float
) -> Duals:
    """Returns the prices at the optimum over some columns.

    Args:
        folded: The problem.
        goal: What is minimised.
        unit: The size of the objective, roughly.
        columns: The columns.
        box: How often features may be taken.
        penalty: Cost of taking a feature once too often or too rarely.

    Raises:
        SolverError: The solver failed, or no mixture of the columns keeps the hard limits.
    """
    meeting = boundaries(folded)
    kinds, asked = folded.kinds, goal.asked
    num_columns, num_meeting, num_stages = len(columns), len(meeting.upper), len(folded.stages)
    scale, step = goal.row_scale(folded.most, unit), unit / SCALE
    vectors = (np.stack([column.vector for column in columns], axis=1) / scale[:, None])[asked]
    vectors = np.minimum(vectors, LARGEST)
    tallies = np.stack([kinds.tally(column.stage, column.picks) for column in columns], axis=1)
    above = np.flatnonzero(box.upper < kinds.most)
    below = np.flatnonzero(box.lower > 0)
    num_boxed = len(above) + len(below)
    groups = -goal.members(asked)
    sides = np.concatenate([tallies[above], -tallies[below]])
    limits = np.block(
        [
            [vectors, np.zeros((len(asked), num_meeting)), groups, np.zeros((len(asked), num_boxed))],
            [sides, np.zeros((num_boxed, num_meeting + goal.num_groups)), -np.eye(num_boxed)],
        ]
    )
    stage, number = np.array([column.stage for column in columns]), np.arange(num_columns)
    entry = [column.entry for column in columns]
    onward = [folded.stages[column.stage].onward[column.leave] for column in columns]
    first, ends = meeting.first_node[stage], (meeting.num_nodes, num_columns)
    walks = block_array(
        [
            [incidence(stage, number, (num_stages, num_columns)), None, None],
            [
                incidence(first + entry, number, ends) - incidence(first + onward, number, ends),
                meeting.balance,
                csr_array((meeting.num_nodes, goal.num_groups + num_boxed)),
            ],
        ]
    )
    counts = np.array([float(stage.count) for stage in folded.stages])
    cost = np.zeros(limits.shape[1])
    cost[num_columns + num_meeting :] = [1.0] * goal.num_groups + [penalty / step] * num_boxed
    lower, upper = np.zeros(len(cost)), np.full(len(cost), np.inf)
    lower[num_columns : num_columns + num_meeting] = meeting.lower
    upper[num_columns : num_columns + num_meeting] = meeting.upper
    result = linear_program(
        cost,
        (limits, np.concatenate([(goal.limit / scale)[asked], box.upper[above], -box.lower[below]])),
        (csr_array(walks), np.concatenate([counts, np.zeros(meeting.num_nodes)])),
        np.stack([lower, upper], axis=1),
    )
    if result.status != OPTIMAL:
        raise SolverError(f"the linear relaxation ended with status {result.status}: {result.message}")
    marginals = -result.ineqlin.marginals * step
    price, feature_price = np.zeros(len(goal.group)), np.zeros(len(kinds.most))
    price[asked] = np.maximum(0.0, marginals[: len(asked)]) / scale[asked]
    feature_price[above] += marginals[len(asked) : len(asked) + len(above)]
    feature_price[below] -= marginals[len(asked) + len(above) :]
    equalities = result.eqlin.marginals * step
    nodes = np.split(equalities[num_stages:], meeting.first_node[1:])
    instance = tuple(float(x) for x in equalities[:num_stages])
    tally = tallies @ result.x[:num_columns]
    return Duals(float(result.fun) * step, price, feature_price, tuple(nodes), instance, tally)
