"""Exchanges make placements better: never worse, never beyond a limit, and often the best there is."""

from collections import Counter

import numpy as np

from partitioner.placement.columns import model_columns
from partitioner.placement.exchange import Exchanges
from partitioner.placement.exhaustive import exhaustive
from partitioner.placement.folded import fold
from partitioner.placement.goal import fastest
from partitioner.placement.near_columns import near_columns
from partitioner.placement.problem import Solution
from partitioner.placement.relaxation import relaxation_at
from partitioner.placement.search_space import SearchSpace
from partitioner.placement.tally import Box
from tests.partitioner.placement.problems import random_problem
from tests.partitioner.placement.relaxed import relaxed


def test_exchanges_end_at_good_placements_within_the_limits() -> None:
    endings: Counter[str] = Counter()
    for seed in range(150):
        problem = random_problem(seed)
        oracle = exhaustive(problem)
        if not isinstance(oracle, Solution):
            continue
        space, root, _, shortest = relaxed(problem)
        folded, goal = space.folded, space.goal
        before = space.place(shortest)
        after = space.place(Exchanges(folded, goal, root.price, oracle.objective).improved(shortest))
        if goal.holds(before.total):
            assert goal.holds(after.total)
            assert after.value <= before.value * (1 + 1e-9)
        if goal.holds(after.total):
            endings["kept"] += 1
            endings["repaired"] += not goal.holds(before.total)
            endings["best"] += after.value <= oracle.objective * (1 + 1e-9)
    assert endings["repaired"] > 10
    assert endings["best"] > 0.7 * endings["kept"]


def test_near_columns_cost_what_evaluating_them_says() -> None:
    for seed in range(20):
        problem = random_problem(seed)
        folded = fold(problem)
        goal = fastest(problem, folded.most)
        price, free = np.ones(len(goal.group)), np.zeros(len(folded.kinds.most))
        alone = relaxation_at(folded, goal, price, free, Box(free, folded.kinds.most), free, 0)
        space = SearchSpace(problem, folded, goal, 1.0)
        stages = model_columns(alone.paths, alone.model)
        before = space.place(stages)
        for position, counted in enumerate(stages):
            old = next(iter(counted))
            near = near_columns(folded, old)
            for index in range(len(near.pick)):
                new = near.column(index)
                assert (new.stage, new.entry, new.leave) == (old.stage, old.entry, old.leave)
                assert sum(a != b for a, b in zip(new.picks, old.picks, strict=True)) == 1
                changed = list(stages)
                changed[position] = counted + Counter({new: 1}) - Counter({old: 1})
                total = space.place(changed).total
                np.testing.assert_allclose(total - before.total, near.change[index], rtol=1e-9, atol=1e-9)
