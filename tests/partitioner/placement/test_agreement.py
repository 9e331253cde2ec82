"""Weights that several ops use have one home: the limits that say so leave what agrees, and nothing else."""

import itertools
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from partitioner.placement.agreement import agreeing
from partitioner.placement.build import BuiltProblem, Mode
from partitioner.placement.exhaustive import exhaustive
from partitioner.placement.problem import Infeasible, Problem, Solution, Stage
from partitioner.placement.solve import solve
from partitioner.placement.variant_list import Variant
from partitioner.placement.variants import ANY
from tests.partitioner.placement.problems import random_problem

HOMES = ("gpu", "host")
Users = dict[str, tuple[int, ...]]


def pairs(problem: Problem) -> list[tuple[int, int, int]]:
    """Returns stage, instance and choice of each op."""
    return [
        (number, instance, choice)
        for number, stage in enumerate(problem.stages)
        for instance in range(stage.count)
        for choice in range(len(stage.block.choices))
    ]


def homed(problem: Problem, rng: np.random.Generator) -> Problem:
    """Returns the problem with a home for each variant; some, but not all, of a choice have none."""

    def key(variant: Variant, number: int) -> Variant:
        home = HOMES[int(rng.integers(2))] if number == 0 or rng.random() < 0.8 else "-"
        return replace(variant, key=("",) * len(problem.phases) + (home,))

    stages: list[Stage] = []
    for stage in problem.stages:
        choices = (
            replace(c, variants=tuple(key(v, n) for n, v in enumerate(c.variants)))
            for c in stage.block.choices
        )
        stages.append(Stage(replace(stage.block, choices=tuple(choices)), stage.count))
    return replace(problem, stages=tuple(stages))


def built(problem: Problem) -> BuiltProblem:
    ranges: list[tuple[int, int, int]] = []
    first = 0
    for stage in problem.stages:
        length = len(stage.block.choices)
        ranges.append((first, length, stage.count))
        first += length * stage.count
    return BuiltProblem(problem, (), tuple(ranges), (), Mode(ANY, streaming=True))


def drawn_users(problem: Problem, rng: np.random.Generator) -> Users | None:
    """Returns an owner that is not repeated and others, all instances of a repeated choice together."""
    places = pairs(problem)
    single = [n for n, (stage, _, _) in enumerate(places) if problem.stages[stage].count == 1]
    groups = {(s, c): [n for n, (t, _, d) in enumerate(places) if (t, d) == (s, c)] for s, _, c in places}
    if not single or len(groups) < 2:
        return None
    owner = int(rng.choice(single))
    others = [own for own in groups.values() if owner not in own]
    taken = rng.choice(len(others), size=min(len(others), 1 + int(rng.integers(2))), replace=False)
    return {"shared": (owner, *itertools.chain.from_iterable(others[n] for n in taken))}


def at_home(problem: Problem, users: Users, home: str) -> Problem | None:
    """Returns the problem in which those ops have one home, or none; None where one of them cannot."""
    places, (owner, *others) = pairs(problem), users["shared"]
    stages = list(problem.stages)
    for pair in (owner, *others):
        number, _, choice = places[pair]
        block = stages[number].block
        allowed = (home,) if pair == owner else (home, "-")
        kept = tuple(v for v in block.choices[choice].variants if v.key[-1] in allowed)
        if not kept:
            return None
        choices = list(block.choices)
        choices[choice] = replace(choices[choice], variants=kept)
        stages[number] = replace(stages[number], block=replace(block, choices=tuple(choices)))
    return replace(problem, stages=tuple(stages))


def test_the_best_that_agrees_is_the_best_of_all_homes() -> None:
    endings: Counter[str] = Counter()
    for seed in range(900):
        rng = np.random.default_rng(seed)
        problem = homed(random_problem(seed, 400), rng)
        room = float(rng.choice([0.2, 1.0, 2.0]))
        problem = replace(problem, capacities=tuple(room * c for c in problem.capacities))
        users = drawn_users(problem, rng)
        if users is None:
            continue
        alone = [p for home in HOMES if (p := at_home(problem, users, home))]
        if len(alone) < 2:
            continue
        limited = agreeing(built(problem), users)
        assert limited is not None
        oracles, tried, found = [exhaustive(p) for p in alone], exhaustive(limited), solve(limited)
        best = min((r.objective for r in oracles if isinstance(r, Solution)), default=np.inf)
        if best < np.inf:
            assert isinstance(tried, Solution)
            assert isinstance(found, Solution)
            assert tried.objective == pytest.approx(best, rel=1e-12)
            assert found.objective == pytest.approx(best, rel=1e-9)
            assert found.bound <= best * (1 + 1e-9)
            endings["planned"] += 1
        else:
            least = min(sum(r.shortfall) for r in oracles if isinstance(r, Infeasible))
            assert isinstance(found, Infeasible)
            assert sum(found.shortfall) == pytest.approx(least, rel=1e-7)
            assert not any(found.shortfall[len(problem.tiers) :]), "what lacks memory agrees all the same"
            endings["too large"] += 1
    assert min(endings["planned"], endings["too large"]) > 10


def test_instances_that_use_different_weights_are_refused() -> None:
    """One choice stands for all instances of a block, so it cannot follow an owner of some of them."""
    drawn = map(random_problem, itertools.count())
    counts = ((p, {s.count > 1 for s in p.stages}) for p in drawn)
    problem = next(homed(p, np.random.default_rng(0)) for p, kinds in counts if len(kinds) == 2)
    stage = next(n for n, s in enumerate(problem.stages) if s.count > 1)
    repeated = [n for n, (s, _, c) in enumerate(pairs(problem)) if (s, c) == (stage, 0)]
    others = [n for n, (s, _, _) in enumerate(pairs(problem)) if problem.stages[s].count == 1]
    assert agreeing(built(problem), {"shared": (others[0], *repeated[:-1])}) is None
    assert agreeing(built(problem), {"shared": (repeated[0], others[0])}) is None
    assert agreeing(built(problem), {"shared": (others[0], *repeated)}) is not None


def test_nothing_changes_where_nothing_is_shared() -> None:
    problem = homed(random_problem(1, 300), np.random.default_rng(0))
    assert agreeing(built(problem), {}) == problem
