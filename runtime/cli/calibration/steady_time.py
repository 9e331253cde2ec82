"""Takes the time that a device needs for one of many runs of an executable."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from statistics import median
from typing import TypeVar

import jax

Carried = TypeVar("Carried")
"""What a run makes and the next one is given: arrays in any arrangement."""


def steady_seconds_of(
    step: Callable[[Carried], Carried], first: Carried, budget_s: float, *, repeats: int = 3
) -> float:
    """Returns the seconds of a run that follows others, as the difference between long and short sequences of runs.

    Each run takes what the one before made, and nobody waits in between. So what is left is the device's time, as long as that
    exceeds the host's time to start a run; starting and waiting for a sequence cancels out.

    Args:
        step: One run; returns at once, and may take over the memory of what it is given.
        first: What the first run is given.
        budget_s: Seconds for everything, about.
        repeats: Differences of which the median is taken.
    """

    value = first

    def sequence_s(count: int) -> float:
        nonlocal value
        begun_s = time.perf_counter()
        for _ in range(count):
            value = step(value)
        jax.block_until_ready(value)
        return time.perf_counter() - begun_s

    sequence_s(1)
    one_s = max(min(sequence_s(1), sequence_s(1)), 1e-9)
    many = min(max(4, math.ceil(budget_s / one_s / repeats)), 200)
    few = max(1, many // 4)
    differences = [(sequence_s(many) - sequence_s(few)) / (many - few) for _ in range(repeats)]
    return max(median(differences), 1e-9)
