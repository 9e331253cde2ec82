"""The simpler ways to place a model never beat trying everything; a minimum cut equals it where it is exact."""

import math
from dataclasses import replace

import pytest

from benchmarks.baselines.greedy import greedy
from benchmarks.baselines.min_cut import min_cut
from partitioner.placement.evaluate import breakdown, evaluate
from partitioner.placement.exhaustive import exhaustive
from partitioner.placement.problem import Problem, Solution
from partitioner.placement.variant_list import Variant
from tests.partitioner.placement.problems import random_problem, with_variants


def on_one_tier(variant: Variant) -> Variant:
    tier = next((t for t in variant.tiers if t is not None), 0)
    return replace(variant, tiers=(tier,) * len(variant.tiers), busy=())


def two_tiers(seed: int) -> Problem | None:
    """Returns a problem of two tiers without capacities or load on links, each op of which runs on one tier in all phases."""
    drawn = random_problem(seed, 200)
    if len(drawn.tiers) != 2:
        return None
    return replace(with_variants(drawn, on_one_tier), capacities=(math.inf, math.inf))


@pytest.mark.parametrize("seed", range(40))
def test_greedy_never_beats_trying_everything(seed: int) -> None:
    problem = random_problem(seed, 200)
    chosen, best = greedy(problem), exhaustive(problem)
    if chosen is None:
        return
    assert not any(breakdown(problem, chosen).shortfall(problem.capacities))
    assert isinstance(best, Solution)
    assert evaluate(problem, chosen) >= best.objective * (1 - 1e-9)


@pytest.mark.parametrize("seed", range(60))
def test_a_minimum_cut_is_the_best_of_all(seed: int) -> None:
    problem = two_tiers(seed)
    if problem is None:
        return
    best = exhaustive(problem)
    assert isinstance(best, Solution)
    assert evaluate(problem, min_cut(problem)) == pytest.approx(best.objective)


def test_some_problems_are_compared() -> None:
    assert sum(two_tiers(seed) is not None for seed in range(60)) > 10
    assert sum(greedy(random_problem(seed, 200)) is not None for seed in range(40)) > 10
