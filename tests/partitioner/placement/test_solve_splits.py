"""The solver on attentions that tiers share in every possible way, against all pairs of layers."""

from __future__ import annotations

import math

import numpy as np
import pytest

from partitioner.placement import along, first_search, kept_ways, search, search_space, wide_search
from partitioner.placement.evaluate import breakdown
from partitioner.placement.priced_search import PricedFound, PricedSearch
from partitioner.placement.problem import Infeasible, Problem, Solution
from partitioner.placement.solve import solve
from tests.partitioner.placement.problems import split_problem


def best_of_all_pairs(problem: Problem) -> float:
    """Returns the objective of the best of all pairs of layers of a ``split_problem``, infinite where none fits."""
    attention, linear = (choice.variants for choice in problem.stages[0].block.choices)
    ways = [(a, w) for a in attention for w in linear]
    chain = np.array([a.seconds[0] + w.seconds[0] for a, w in ways])
    busy = np.array([math.fsum(s for _, s in (*a.busy, *w.busy)) for a, w in ways])
    memory = np.array([np.add(a.memory, w.memory) for a, w in ways])
    fits = (memory[:, None] + memory[None] <= np.array(problem.capacities)).all(axis=2)
    objective = np.maximum(chain[:, None] + chain[None], busy[:, None] + busy[None])
    return float(objective[fits].min(initial=math.inf))


@pytest.mark.parametrize("many_arcs", [search_space.MANY_ARCS, 20])
def test_splits_are_as_good_as_the_best_of_all(monkeypatch: pytest.MonkeyPatch, many_arcs: int) -> None:
    """Problems with many arcs are searched up to a gap, and first among few of many variants."""
    monkeypatch.setattr(search_space, "MANY_ARCS", many_arcs)
    slack = 1e-9 if many_arcs > 100 else search_space.ENOUGH
    num_infeasible = 0
    for seed in range(100):
        problem = split_problem(seed)
        best, result = best_of_all_pairs(problem), solve(problem)
        if math.isinf(best):
            num_infeasible += 1
            assert isinstance(result, Infeasible)
            continue
        assert isinstance(result, Solution)
        assert best * (1 - 1e-9) <= result.objective <= best * (1 + slack)
        assert result.objective * (1 - slack) - 1e-9 <= result.bound <= best * (1 + 1e-9)
        assert not any(breakdown(problem, result.chosen).shortfall(problem.capacities))
    assert 15 <= num_infeasible <= 85


def test_a_brief_search_ends_with_a_placement_that_fits_and_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_space, "MANY_ARCS", 20)
    searched: list[Problem] = []
    run = search._searched
    monkeypatch.setattr(
        search, "_searched", lambda space, *rest: searched.append(space.problem) or run(space, *rest)
    )
    num_brief = 0
    for seed in range(40):
        problem = split_problem(seed)
        best, result = best_of_all_pairs(problem), solve(problem, briefly=True)
        if math.isinf(best):
            assert isinstance(result, Infeasible)
            continue
        assert isinstance(result, Solution)
        assert result.bound * (1 - 1e-9) <= best <= result.objective * (1 + 1e-9)
        assert not any(breakdown(problem, result.chosen).shortfall(problem.capacities))
        num_brief += all(problem is not other for other in searched)
    assert num_brief >= 10


def test_columns_made_on_demand_prove_what_they_find(monkeypatch: pytest.MonkeyPatch) -> None:
    """Problems with too many routes to list are searched by a tree whose nodes price the columns they miss; none is settled."""
    monkeypatch.setattr(search, "settled", lambda space, root, found, limit, pains=None: found)
    monkeypatch.setattr(search_space, "MANY_ARCS", 20)
    monkeypatch.setattr(kept_ways, "FEW_ROUTES", -1)
    for module in (along, first_search, search, wide_search):
        monkeypatch.setattr(module, "LARGE", 0)
    searched: list[PricedFound] = []
    run = PricedSearch.search
    monkeypatch.setattr(PricedSearch, "search", lambda *a, **k: searched.append(run(*a, **k)) or searched[-1])
    num_close = 0
    for seed in range(40):
        problem = split_problem(seed)
        best, result = best_of_all_pairs(problem), solve(problem)
        if math.isinf(best):
            assert isinstance(result, Infeasible)
            continue
        assert isinstance(result, Solution)
        assert best * (1 - 1e-9) <= result.objective <= best * (1 + search.WIDE_GAP)
        assert result.bound <= best * (1 + 1e-9)
        assert not any(breakdown(problem, result.chosen).shortfall(problem.capacities))
        num_close += result.gap <= wide_search.NEARLY
    assert len(searched) >= 10
    assert num_close >= 10
