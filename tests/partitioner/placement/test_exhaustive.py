"""The oracle, on a problem that can be worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from partitioner.placement import exhaustive as exhaustive_module
from partitioner.placement.exhaustive import exhaustive
from partitioner.placement.problem import Infeasible, Solution
from tests.partitioner.placement.by_hand import TWO_LAYERS


def test_the_best_placement_is_found() -> None:
    """The link has time for one busy op within the chain, and the values move once if the host comes last."""
    result = exhaustive(TWO_LAYERS)
    assert isinstance(result, Solution)
    assert result.chosen == (((0, 0), (1, 1)),)
    assert result.objective == result.bound == (1 + 1) + 0.5 + (3 + 2)


def test_the_least_missing_is_returned_where_nothing_fits() -> None:
    assert exhaustive(replace(TWO_LAYERS, capacities=(3.0, 3.0))) == Infeasible((1.0, 1.0), (4.0, 4.0))


def test_too_many_placements_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exhaustive_module, "MAX_PLACEMENTS", 15)
    with pytest.raises(ValueError, match=r"at most 15 placements, this problem has 16; use solve\(\)"):
        exhaustive(TWO_LAYERS)
