"""The solver against the oracle on hundreds of small problems, and on a large decoder."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from partitioner.placement import branching, highs, search, states
from partitioner.placement import solve as solving
from partitioner.placement.arcflow import Flow
from partitioner.placement.evaluate import Chosen, breakdown, evaluate
from partitioner.placement.exhaustive import exhaustive
from partitioner.placement.folded import Folded, fold
from partitioner.placement.goal import Goal
from partitioner.placement.highs import SolverError
from partitioner.placement.problem import Block, Choice, Infeasible, Problem, Solution, Stage, Variant
from partitioner.placement.relaxation import Relaxation
from partitioner.placement.solve import solve
from partitioner.placement.unfolded import solve_unfolded
from tests.partitioner.placement.decoder import decoder_problem
from tests.partitioner.placement.problems import in_bytes, random_problem, split_problem, with_load

Result = Solution | Infeasible | None


def solved(problem: Problem) -> Solution:
    result = solve(problem)
    assert isinstance(result, Solution)
    return result


def solved_within(problem: Problem, cutoff: float) -> Solution:
    result = solve(problem, cutoff=cutoff)
    assert isinstance(result, Solution)
    return result


def check(problem: Problem, result: Result, oracle: Solution | Infeasible, missing: float = 1e-9) -> None:
    """Holds a result against the oracle; what is missing may differ by a share of the largest capacity, or relatively."""
    if isinstance(oracle, Infeasible):
        assert isinstance(result, Infeasible)
        assert any(result.shortfall)
        short = (max(0.0, n - c) for n, c in zip(result.needed, problem.capacities, strict=True))
        assert result.shortfall == tuple(short)
        assert math.fsum(result.shortfall) == pytest.approx(
            math.fsum(oracle.shortfall), rel=1e-9, abs=missing
        )
        return
    assert isinstance(result, Solution)
    assert result.objective == pytest.approx(oracle.objective, rel=1e-9)
    assert result.objective == evaluate(problem, result.chosen)
    assert result.bound <= result.objective
    assert result.gap <= 1e-9
    assert not any(breakdown(problem, result.chosen).shortfall(problem.capacities))


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


def without_capacities(problem: Problem) -> Problem:
    return replace(problem, capacities=(math.inf,) * len(problem.tiers))


@pytest.mark.parametrize("many_arcs", [search.MANY_ARCS, 20])
def test_splits_are_as_good_as_the_best_of_all(monkeypatch: pytest.MonkeyPatch, many_arcs: int) -> None:
    """Problems with many arcs are searched up to a gap, and first among few of many variants."""
    monkeypatch.setattr(search, "MANY_ARCS", many_arcs)
    slack = 1e-9 if many_arcs > 100 else search.ENOUGH
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


@pytest.mark.parametrize("first", range(0, 600, 100))
def test_the_solver_finds_what_trying_everything_finds(first: int) -> None:
    num_infeasible = num_tight = num_ample = 0
    for seed in range(first, first + 100):
        problem = random_problem(seed)
        oracle = exhaustive(problem)
        check(problem, solve(problem), oracle)
        if isinstance(oracle, Infeasible):
            num_infeasible += 1
        elif oracle.objective > solved(without_capacities(problem)).objective * (1 + 1e-9):
            num_tight += 1
        else:
            num_ample += 1
    assert min(num_infeasible, num_tight, num_ample) >= 5, "the seeds no longer cover all kinds of capacities"


@pytest.mark.parametrize("first", [1000, 1050])
def test_branching_first_changes_no_result(first: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "FEW_ARCS", 0)
    for seed in range(first, first + 50):
        problem = random_problem(seed)
        check(problem, solve(problem), exhaustive(problem))


def test_blocks_too_wide_to_fold_are_solved_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(states, "MAX_ARCS", 0)
    kinds = set()
    for seed in range(2000, 2100):
        problem = random_problem(seed)
        oracle = exhaustive(problem)
        result = solve(problem)
        check(problem, result, oracle)
        assert not isinstance(result, Solution) or result.solver.startswith("unfolded")
        kinds.add(type(oracle))
    assert kinds == {Solution, Infeasible}


@pytest.mark.parametrize("folded", [True, False])
def test_capacities_hold_to_the_last_byte(folded: bool) -> None:
    """Sums closer to a capacity than the integer program's tolerance are told apart; the first seeds are full of such."""
    for seed in (103, 114, 141, 226, 315, 349, 782, 1185, 1211, *range(3000, 3020)):
        problem = in_bytes(random_problem(seed), seed)
        largest = max((c for c in problem.capacities if c < math.inf), default=0.0)
        result = solve(problem) if folded else solve_unfolded(problem)
        check(problem, result, exhaustive(problem), missing=1e-8 * largest)


@pytest.mark.parametrize("folded", [True, False])
@pytest.mark.parametrize("factor", [1e-4, 1e4])
def test_loads_may_be_of_another_size_than_chains(factor: float, folded: bool) -> None:
    for seed in (283, 492, 842, 1038, *range(4000, 4020)):
        problem = with_load(random_problem(seed), factor)
        check(problem, solve(problem) if folded else solve_unfolded(problem), exhaustive(problem))


def test_the_gap_is_told_where_numbers_are_too_far_apart() -> None:
    """A whole number of the integer program may be off by 1e-6: a variant of ten million times the rest hides the rest."""
    num_open = 0
    for seed in (15, 419, 1074, 1111, 1399):
        problem = with_load(random_problem(seed), 1e7)
        oracle, result = exhaustive(problem), solved(problem)
        assert isinstance(oracle, Solution)
        assert result.bound * (1 - 1e-9) <= oracle.objective <= result.objective * (1 + 1e-9)
        assert result.gap <= 1e-6
        num_open += result.gap > 1e-9
    assert num_open, "all are solved to the end now: demand it above"


@pytest.mark.parametrize("seed", [3708, 4241, 5079])
def test_a_result_that_presolve_refuses_is_asked_for_again(seed: int) -> None:
    problem = random_problem(seed)
    check(problem, solve(problem), exhaustive(problem))


@pytest.mark.parametrize("seed", [1594, 2748, 2989])
def test_a_result_that_presolve_refuses_is_asked_for_again_unfolded(seed: int) -> None:
    problem = random_problem(seed)
    check(problem, solve_unfolded(problem), exhaustive(problem))


@pytest.mark.parametrize("seed", [3007, 3179, 5478])
def test_the_solver_prints_nothing(seed: int, capfd: pytest.CaptureFixture[str]) -> None:
    solve(random_problem(seed))
    assert capfd.readouterr() == ("", "")


def test_the_same_problem_gives_the_same_result() -> None:
    for seed in range(5000, 5030):
        assert solve(random_problem(seed)) == solve(random_problem(seed))


def test_more_memory_never_hurts() -> None:
    for seed in range(6000, 6060):
        problem = random_problem(seed)
        result = solve(problem)
        if isinstance(result, Solution):
            larger = replace(problem, capacities=tuple(1.5 * c for c in problem.capacities))
            assert solved(larger).objective <= result.objective * (1 + 1e-9)


def test_capacities_below_zero_miss_what_they_lack() -> None:
    problem = replace(random_problem(3), capacities=(-5.0,) * len(random_problem(3).tiers))
    check(problem, solve(problem), exhaustive(problem))


def test_none_says_that_nothing_beats_the_cutoff() -> None:
    num_cut = 0
    for seed in range(7000, 7040):
        problem = random_problem(seed)
        result = solve(problem)
        if isinstance(result, Solution):
            within = solved_within(problem, 1.001 * result.objective + 1e-9)
            assert (within.chosen, within.objective) == (result.chosen, result.objective)
            num_cut += solve(problem, cutoff=0.5 * result.objective) is None
    assert num_cut >= 3


def test_nothing_is_claimed_where_the_integer_program_ends_early(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "solve_flow", lambda *_, **__: Flow(None, 0.0, finished=False))
    endings: Counter[str] = Counter()
    for seed in range(120):
        problem = random_problem(seed)
        oracle = exhaustive(problem)
        try:
            result = solve(problem)
        except SolverError:
            endings["undecided"] += 1
            with pytest.raises(SolverError, match="neither a placement that fits nor that there is none"):
                solve(problem)
            continue
        if isinstance(result, Solution):
            assert isinstance(oracle, Solution)
            assert not any(breakdown(problem, result.chosen).shortfall(problem.capacities))
            assert result.bound * (1 - 1e-9) <= oracle.objective <= result.objective * (1 + 1e-9)
            endings["gap"] += result.gap > 1e-9
        else:
            assert isinstance(oracle, Infeasible)
            endings["infeasible"] += 1
    assert endings.keys() == {"undecided", "gap", "infeasible"}


def test_branching_ends_where_a_relaxation_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object) -> None:
        raise SolverError("no")

    monkeypatch.setattr(search, "FEW_ARCS", 0)
    monkeypatch.setattr(branching, "relax", failing)
    for seed in range(8000, 8020):
        problem = random_problem(seed)
        check(problem, solve(problem), exhaustive(problem))


def test_without_a_root_relaxation_the_chains_alone_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    real = solving.relax

    def failing(folded: Folded, goal: Goal, *rest: Any) -> Relaxation:
        if goal.hard.size:
            raise SolverError("no")
        return real(folded, goal, *rest)

    monkeypatch.setattr(solving, "relax", failing)
    for seed in range(8100, 8140):
        problem = random_problem(seed)
        check(problem, solve(problem), exhaustive(problem))


class TestTies:
    """Of equally fast placements the one a reader would expect is taken: no idle link is loaded while there is room."""

    @staticmethod
    def weights(capacity: float, count: int) -> Problem:
        """Returns ``count`` weights of one byte; each runs on the GPU from any home, streamed under compute."""
        homes = [(0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0)]
        variants = [
            Variant((0,), (5.0,), memory, ((0, 2.0),) if home else ())
            for home, memory in zip((2, 1, 0), homes, strict=True)
        ]
        slow = Variant((0,), (9.0,), (0.0, 0.0, 0.0))
        block = Block("layer", (Choice("weight", (slow, *variants)),), (), (), ())
        return Problem(
            ("gpu", "host", "csd"),
            (capacity, 100.0, 100.0),
            ("decode",),
            (("link", 0),),
            (Stage(block, count),),
        )

    @staticmethod
    def bytes_on_tiers(problem: Problem) -> tuple[float, ...]:
        return breakdown(problem, solved(problem).chosen).memory_bytes

    def test_all_is_at_home_where_it_fits(self) -> None:
        assert self.bytes_on_tiers(self.weights(10.0, 8)) == (8.0, 0.0, 0.0)

    def test_the_host_comes_before_the_drive(self) -> None:
        assert self.bytes_on_tiers(self.weights(5.0, 8)) == (5.0, 3.0, 0.0)


class TestDecoder:
    """The numbers of a 13-billion-parameter decoder."""

    @pytest.mark.parametrize("rich", [False, True])
    def test_forty_layers_are_solved_to_the_optimum(self, rich: bool) -> None:
        problem = decoder_problem(40, rich=rich)
        result = solved(problem)
        assert result.gap <= 1e-9
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
            assert solved(problem).gap <= 1e-9
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
