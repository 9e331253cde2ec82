"""The exact solver: the fastest placement within the capacities, with a proven bound, or what is missing.

Identical blocks are one graph (``states``) and share columns; prices from the relaxation (``relaxation``) tell which arcs can
be part of an optimum, and an integer program over these finds it (``along``, ``search``). Nothing but two walks over small
matrices depends on the depth of the model.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from partitioner.placement.columns import ColumnPool, model_columns
from partitioner.placement.evaluate import breakdown
from partitioner.placement.folded import Folded, fold
from partitioner.placement.goal import UNASKED, Goal, fastest, least_missing
from partitioner.placement.highs import MAX_NODES, SolverError
from partitioner.placement.lower_bound import NO_PRICES, Prices, prices_of
from partitioner.placement.problem import Infeasible, Problem, Solution, Undecided
from partitioner.placement.relaxation import Relaxation, relax, relaxation_at
from partitioner.placement.root_relaxation import root_relaxation
from partitioner.placement.search import best_placement
from partitioner.placement.search_space import CLOSE, Placed, SearchSpace
from partitioner.placement.states import TooManyStatesError
from partitioner.placement.tally import Box
from partitioner.placement.unfolded import solve_unfolded
from partitioner.placement.validate import validate

MAX_SCALES = 6
"""How often the relaxation is solved on another scale, each up to a thousand times finer."""


def solve(
    problem: Problem,
    cutoff: float = math.inf,
    prices: Prices = NO_PRICES,
    limit: float = math.inf,
    *,
    briefly: bool = False,
) -> Solution | Infeasible | Undecided | None:
    """Returns the fastest placement with its certificate, or what is missing where nothing fits.

    The same problem always gives the same result; of equally fast placements one with little load and few bytes on later
    tiers is taken.

    Args:
        problem: The problem.
        cutoff: Seconds that are known to be possible elsewhere; None is returned where it shows early that no placement of
            this problem takes less, and what is known where the search came to its limit.
        prices: Those that another problem of the same model ended with; they may show it at once (see ``lower_bound``).
        limit: Seconds of which only bounds are to tell whether they are out of reach; the search is the one without it, and may
            end with a placement that takes longer.
        briefly: Whether a placement near the bound will do where the best one takes a search.

    Raises:
        ValueError: The problem is faulty.
        SolverError: The linear or integer solver failed, or came to its limit without a placement.
    """
    validate(problem)
    try:
        folded = fold(problem)
    except TooManyStatesError:
        return solve_unfolded(problem)
    goal = fastest(problem, folded.most)
    alone = _chains_alone(problem, folded, goal)
    enough = min(cutoff, limit)
    if enough < math.inf:
        asked = np.where(goal.group != UNASKED, prices_of(problem, prices), 0.0)
        if _at_prices(folded, goal, asked).bound >= enough:
            return None
    shortest = model_columns(alone.paths, alone.model)
    space = SearchSpace(problem, folded, goal, goal.value(folded.most) or 1.0)
    quickest = space.place(shortest)
    fits = goal.holds(quickest.total)
    if fits:
        quickest = space.polished(quickest, shortest)
    if fits and quickest.value - alone.bound <= CLOSE * quickest.value:
        return _solution(quickest, alone.bound, alone, f"shortest path over {folded.num_arcs} arcs")
    pool = ColumnPool()
    pool.add(column for columns in shortest for column in columns)
    missing = _missing(space)
    root, unit, exceeds = alone, space.unit, not fits
    if space.is_large:
        root, unit, exceeds = _large_root(space, pool, alone, enough)
        if root.bound >= enough:
            return None
    elif exceeds and enough < math.inf:
        apart = ColumnPool()  # what is found here must not decide between placements that are equally good
        apart.add(pool)
        if _large_root(space, apart, alone, enough)[0].bound >= enough:
            return None
    if exceeds:
        relaxed = relax(folded, missing.goal, missing.unit, pool, alone.box, 1e-12 * missing.unit)
        if relaxed.bound > 1e-9 * missing.unit:
            return _infeasible(problem, _least(missing, pool))
    if exceeds or not space.is_large:
        root, unit = _root(space, pool, alone)
    if root.bound >= enough:
        return None
    space = replace(space, unit=unit)
    found = best_placement(space, root, pool, quickest if fits else None, cutoff, briefly=briefly)
    if found.placed is None and enough < math.inf:
        return None if found.finished else Undecided(max(root.bound, min(found.bound, enough)))
    if found.placed is None:
        least = _least(missing, pool)
        if not goal.holds(least.total):
            if found.finished:
                return _infeasible(problem, least)
            raise SolverError(
                f"{MAX_NODES} nodes of the integer program show neither a placement that fits nor that there is none"
            )
        found = best_placement(space, root, pool, replace(least, value=goal.value(least.total)))
    assert found.placed is not None, "a search returns what it was given, or better"
    how = (
        f"{found.num_arcs} of {folded.num_arcs} arcs, "
        f"{len(goal.asked)} limits, {root.rounds} rounds of prices"
    )
    return _solution(found.placed, found.bound, root, how)


def _chains_alone(problem: Problem, folded: Folded, goal: Goal) -> Relaxation:
    """Returns the problem without resources and capacities: a shortest path."""
    price = np.zeros(len(goal.group))
    price[: len(problem.phases)] = 1.0
    return _at_prices(folded, goal, price)


def _at_prices(folded: Folded, goal: Goal, price: NDArray[np.float64]) -> Relaxation:
    """Returns what some prices [D] prove with no more ado."""
    free = np.zeros(len(folded.kinds.most))
    return relaxation_at(folded, goal, price, free, Box(free, folded.kinds.most), free, 0)


def _root(space: SearchSpace, pool: ColumnPool, alone: Relaxation) -> tuple[Relaxation, float]:
    """Returns the relaxed problem, and the size of its objective, which scales it: found by going down from the largest."""
    root, unit = alone, space.unit
    for _ in range(MAX_SCALES):
        unit = max(root.bound, 1e-3 * unit)
        try:
            relaxed = relax(space.folded, space.goal, unit, pool, alone.box)
        except SolverError:
            break
        root = max(root, relaxed, key=lambda relaxation: relaxation.bound)
        if root.bound > 0.1 * unit:
            break
    return root, unit


def _large_root(
    space: SearchSpace, pool: ColumnPool, alone: Relaxation, cutoff: float
) -> tuple[Relaxation, float, bool]:
    """Returns the same for many arcs, and whether it shows that nothing keeps the capacities (see ``root_relaxation``)."""
    root, unit, exceeds = alone, space.unit, False
    for _ in range(MAX_SCALES):
        unit = max(root.bound, 1e-3 * unit)
        try:
            relaxed, exceeds = root_relaxation(space.folded, space.goal, unit, pool, cutoff)
        except SolverError:
            return root, unit, True
        root = max(root, relaxed, key=lambda relaxation: relaxation.bound)
        if root.bound > 0.1 * unit or exceeds:
            break
    return root, unit, exceeds


def _missing(space: SearchSpace) -> SearchSpace:
    """Returns what a search for the least bytes missing holds."""
    goal = least_missing(space.problem, space.folded.most)
    return replace(space, goal=goal, unit=float(space.folded.most[goal.asked].sum()) or 1.0)


def _least(missing: SearchSpace, pool: ColumnPool) -> Placed:
    """Returns the placement with the least bytes missing, told apart to about 1e-8 of the capacities."""
    kinds = missing.folded.kinds
    whole = Box(np.zeros(len(kinds.most)), kinds.most)
    relaxation = relax(missing.folded, missing.goal, missing.unit, pool, whole)
    known = missing.place(model_columns(relaxation.paths, relaxation.model))
    return best_placement(missing, relaxation, pool, known).placed or known


def _infeasible(problem: Problem, placed: Placed) -> Infeasible:
    parts = breakdown(problem, placed.chosen)
    return Infeasible(parts.shortfall(problem.capacities), parts.memory_bytes)


def _solution(placed: Placed, bound: float, priced: Relaxation, how: str) -> Solution:
    price = tuple(priced.price.tolist())
    return Solution(placed.chosen, placed.value, min(bound, placed.value), how, price)
