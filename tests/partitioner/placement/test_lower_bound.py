"""Whatever prices another problem ended with, the bound they give is one."""

import math
from dataclasses import replace

import numpy as np

from partitioner.placement.exhaustive import exhaustive
from partitioner.placement.lower_bound import NO_PRICES, Prices, lower_bound, named_prices
from partitioner.placement.problem import Infeasible, Problem, Solution
from partitioner.placement.solve import solve
from tests.partitioner.placement.problems import random_problem


def bound_of(problem: Problem, prices: Prices = NO_PRICES) -> float:
    return lower_bound(problem, prices).at(problem.capacities)


def test_no_placement_is_better_than_the_bound_at_the_prices_of_another_problem() -> None:
    sharper = 0
    for seed in range(120):
        problem = random_problem(seed)
        rng = np.random.default_rng(seed)
        tighter = replace(problem, capacities=tuple(c * rng.uniform(0.5, 1.0) for c in problem.capacities))
        other, oracle = solve(tighter), exhaustive(problem)
        if not (isinstance(other, Solution) and isinstance(oracle, Solution)):
            continue
        prices = named_prices(tighter, other.price)
        assert bound_of(problem, prices) <= oracle.objective * (1 + 1e-9)
        sharper += bound_of(problem, prices) > bound_of(problem) * (1 + 1e-9)
    assert sharper > 10


def test_what_certainly_does_not_fit_has_no_finite_bound() -> None:
    told = 0
    for seed in range(120):
        problem = random_problem(seed)
        tight = replace(problem, capacities=tuple(0.4 * c for c in problem.capacities))
        if math.isinf(bound_of(tight)):
            told += 1
            assert isinstance(exhaustive(tight), Infeasible)
    assert told > 5


def test_prices_go_by_name() -> None:
    """A problem with other resources counts what it has in common."""
    some = (p for p in map(random_problem, range(100)) if p.resources)
    problem = next(p for p in some if isinstance(exhaustive(p), Solution))
    price = [1.0 / (1 + len(problem.resources))] * (len(problem.phases) + len(problem.resources))
    prices = named_prices(problem, [*price, *[0.0] * len(problem.tiers)])
    known = {name: worth for name, worth in prices.items() if name[0] == "chain"}
    assert 0 < bound_of(problem, known) <= bound_of(problem, prices) * (1 + 1e-9)
    assert bound_of(problem, {("no such resource", "decode"): 1.0}) == bound_of(problem)
    assert math.isfinite(bound_of(problem, prices))
