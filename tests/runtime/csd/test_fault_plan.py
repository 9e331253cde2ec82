import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cost_models.faults import PAPER_WORST_RETRIES_MAX, PAPER_WORST_RETRIES_MEAN
from cost_models.hardware import FaultSpec
from runtime.csd.fault_plan import FaultPlan
from runtime.csd.retry_counts import retry_chances

PAPER = FaultSpec(
    seed=1, read_retries_mean=PAPER_WORST_RETRIES_MEAN, read_retries_max=PAPER_WORST_RETRIES_MAX
)


@given(most=st.integers(0, 12), share=st.floats(0.0, 1.0))
def test_the_distribution_has_the_mean_and_falls_or_rises_by_one_ratio(most: int, share: float) -> None:
    chances = retry_chances(share * most, most)
    assert chances.shape == (most + 1,)
    assert chances.sum() == pytest.approx(1.0)
    assert chances @ np.arange(most + 1) == pytest.approx(share * most, abs=1e-9)
    np.testing.assert_allclose(chances[1:-1] ** 2, chances[:-2] * chances[2:], rtol=1e-6, atol=1e-200)


def test_retries_are_as_frequent_as_stated() -> None:
    plan, pages = FaultPlan(PAPER, "csd0"), np.array([1_000_000, 0, 3_000_000])
    retried = plan.retried(pages)
    assert retried is not None
    assert retried.retries.sum() == pytest.approx(12_000, rel=0.05)
    assert 1 <= retried.retries.min() <= retried.retries.max() <= 5
    assert (np.bincount(retried.channel, minlength=3) > 0).tolist() == [True, False, True]
    assert (np.diff(retried.channel) >= 0).all()
    for channel in (0, 2):
        position, retries = retried.of_channel(channel)
        assert len(position) == len(retries) == (retried.channel == channel).sum()
        assert len(np.unique(position)) == len(position)
        assert 0 <= position.min() <= position.max() < pages[channel]
        assert position.mean() == pytest.approx(pages[channel] / 2, rel=0.05)
    assert not retried.of_channel(1)[0].size
    assert plan.retried(np.array([0, 0, 0])) is None
    assert FaultPlan(FaultSpec(), "csd0").retried(pages) is None


def test_every_page_is_retried_as_often_as_the_mean_where_that_is_the_most() -> None:
    faults = FaultSpec(read_retries_mean=2, read_retries_max=2)
    retried = FaultPlan(faults, "csd0").retried(np.array([2, 3]))
    assert retried is not None
    assert retried.channel.tolist() == [0, 0, 1, 1, 1]
    assert retried.position.tolist() == [0, 1, 0, 1, 2]
    assert retried.retries.tolist() == [2] * 5


@pytest.mark.parametrize(
    ("field", "draw"),
    [
        ("uncorrectable_per_page_read", lambda plan: plan.uncorrectable(10_000)),
        ("program_failure_per_page", lambda plan: plan.failed_programs(10_000)),
        ("worn_blocks", lambda plan: plan.worn_blocks(10_000)),
    ],
)
def test_the_others_are_as_frequent_as_stated(field: str, draw: Any) -> None:
    assert not draw(FaultPlan(FaultSpec(), "csd0")).size
    chosen = draw(FaultPlan(FaultSpec(**{field: 0.03}), "csd0"))
    assert len(chosen) == pytest.approx(300, rel=0.2)
    assert (np.diff(chosen) > 0).all()
    assert 0 <= chosen.min() <= chosen.max() < 10_000


def drawn(faults: FaultSpec, drive: str) -> list[list[int]]:
    plan = FaultPlan(faults, drive)
    retried = plan.retried(np.array([5000, 5000]))
    assert retried is not None
    return [
        np.concatenate([retried.channel, retried.position, retried.retries]).tolist(),
        plan.uncorrectable(1000).tolist(),
        plan.below(8 * 4096, 3).tolist(),
        plan.failed_programs(1000).tolist(),
        plan.worn_blocks(1000).tolist(),
    ]


def test_seed_and_name_decide_and_nothing_else() -> None:
    faults = dataclasses.replace(
        PAPER, uncorrectable_per_page_read=0.01, program_failure_per_page=0.01, worn_blocks=0.01
    )
    first = drawn(faults, "csd0")
    assert drawn(faults, "csd0") == first
    others = drawn(faults, "csd1"), drawn(dataclasses.replace(faults, seed=2), "csd0")
    assert all(own != other for other in others for own, other in zip(first, other, strict=True))


def test_one_chance_leaves_the_other_faults_where_they_were() -> None:
    faults = dataclasses.replace(PAPER, program_failure_per_page=0.01)
    more = dataclasses.replace(faults, uncorrectable_per_page_read=0.5, worn_blocks=0.5)
    retried, lost, _, failed, worn = range(5)
    before, after = drawn(faults, "csd0"), drawn(more, "csd0")
    assert (before[retried], before[failed]) == (after[retried], after[failed])
    assert before[lost] != after[lost]
    assert before[worn] != after[worn]
