"""Takes the time of something that can be done again."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median


def seconds_of(run: Callable[[], object], budget_s: float, *, least: int = 3) -> float:
    """Returns the median seconds of a run, after one that does not count.

    Args:
        run: What to time; returns when it is done.
        budget_s: Seconds after which no further run begins.
        least: Runs that are made in any case.
    """
    run()
    found: list[float] = []
    begun_s = time.perf_counter()
    while len(found) < least or time.perf_counter() - begun_s < budget_s:
        start_s = time.perf_counter()
        run()
        found.append(time.perf_counter() - start_s)
    return median(found)
