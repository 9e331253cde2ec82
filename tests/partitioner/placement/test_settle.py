"""What the search by sums of counts leaves open is settled by a general solver."""

from __future__ import annotations

import pytest

import partitioner.placement.search as search_module
from models import abstract
from partitioner import Workload, partition
from partitioner.placement.relaxation import Relaxation
from partitioner.placement.search_space import Found, SearchSpace
from partitioner.placement.settle import settled
from partitioner.placement.wide_search import NEARLY


def test_gaps_that_the_search_leaves_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Layers that each differ in units and windows."""
    before: list[Found] = []
    after: list[Found] = []

    def watched(
        space: SearchSpace, root: Relaxation, found: Found, limit: float, *, soon: bool = False
    ) -> Found:
        before.append(found)
        after.append(settled(space, root, found, limit, soon=soon))
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
