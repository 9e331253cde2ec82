"""Weighed problems: their objective is the weighed sum, their optimum what trying everything by hand finds."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from cost_models import HardwareSpec, energy_usd, idle_power_w, owning_usd_per_s
from partitioner import Workload
from partitioner.objective import OBJECTIVES
from partitioner.placement.evaluate import Chosen, breakdown, evaluate
from partitioner.placement.exhaustive import exhaustive
from partitioner.placement.objective import Weights, weighed, weights_of
from partitioner.placement.problem import Block, Infeasible, Problem, Solution, Stage
from partitioner.placement.solve import solve
from partitioner.placement.variant_list import Variant
from tests.partitioner.placement.by_hand import TWO_LAYERS
from tests.partitioner.placement.problems import random_problem, with_variants


def working_problem(seed: int) -> Problem:
    """Returns a random problem in which variants and moves let devices work."""
    rng = np.random.default_rng(seed)
    problem = random_problem(seed)
    tiers = len(problem.tiers)

    def works(variant: Variant) -> Variant:
        return replace(variant, working=tuple(float(s) for s in rng.integers(0, 6, tiers)))

    def launches(block: Block) -> Block:
        flows = (
            replace(f, working=tuple(rng.uniform(0, 2, tiers))) if rng.random() < 0.7 else f
            for f in block.flows
        )
        return replace(block, flows=tuple(flows))

    problem = with_variants(problem, works)
    return replace(problem, stages=tuple(Stage(launches(s.block), s.count) for s in problem.stages))


def random_weights(seed: int, problem: Problem) -> Weights:
    rng = np.random.default_rng(seed + 10**6)
    phase = tuple(float(w) for w in rng.uniform(0.1, 2, len(problem.phases)))
    return Weights(phase, tuple(float(w) for w in rng.choice([0.0, 0.5, 3.0], len(problem.tiers))), 1.0)


def by_definition(problem: Problem, weights: Weights, chosen: Chosen) -> float:
    """Returns the weighed sum, counted from the parts of a placement without the change of the problem."""
    parts = breakdown(problem, chosen)
    total = sum(w * s for w, s in zip(weights.phase, parts.phase_s, strict=True))
    live = (problem.entry_tier,) * len(problem.stages[0].block.entries)
    for stage, instances in zip(problem.stages, chosen, strict=True):
        for picks in instances:
            taken = [c.variants[pick] for c, pick in zip(stage.block.choices, picks, strict=True)]
            total += sum(s * w for v in taken for s, w in zip(v.working, weights.working, strict=True))
            exits = dict.fromkeys(range(len(stage.block.exits)), 0)
            for flow in stage.block.flows:
                src = (
                    live[flow.source]
                    if flow.source is not None
                    else taken[flow.producer or 0].tiers[flow.phase]
                )
                assert src is not None
                for dst in {taken[c].tiers[flow.phase] for c in flow.consumers} - {None, src}:
                    assert dst is not None
                    if flow.working and flow.move_s[src][dst]:
                        total += flow.working[dst] * weights.working[dst]
                if flow.leaves is not None:
                    exits[flow.leaves] = src
            live = tuple(exits.values())
    return total


def placements(problem: Problem) -> list[Chosen]:
    stages = []
    for stage in problem.stages:
        ways = itertools.product(*(range(len(c.variants)) for c in stage.block.choices))
        stages.append(list(itertools.product(list(ways), repeat=stage.count)))
    return list(itertools.product(*stages))


@pytest.mark.parametrize("first", range(0, 160, 40))
def test_the_solver_finds_the_least_weighed_sum(first: int) -> None:
    num_solved = 0
    for seed in range(first, first + 40):
        problem = working_problem(seed)
        weights = random_weights(seed, problem)
        changed = weighed(problem, weights)
        result, oracle = solve(changed), exhaustive(changed)
        if isinstance(oracle, Infeasible):
            assert isinstance(result, Infeasible)
            continue
        num_solved += 1
        fitting = [
            chosen
            for chosen in placements(problem)
            if not any(breakdown(problem, chosen).shortfall(problem.capacities))
        ]
        least = min(by_definition(problem, weights, chosen) for chosen in fitting)
        assert isinstance(result, Solution)
        assert result.objective == pytest.approx(least, rel=1e-9)
        assert oracle.objective == pytest.approx(least, rel=1e-9)
        assert result.bound <= result.objective * (1 + 1e-12)
        assert result.gap <= 1e-9
        assert by_definition(problem, weights, result.chosen) == pytest.approx(least, rel=1e-9)
    assert num_solved >= 15


def test_every_placement_has_its_weighed_sum() -> None:
    for seed in range(300, 330):
        problem = working_problem(seed)
        weights = random_weights(seed, problem)
        for chosen in placements(problem)[:40]:
            value = evaluate(weighed(problem, weights), chosen)
            assert value == pytest.approx(by_definition(problem, weights, chosen), rel=1e-12)


def test_work_makes_another_placement_the_best() -> None:
    """On the host the same ops take longer; where a working GPU costs ten times as much, they run there all the same."""

    def works(variant: Variant) -> Variant:
        seconds = [0.0, 0.0]
        seconds[variant.tiers[0] or 0] = variant.seconds[0]
        return replace(variant, working=tuple(seconds))

    problem = replace(with_variants(TWO_LAYERS, works), capacities=(100.0, 100.0))
    light = solve(weighed(problem, Weights((1.0,), (0.1, 0.1), 1.0)))
    heavy = solve(weighed(problem, Weights((1.0,), (10.0, 0.1), 1.0)))
    assert isinstance(light, Solution)
    assert isinstance(heavy, Solution)
    assert light.chosen != heavy.chosen
    assert heavy.chosen == (((1, 1), (1, 1)),)


def test_seconds_alone_leave_the_problem_as_it_is() -> None:
    assert weighed(TWO_LAYERS, Weights((1.0,), (0.0, 0.0), 1.0)) is TWO_LAYERS


class TestWeights:
    hw = HardwareSpec.load("a6000-csd").with_drives(4)
    workload = Workload(8, 64, 32)
    tokens = 8 * 32

    def of(self, name: str, steps: float = 31.0) -> Weights:
        return weights_of(OBJECTIVES[name], self.hw, self.workload, [8.0, steps], lambda: [2.0, 10.0])

    def test_seconds(self) -> None:
        assert self.of("tokens-per-second") == Weights((1.0, 1.0), (0.0, 0.0, 0.0), 1.0)

    def test_latency_is_of_a_step_and_a_thousandth_of_the_prefill(self) -> None:
        assert self.of("latency") == Weights((1e-3 * 10 / 2, 1.0), (0.0, 0.0, 0.0), 1 / 31)

    def test_latency_without_steps_is_that_of_the_prefill(self) -> None:
        assert self.of("latency", steps=0.0) == Weights((1.0, 1.0), (0.0, 0.0, 0.0), 1.0)

    def test_joules(self) -> None:
        found = self.of("joule")
        idle = 25 + 90 + 4 * 10
        assert idle_power_w(self.hw) == idle
        assert found.per_second == pytest.approx(idle / self.tokens)
        assert found.phase == (1.0, 1.0)
        assert [w * idle for w in found.working] == pytest.approx([275, 95, 15])

    def test_all_gpus_work_together(self) -> None:
        hw = HardwareSpec.load("2xa6000-csd")
        found = weights_of(OBJECTIVES["joule"], hw, self.workload, [8.0, 31.0], lambda: [2.0, 10.0])
        assert found.working[0] * idle_power_w(hw) == pytest.approx(2 * 275)

    def test_dollars(self) -> None:
        found, idle = self.of("dollar"), 25 + 90 + 4 * 10
        assert self.hw.electricity_usd_per_j is not None
        rate = owning_usd_per_s(self.hw) + energy_usd(self.hw, idle)
        assert found.per_second == pytest.approx(1e6 * rate / self.tokens)
        assert [w * rate for w in found.working] == pytest.approx(
            [self.hw.electricity_usd_per_j * w for w in (275, 95, 15)]
        )
