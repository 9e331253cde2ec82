"""What has to hold of predicted and measured gains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.gain.held import Held

GAIN_TOLERANCE = 0.15
"""How far a measured gain may be from the predicted one, as a share of it."""
LEAST_OVERLAP = 0.8
"""The share of the predicted overlap of GPU and drives that has to be measured where micro-batches take turns."""
LEAST_BATCH_SIZES = 3


@dataclass(frozen=True)
class Gain:
    """Compares ``auto`` with another policy at one batch size.

    Attributes:
        auto: The best plan.
        other: The plan of a published policy.
    """

    auto: Held
    other: Held

    @property
    def predicted(self) -> float:
        """Returns predicted speed over that of the other."""
        return self.auto.predicted_tokens_per_s / self.other.predicted_tokens_per_s

    @property
    def measured(self) -> float:
        """Returns median measured speed over that of the other."""
        return self.auto.tokens_per_s / self.other.tokens_per_s

    @property
    def ratio(self) -> float:
        """Returns the measured gain over the predicted one."""
        return self.measured / self.predicted


@dataclass(frozen=True)
class Comparison:
    """Holds all plans of one batch size.

    Attributes:
        plans: Those that ran, ``auto`` among them.
        plain_tokens: What the model makes under plain ``jax.jit``.
    """

    plans: tuple[Held, ...]
    plain_tokens: tuple[tuple[int, ...], ...]

    @property
    def batch_size(self) -> int:
        """Returns the batch size."""
        return self.plans[0].batch_size

    @property
    def auto(self) -> Held:
        """Returns the best plan."""
        return next(held for held in self.plans if held.policy == "auto")

    @property
    def gains(self) -> tuple[Gain, ...]:
        """Returns the gain over every other policy."""
        return tuple(Gain(self.auto, held) for held in self.plans if held.policy != "auto")


def missed_bars(comparisons: Sequence[Comparison]) -> list[str]:
    """Returns a sentence for everything that does not hold."""
    missed: list[str] = []
    if len(comparisons) < LEAST_BATCH_SIZES:
        missed.append(f"{len(comparisons)} batch sizes were run; the bar asks for {LEAST_BATCH_SIZES}")
    for comparison in comparisons:
        at = f"at batch {comparison.batch_size}"
        missed += [
            f"{at} the tokens of {held.policy} are not those of plain jit"
            for held in comparison.plans
            if held.tokens != comparison.plain_tokens
        ]
        missed += [
            f"{at} the gain over {gain.other.policy} is {gain.measured:.2f}, which is {abs(gain.ratio - 1):.0%} from the "
            f"predicted {gain.predicted:.2f}; the bar is {GAIN_TOLERANCE:.0%}"
            for gain in comparison.gains
            if abs(gain.ratio - 1) > GAIN_TOLERANCE
        ]
    overlapping = [c.auto for c in comparisons if c.auto.micro_batches > 1 and c.auto.predicted_overlap_s > 0]
    if not overlapping:
        missed.append("auto runs micro-batches at no batch size, so no overlap was held to its prediction")
    missed += [
        f"at batch {held.batch_size} GPU and drives overlap for {held.overlap_s:.2f} s, "
        f"{held.overlap_s / held.predicted_overlap_s:.0%} of the predicted {held.predicted_overlap_s:.2f} s; "
        f"the bar is {LEAST_OVERLAP:.0%}"
        for held in overlapping
        if held.overlap_s < LEAST_OVERLAP * held.predicted_overlap_s
    ]
    return missed
