"""Whatever prices another problem ended with, the bound they give is one."""

import math
from dataclasses import replace

import numpy as np

from partitioner.placement.exhaustive import exhaustive
from partitioner.placement.lower_bound import lower_bound, named_prices
from partitioner.placement.problem import Solution
from partitioner.placement.solve import solve
from tests.partitioner.placement.problems import random_problem


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
        assert lower_bound(problem, prices) <= oracle.objective * (1 + 1e-9)
        sharper += lower_bound(problem, prices) > lower_bound(problem) * (1 + 1e-9)
    assert sharper > 10


def test_prices_go_by_name() -> None:
    """A problem with other resources counts what it has in common."""
    problem = next(p for p in map(random_problem, range(100)) if p.resources)
    price = [1.0 / (1 + len(problem.resources))] * (len(problem.phases) + len(problem.resources))
    prices = named_prices(problem, [*price, *[0.0] * len(problem.tiers)])
    known = {name: worth for name, worth in prices.items() if name[0] == "chain"}
    assert 0 < lower_bound(problem, known) <= lower_bound(problem, prices) * (1 + 1e-9)
    assert lower_bound(problem, {("no such resource", "decode"): 1.0}) == lower_bound(problem)
    assert math.isfinite(lower_bound(problem, prices))
