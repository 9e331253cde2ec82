"""The solver against the oracle on small problems, and its promises on one with the numbers of a large decoder."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

import pytest

from partitioner.placement import solve as solve_module
from partitioner.placement.evaluate import breakdown, evaluate
from partitioner.placement.exhaustive import exhaustive
from partitioner.placement.problem import Infeasible, Problem, Solution
from partitioner.placement.solve import solve
from tests.partitioner.placement.decoder import decoder_problem
from tests.partitioner.placement.problems import random_problem

NUM_BATCHES, BATCH = 12, 50


@pytest.mark.parametrize("batch", range(NUM_BATCHES))
def test_the_optimum_is_that_of_the_oracle(batch: int) -> None:
    """Solves 600 random problems in all; every batch has some with tight limits and some in which nothing fits."""
    seen: Counter[str] = Counter()
    for seed in range(batch * BATCH, (batch + 1) * BATCH):
        problem = random_problem(seed)
        found, expected = solve(problem), exhaustive(problem)
        if isinstance(expected, Infeasible):
            seen["infeasible"] += 1
            assert isinstance(found, Infeasible), seed
            missing = math.fsum(expected.shortfall)
            assert math.fsum(found.shortfall) == pytest.approx(missing, rel=1e-9), seed
            continue
        assert isinstance(found, Solution), seed
        assert found.objective == pytest.approx(expected.objective, rel=1e-9), seed
        assert found.bound <= found.objective * (1 + 1e-12), seed
        assert found.gap <= 1e-9, seed
        assert evaluate(problem, found.chosen) == found.objective, seed
        assert not any(breakdown(problem, found.chosen).shortfall(problem.capacities)), seed
        seen["tight" if _limits_matter(problem, found) else "ample"] += 1
    assert min(seen[kind] for kind in ("infeasible", "tight", "ample")) >= 3, seen


def _limits_matter(problem: Problem, found: Solution) -> bool:
    free = exhaustive(replace(problem, capacities=(math.inf,) * len(problem.capacities)))
    return isinstance(free, Solution) and free.objective < found.objective * (1 - 1e-9)


def test_the_same_problem_has_the_same_solution() -> None:
    for seed in range(30):
        problem = random_problem(seed)
        assert solve(problem) == solve(problem)
    assert solve(decoder_problem(8)) == solve(decoder_problem(8))


@pytest.mark.parametrize("rich", [False, True])
def test_a_decoder_of_40_layers_is_solved_to_the_end(rich: bool) -> None:
    problem = decoder_problem(40, rich=rich)
    found = solve(problem)
    assert isinstance(found, Solution)
    assert found.gap <= 1e-9
    assert not any(breakdown(problem, found.chosen).shortfall(problem.capacities))
    assert evaluate(problem, found.chosen) == found.objective


def test_more_memory_is_never_slower() -> None:
    gpu_bytes = (30e9, 48e9, 160e9)
    times: list[float] = []
    for capacity in gpu_bytes:
        found = solve(decoder_problem(12, (capacity, 20e9, 2e12)))
        assert isinstance(found, Solution)
        times.append(found.objective)
    assert times == sorted(times, reverse=True)
    assert times[0] > times[-1]


def test_the_folded_graph_does_not_grow_with_depth(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four times the layers, and memory with them: the same graph."""
    sizes: list[int] = []
    original = solve_module.fold

    def counting(problem: Problem) -> object:
        folded = original(problem)
        sizes.append(folded.num_arcs)
        return folded

    monkeypatch.setattr(solve_module, "fold", counting)
    for depth in (10, 40):
        found = solve(decoder_problem(depth, (1.2e9 * depth, 2.4e9 * depth, 1e12 * depth)))
        assert isinstance(found, Solution)
        assert found.gap <= 1e-9
    assert sizes[0] == sizes[1]


def test_a_decoder_that_does_not_fit_says_what_is_missing() -> None:
    problem = decoder_problem(40, (10e9, 5e9, 0.0))
    found = solve(problem)
    assert isinstance(found, Infeasible)
    assert sum(found.shortfall) > 50e9
    for short, needed, capacity in zip(found.shortfall, found.needed, problem.capacities, strict=True):
        assert short == max(0.0, needed - capacity)


def test_a_cutoff_below_the_optimum_ends_the_search() -> None:
    problem = decoder_problem(40)
    optimum = solve(problem)
    assert isinstance(optimum, Solution)
    assert solve(problem, cutoff=0.5 * optimum.objective) is None
    assert solve(problem, cutoff=2.0 * optimum.objective) == optimum


def test_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    """HiGHS writes some messages past its own switch for them."""
    for seed in range(40):
        solve(random_problem(seed))
    solve(decoder_problem(40, rich=True))
    assert capfd.readouterr() == ("", "")


def test_the_oracle_refuses_what_would_take_minutes() -> None:
    with pytest.raises(ValueError, match="tries at most 1000000 placements"):
        exhaustive(decoder_problem(40))
