"""The solver on the numbers of a large decoder: optimum, shortfall, and work that does not grow with depth."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from partitioner.placement import highs, search_space
from partitioner.placement.evaluate import Chosen, breakdown, evaluate
from partitioner.placement.folded import fold
from partitioner.placement.problem import Choice, Infeasible, Problem, Solution
from partitioner.placement.solve import solve
from tests.partitioner.placement.decoder import decoder_problem


def solved(problem: Problem) -> Solution:
    result = solve(problem)
    assert isinstance(result, Solution)
    return result


class TestDecoder:
    """The numbers of a 13-billion-parameter decoder."""

    @pytest.mark.parametrize("rich", [False, True])
    def test_forty_layers_are_solved_to_the_optimum(self, rich: bool) -> None:
        problem = decoder_problem(40, rich=rich)
        result = solved(problem)
        assert result.gap <= (search_space.ENOUGH if rich else 1e-9)
        assert result.objective == evaluate(problem, result.chosen)
        assert not any(breakdown(problem, result.chosen).shortfall(problem.capacities))
        # A placement by hand: embedding, head and caches on the drive, and all other weights on the GPU.
        assert 0 < result.bound <= result.objective <= evaluate(problem, by_hand(problem))

    def test_what_no_tier_holds_is_told(self) -> None:
        problem = decoder_problem(40, capacities=(10e9, 20e9, 0.0))
        result = solve(problem)
        assert isinstance(result, Infeasible)
        wanted = math.fsum(result.needed)
        assert math.fsum(result.shortfall) == pytest.approx(wanted - 30e9, abs=1e6 * 10)

    @pytest.mark.parametrize("gigabytes", [(12, 24), (10, 20)])
    def test_ten_times_the_layers_cost_at_most_twice_the_work(
        self, gigabytes: tuple[int, int], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        programs: list[int] = []

        def counted(solve: Callable[..., object], size: Callable[..., int]) -> Callable[..., object]:
            def ask(*args: Any, **options: Any) -> object:
                programs.append(size(*args, **options))
                return solve(*args, **options)

            return ask

        monkeypatch.setattr(
            highs, "milp", counted(highs.milp, lambda *_, constraints, **__: constraints.A.nnz)
        )
        monkeypatch.setattr(
            highs, "linprog", counted(highs.linprog, lambda _, limits, *__, **___: limits.size)
        )
        work = []
        for depth in (8, 80):
            gpu, host = (depth / 8 * 1e9 * size for size in gigabytes)
            problem = decoder_problem(depth, (gpu, host, depth * 1e12))
            programs.clear()
            assert solved(problem).gap <= search_space.ENOUGH
            work.append((fold(problem).num_arcs, len(programs), sum(programs)))
        (arcs, num_programs, numbers), (deep_arcs, num_deep_programs, deep_numbers) = work
        assert deep_arcs == arcs
        assert num_deep_programs <= 2 * num_programs
        assert deep_numbers <= 2 * numbers


def by_hand(problem: Problem) -> Chosen:
    """Returns the placement that runs all on the GPU, with caches on the drive and weights on the GPU."""

    def pick(choice: Choice) -> int:
        home = (2,) if choice.name == "attention" else (0,)
        on_gpu = [i for i, v in enumerate(choice.variants) if v.tiers == (0, 0)]
        at_home = [
            i
            for i in on_gpu
            if all(size == 0 or tier in home for tier, size in enumerate(choice.variants[i].memory))
        ]
        return at_home[0]

    return tuple((tuple(pick(c) for c in stage.block.choices),) * stage.count for stage in problem.stages)
