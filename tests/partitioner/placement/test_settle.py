"""What the search by sums of counts leaves open is settled by a general solver."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import partitioner.placement.search as search_module
from models import abstract
from partitioner import Workload, partition
from partitioner.placement import settle
from partitioner.placement.along import settled_along
from partitioner.placement.arcs import Arcs, kept_arcs
from partitioner.placement.relaxation import Relaxation
from partitioner.placement.routes import Routes
from partitioner.placement.search_space import Found, Placed, SearchSpace
from partitioner.placement.settle import IN_FULL, Pains, settled
from partitioner.placement.tally import Box
from partitioner.placement.wide_search import NEARLY
from tests.partitioner.placement.problems import solved_problems
from tests.partitioner.placement.relaxed import relaxed


def test_gaps_that_the_search_leaves_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Layers that each differ in units and windows."""
    before: list[Found] = []
    after: list[Found] = []

    def watched(
        space: SearchSpace, root: Relaxation, found: Found, limit: float, pains: Pains = IN_FULL
    ) -> Found:
        before.append(found)
        after.append(settled(space, root, found, limit, pains))
        return after[-1]

    monkeypatch.setattr(search_module, "settled", watched)
    plan = partition(abstract("opt-13b"), "2xa6000-csd", Workload(256, 768, 512), verify=False)
    assert plan.gap <= NEARLY
    changed = [(old, new) for old, new in zip(before, after, strict=True) if new is not old]
    assert changed, "the search alone leaves a gap"
    for old, new in changed:
        assert new.within(NEARLY)
        assert new.placed is not None
        assert not old.within(NEARLY)
        assert old.placed is None or new.placed.value <= old.placed.value
        assert old.bound <= new.placed.value * (1 + 1e-9), "the search's own bound holds"


def test_arcs_are_settled_with_sums_as_variables() -> None:
    """The best placement of small problems is found along arcs, and up to a little less than its value there is none."""
    fits = 0
    for problem, oracle in solved_problems(120):
        fits += 1
        space, root, _, _ = relaxed(problem)
        for value, found in ((1.2 * oracle.objective, True), (0.999 * oracle.objective, False)):
            arcs = kept_arcs(space.folded, space.goal, [root], value)
            along = settled_along(space, arcs, root.box, value, None, 10_000)
            assert along.finished
            assert (along.placed is not None) == found
            assert along.bound >= min(value, oracle.objective * (1 - 1e-4))
            if along.placed is not None:
                assert along.placed.value == pytest.approx(oracle.objective, rel=1e-4)
    assert fits > 40


def test_stand_ins_that_mislead_are_made_finer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the best of routes that stand for others is none of a placement, the next ones differ in less."""
    asked: list[float] = []
    real = settle.kept_routes

    def watched(*args: Any, little: float) -> Routes | None:
        asked.append(little)
        return real(*args, little=little)

    def none_behind_it(
        space: SearchSpace, ways: Arcs | Routes, box: Box, value: float, known: Placed | None, nodes: int
    ) -> Found:
        assert isinstance(ways, Routes)
        return Found(known, root.bound, ways.size, finished=True)

    monkeypatch.setattr(settle, "kept_routes", watched)
    monkeypatch.setattr(settle, "settled_along", none_behind_it)
    space, root, _, shortest = next(
        found for problem, _ in solved_problems(120) if (found := relaxed(problem))[1].bound > 0
    )
    placed = space.place(shortest)
    known = replace(placed, value=root.bound * 1.01)
    settled(space, root, Found(known, root.bound, 0, finished=False), math.inf)
    assert len(asked) == IN_FULL.rounds
    assert (np.diff(asked) < 0).all()
