"""The choice under a budget against all choices."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from partitioner import AccuracyError, SparF
from partitioner.accuracy.choose_options import Option, choose_options
from partitioner.accuracy.choose_sparsity import choose_sparsity, entries_read, layer_compressions
from partitioner.accuracy.sensitivities import JointLoss

from .measured import sensitivities


@settings(max_examples=40)
@given(
    seed=st.integers(0, 2**32 - 1),
    num_layers=st.integers(1, 5),
    budget=st.sampled_from([0.0, 1e-4, 0.01, 0.3]),
    same_reads=st.booleans(),
)
def test_equals_the_best_of_all_choices(seed: int, num_layers: int, budget: float, same_reads: bool) -> None:
    rng = np.random.default_rng(seed)
    reads = [1.0, *rng.random(3)]
    layers = [
        [Option(0.0, 1.0), *(Option(budget * x, r) for x, r in zip(rng.random(3), reads[1:], strict=True))]
        if same_reads
        else [Option(0.0, 1.0), *(Option(float(x), float(r)) for x, r in zip(rng.random(3), rng.random(3), strict=True))]
        for _ in range(num_layers)
    ]  # fmt: skip

    def sums(choice: tuple[int, ...]) -> tuple[float, float]:
        picked = [options[index] for options, index in zip(layers, choice, strict=True)]
        return sum(option.read for option in picked), sum(option.loss for option in picked)

    allowed = budget * (1 - 1e-6)
    every = [sums(choice) for choice in itertools.product(range(4), repeat=num_layers)]
    least = min(read for read, loss in every if loss <= allowed)
    read, loss = sums(choose_options(layers, budget))
    assert loss <= budget
    assert read == pytest.approx(least, rel=1e-7)
    mildest = min(loss for r, loss in every if loss <= allowed and r <= least * (1 + 1e-10))
    assert loss == pytest.approx(mildest, rel=1e-5, abs=1e-9 * budget)


LOSSES = [(0.001, 0.004, 0.02), (-0.002, 0.001, 0.003), (0.01, 0.05, 0.2)]


def test_layers_get_what_they_can_bear() -> None:
    choice = choose_sparsity(sensitivities(LOSSES), 0.01, entries_read(64, 1024))
    assert layer_compressions(choice.sparsity, 3) == (4.0, 8.0, None)
    assert choice.predicted_loss == pytest.approx(0.007)
    assert choice.read == pytest.approx((1 / 4 + 1 / 8 + 1) / 3)
    assert choose_sparsity(sensitivities(LOSSES), 0.0, entries_read(64, 1024)).sparsity == (
        None, SparF.ratio(2), None,
    )  # fmt: skip


def test_a_layer_that_gains_pays_for_no_other() -> None:
    choice = choose_sparsity(sensitivities([(-0.5,), (0.02,)]), 0.01, entries_read(64, 1024))
    assert layer_compressions(choice.sparsity, 2) == (2.0, None)
    assert choice.predicted_loss == 0.0


def test_losses_are_raised_by_what_combinations_showed() -> None:
    joint = (JointLoss((4.0, 8.0, None), 0.007, 0.012, 0.001),)
    measured = sensitivities(LOSSES, joint=joint)
    assert measured.joint_scale == pytest.approx((0.012 + 1.645 * 0.001) / 0.007)
    choice = choose_sparsity(measured, 0.01, entries_read(64, 1024))
    assert layer_compressions(choice.sparsity, 3) == (4.0, 4.0, None)
    assert choice.predicted_loss == pytest.approx(0.005 * measured.joint_scale)
    mild = (JointLoss((4.0, 8.0, None), 0.007, 0.001, 0.0),)
    assert sensitivities(LOSSES, joint=mild).joint_scale == 1.0


def test_losses_that_are_not_sure_count_as_they_may_be() -> None:
    measured = sensitivities([(0.004,), (0.004,)], errors=((0.001,), (0.004,)))
    assert measured.loss(1, 2.0) == pytest.approx(0.004 + 1.645 * 0.004)
    choice = choose_sparsity(measured, 0.01, entries_read(64, 1024))
    assert layer_compressions(choice.sparsity, 2) == (2.0, None)


@pytest.mark.parametrize("budget", [-0.01, 1.0, True, "0.01", float("nan")])
def test_other_budgets_are_refused(budget: float) -> None:
    with pytest.raises(AccuracyError, match=r"share of exact attention's bits .* 0.01 allows 1 %"):
        choose_sparsity(sensitivities(LOSSES), budget, entries_read(64, 1024))
