"""The exact solver: the fastest placement within the capacities, with a proven bound, or what is missing.

Identical blocks are one graph (``states``) and share columns; prices from the relaxation (``relaxation``) tell which arcs can be
part of an optimum, and an integer program over these finds it (``arcflow``, ``search``). Nothing but two walks over small
matrices depends on the depth of the model.
"""

from __future__ import annotations

import numpy as np

from partitioner.placement.columns import ColumnPool
from partitioner.placement.evaluate import Chosen, breakdown
from partitioner.placement.folded import Folded, fold
from partitioner.placement.goal import Goal, fastest, least_missing
from partitioner.placement.master import MasterError
from partitioner.placement.problem import Infeasible, Problem, Solution
from partitioner.placement.relaxation import Relaxation, relax, relaxation_at
from partitioner.placement.search import CLOSE, Found, Placed, Search
from partitioner.placement.states import TooManyStates
from partitioner.placement.tally import Box
from partitioner.placement.unfolded import solve_unfolded
from partitioner.placement.validate import validate


def solve(problem: Problem, max_gap: float = 0.0) -> Solution | Infeasible:
    """Returns the fastest placement with its certificate, or what is missing where nothing fits.

    The same problem always gives the same result; of equally fast placements one with little load and few bytes on later
    tiers is taken.

    Raises:
        ValueError: The problem is faulty.
    """
    validate(problem)
    try:
        folded = fold(problem)
    except TooManyStates:
        return solve_unfolded(problem)
    goal = fastest(problem, folded.most)
    pool = ColumnPool()
    alone = _chains_alone(problem, folded, goal, pool)
    seconds = float(folded.most[: len(problem.phases)].sum())
    search = Search(problem, folded, goal, alone.bound or seconds or 1.0, max_gap)
    quickest = search.place(_chosen(alone))
    fits = goal.holds(quickest.total)
    if fits and quickest.value - alone.bound <= CLOSE * quickest.value:
        return _solution(search, Found(quickest, alone.bound, len(pool)), alone)
    missing = _missing(search)
    if not fits:
        relaxed = relax(folded, missing.goal, missing.unit, pool, alone.box, 1e-12 * missing.unit)
        if relaxed.bound > 1e-9 * missing.unit:
            return _infeasible(problem, _least(missing, pool))
    try:
        root = relax(folded, goal, search.unit, pool, alone.box)
    except MasterError:
        root = alone
    found = search.run(root, pool, quickest if fits else None)
    if found.placed is None:
        least = _least(missing, pool)
        if not goal.holds(least.total):
            return _infeasible(problem, least)
        found = search.run(root, pool, search.place(least.chosen))
    return _solution(search, found, root)


def _chains_alone(problem: Problem, folded: Folded, goal: Goal, pool: ColumnPool) -> Relaxation:
    """Returns the problem without resources and capacities: a shortest path."""
    price = np.zeros(len(goal.group))
    price[: len(problem.phases)] = 1.0
    free = np.zeros(len(folded.kinds.most))
    relaxation = relaxation_at(folded, goal, price, free, Box(free, folded.kinds.most), free, 0)
    pool.add_model(relaxation.paths, relaxation.model)
    return relaxation


def _chosen(relaxation: Relaxation) -> Chosen:
    """Returns the placement that is cheapest at the relaxation's prices."""
    stages: list[tuple[tuple[int, ...], ...]] = []
    for path, ways in zip(relaxation.paths, relaxation.model.ways, strict=True):
        picks = {way: path.picks(*way) for way in sorted(set(ways))}
        stages.append(tuple(picks[way] for way in ways))
    return tuple(stages)


def _missing(search: Search) -> Search:
    """Returns the search for the least bytes missing."""
    goal = least_missing(search.problem, search.folded.most)
    return Search(
        search.problem, search.folded, goal, float(search.folded.most[goal.asked].sum()) or 1.0, 0.0
    )


def _least(missing: Search, pool: ColumnPool) -> Placed:
    """Returns the placement with the least bytes missing."""
    kinds = missing.folded.kinds
    whole = Box(np.zeros(len(kinds.most)), kinds.most)
    relaxation = relax(missing.folded, missing.goal, missing.unit, pool, whole)
    known = missing.place(_chosen(relaxation))
    return missing.run(relaxation, pool, known).placed or known


def _infeasible(problem: Problem, placed: Placed) -> Infeasible:
    parts = breakdown(problem, placed.chosen)
    return Infeasible(parts.shortfall(problem.capacities), parts.memory_bytes)


def _solution(search: Search, found: Found, relaxation: Relaxation) -> Solution:
    placed = found.placed
    assert placed is not None, "only a search that found a placement has a solution"
    bound = min(found.bound, placed.value)
    num_arcs = sum(stage.graph.num_arcs for stage in search.folded.stages)
    how = (
        f"{found.num_arcs} of {num_arcs} arcs, "
        f"{len(search.goal.asked)} limits, {relaxation.rounds} rounds of prices"
    )
    return Solution(placed.chosen, placed.value, bound, how)
