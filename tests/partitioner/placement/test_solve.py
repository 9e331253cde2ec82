"""The solver against the oracle on hundreds of small problems, and on a large decoder."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from partitioner.placement import along, branching, search, states
from partitioner.placement import solve as solving
from partitioner.placement.arcflow import Flow
from partitioner.placement.evaluate import breakdown, evaluate
from partitioner.placement.exhaustive import exhaustive
from partitioner.placement.folded import Folded
from partitioner.placement.goal import Goal
from partitioner.placement.highs import SolverError
from partitioner.placement.lower_bound import named_prices
from partitioner.placement.problem import Block, Choice, Infeasible, Problem, Solution, Stage
from partitioner.placement.relaxation import Relaxation
from partitioner.placement.solve import solve
from partitioner.placement.unfolded import solve_unfolded
from partitioner.placement.variant_list import Variant
from tests.partitioner.placement.problems import in_bytes, random_problem, with_load

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


def without_capacities(problem: Problem) -> Problem:
    return replace(problem, capacities=(math.inf,) * len(problem.tiers))


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


@pytest.mark.parametrize("room", [0.8, 1e3])
def test_prices_of_another_problem_and_a_limit_tell_what_is_out_of_reach_and_nothing_else(
    room: float,
) -> None:
    num_out = 0
    for seed in range(7000, 7020):
        other = random_problem(seed)
        problem = replace(other, capacities=tuple(room * c for c in other.capacities))
        known, result = solve(other), solve(problem)
        if not (isinstance(known, Solution) and isinstance(result, Solution)):
            continue
        prices = named_prices(other, known.price)
        within = 1.001 * result.objective + 1e-9
        assert solve(problem, within, prices) is not None
        assert solve(problem, prices=prices, limit=within) == result
        beyond = solve(problem, prices=prices, limit=0.8 * result.objective)
        assert beyond is None or beyond == result
        num_out += beyond is None
    assert num_out >= 5


def test_nothing_is_claimed_where_the_integer_program_ends_early(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(along, "solve_flow", lambda *_, **__: Flow(None, 0.0, finished=False))
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
