"""What has to hold of measured times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

COMMAND_TOLERANCE = 0.02
"""How far the time of one command or transfer may be from what the mechanism asks, as a share of it."""
TOGETHER_TOLERANCE = 0.05
"""How far the time of several at once may be from what it follows from."""
LEAST_S = 0.03
LEAST_REPEATS = 9


@dataclass(frozen=True)
class Held:
    """Holds measured times against expected ones.

    Attributes:
        name: What was timed.
        expected_s: Seconds that each repeat should take.
        measured_s: Seconds that it took.
        tolerance: How far the median of their ratios may be from 1.
    """

    name: str
    expected_s: tuple[float, ...]
    measured_s: tuple[float, ...]
    tolerance: float = COMMAND_TOLERANCE

    @property
    def ratios(self) -> tuple[float, ...]:
        """Returns measured over expected seconds of each repeat."""
        return tuple(m / e for m, e in zip(self.measured_s, self.expected_s, strict=True))

    @property
    def error(self) -> float:
        """Returns by how much the median ratio is above 1."""
        return median(self.ratios) - 1.0


def missed_bars(held: Sequence[Held]) -> list[str]:
    """Returns a sentence for everything that does not hold."""
    missed: list[str] = []
    for one in held:
        if len(one.measured_s) < LEAST_REPEATS:
            missed.append(
                f"{one.name} was repeated {len(one.measured_s)} times; the bar asks for {LEAST_REPEATS}"
            )
        expected_s = median(one.expected_s)
        if expected_s < LEAST_S:
            missed.append(
                f"{one.name} should take {expected_s * 1e3:.1f} ms; the bar asks for at least {LEAST_S * 1e3:.0f} ms"
            )
        if abs(one.error) > one.tolerance:
            missed.append(
                f"{one.name} takes {one.error:+.1%} more than it should; the bar is {one.tolerance:.0%}"
            )
    return missed
