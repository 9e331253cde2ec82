"""What a benchmark of gains reports as missed."""

from dataclasses import replace

import pytest

from benchmarks.gain.bars import Comparison, Gain, missed_bars
from benchmarks.gain.held import Held
from benchmarks.gain.table import table

TOKENS = ((1, 2, 3), (4, 5, 6))


def held(policy: str, predicted_s: float, *measured_s: float) -> Held:
    """A plan of two sequences of three tokens in two micro-batches, half of whose time GPU and drive work together."""
    return Held(
        policy=policy,
        batch_size=2,
        micro_batches=2,
        num_shares=2,
        num_tokens=4,
        predicted_s=predicted_s,
        measured_s=measured_s,
        predicted_overlap_s=predicted_s / 2,
        measured_overlap_s=tuple(s / 2 for s in measured_s),
        predicted_prefill_s=1.0,
        measured_prefill_s=(1.0,) * len(measured_s),
        fidelity=(1.0,) * len(measured_s),
        tokens=TOKENS,
    )


AUTO, OTHER = held("auto", 1.0, 1.0, 1.25, 2.0), held("instinfer", 2.0, 2.5)
GOOD = Comparison((OTHER, AUTO), TOKENS)


def with_auto(auto: Held) -> list[Comparison]:
    return [GOOD, GOOD, Comparison((OTHER, auto), TOKENS)]


def test_speeds_are_medians_and_gains_their_ratios() -> None:
    assert (AUTO.predicted_tokens_per_s, AUTO.tokens_per_s) == (4.0, 3.2)
    assert AUTO.spread == pytest.approx((4.0 - 2.0) / 3.2)
    (gain,) = GOOD.gains
    assert gain == Gain(AUTO, OTHER)
    assert (gain.predicted, gain.measured, gain.ratio) == pytest.approx((2.0, 2.0, 1.0))


def test_nothing_is_missed_where_all_is_as_predicted() -> None:
    assert missed_bars([GOOD] * 3) == []


@pytest.mark.parametrize(
    ("comparisons", "message"),
    [
        ([GOOD, GOOD], "2 batch sizes were run; the bar asks for 3"),
        (
            with_auto(replace(AUTO, measured_s=(1.5,))),
            "at batch 2 the gain over instinfer is 1.67, which is 17% from the predicted 2.00; the bar is 15%",
        ),
        (
            with_auto(replace(AUTO, measured_s=(1.0,))),
            "at batch 2 the gain over instinfer is 2.50, which is 25% from the predicted 2.00; the bar is 15%",
        ),
        (
            with_auto(replace(AUTO, measured_overlap_s=(0.39,))),
            "at batch 2 GPU and drives overlap for 0.39 s, 78% of the predicted 0.50 s; the bar is 80%",
        ),
        (with_auto(replace(AUTO, tokens=None)), "at batch 2 the tokens of auto are not those of plain jit"),
        (
            [Comparison((OTHER, replace(AUTO, micro_batches=1)), TOKENS)] * 3,
            "auto runs micro-batches at no batch size, so no overlap was held to its prediction",
        ),
    ],
)
def test_what_does_not_hold_is_said(comparisons: list[Comparison], message: str) -> None:
    assert missed_bars(comparisons) == [message]


def test_the_table_has_a_line_for_every_plan_and_gain() -> None:
    lines = table(with_auto(replace(AUTO, tokens=((0,),)))).splitlines()
    assert len(lines) == 1 + 2 + 6 + 1 + 1 + 1 + 3
    assert [line.split()[-1] for line in lines[3:9]] == ["yes"] * 5 + ["NO"]
    assert lines[-1].split() == ["instinfer", "2", "2.00", "2.00", "1.000"]
