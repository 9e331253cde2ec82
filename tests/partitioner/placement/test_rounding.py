"""Mixtures rounded and bettered: within the limits, never worse than what is known, and mostly the best there is."""

from __future__ import annotations

import math
from collections import Counter

import pytest

from models import abstract
from partitioner import Workload, partition
from partitioner.placement.exhaustive import exhaustive
from partitioner.placement.problem import Solution
from partitioner.placement.rounding import rounded
from tests.partitioner.placement.problems import random_problem
from tests.partitioner.placement.relaxed import relaxed


def test_rounded_mixtures_keep_the_limits_and_are_mostly_the_best() -> None:
    endings: Counter[str] = Counter()
    for seed in range(120):
        problem = random_problem(seed)
        oracle = exhaustive(problem)
        space, root, pool, _ = relaxed(problem)
        found = rounded(space, root, pool, None)
        if not isinstance(oracle, Solution):
            assert found is None
            continue
        endings["fits"] += 1
        if found is None:
            continue
        assert space.goal.holds(found.total)
        assert found.value >= oracle.objective * (1 - 1e-9)
        endings["found"] += 1
        endings["best"] += found.value <= oracle.objective * (1 + 1e-9)
        again = rounded(space, root, pool, found)
        assert again is not None
        assert again.value <= found.value
    assert endings["found"] > 0.95 * endings["fits"]
    assert endings["best"] > 0.9 * endings["fits"]


def test_a_model_that_nearly_fills_the_memory_streams_its_weights() -> None:
    workload = Workload(16, 2048, 2048)
    model = abstract("llama-2-70b", max_position=4096)
    plan = partition(model, "a6000-csd", workload, verify=False)
    assert plan.gap <= 1e-4
    still = partition(model, "a6000-csd", workload, policy="instinfer", verify=False)
    assert plan.decisions.certificate.objective < 0.8 * still.decisions.certificate.objective


@pytest.mark.parametrize("kicked", [0, 3])
def test_rounding_is_the_same_every_time(kicked: int) -> None:
    values = set[float]()
    for _ in range(2):
        space, root, pool, _ = relaxed(random_problem(kicked))
        found = rounded(space, root, pool, None)
        values.add(math.inf if found is None else found.value)
    assert len(values) == 1
