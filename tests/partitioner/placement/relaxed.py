"""Problems with their relaxation solved, as a search begins."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np

from partitioner.placement.columns import Column, ColumnPool, model_columns
from partitioner.placement.folded import fold
from partitioner.placement.goal import fastest
from partitioner.placement.problem import Problem
from partitioner.placement.relaxation import Relaxation, relaxation_at
from partitioner.placement.root_relaxation import root_relaxation
from partitioner.placement.search_space import SearchSpace
from partitioner.placement.tally import Box


def relaxed(problem: Problem) -> tuple[SearchSpace, Relaxation, ColumnPool, list[Counter[Column]]]:
    """Returns a problem, its solved relaxation with the columns of that, and the placement of the shortest chains."""
    folded = fold(problem)
    goal = fastest(problem, folded.most)
    space = SearchSpace(problem, folded, goal, goal.value(folded.most) or 1.0)
    price, free = np.zeros(len(goal.group)), np.zeros(len(folded.kinds.most))
    price[: len(problem.phases)] = 1.0
    alone = relaxation_at(folded, goal, price, free, Box(free, folded.kinds.most), free, 0)
    shortest = model_columns(alone.paths, alone.model)
    pool = ColumnPool()
    pool.add(c for columns in shortest for c in columns)
    root, _ = root_relaxation(folded, goal, space.unit, pool, math.inf)
    return space, root, pool, shortest
