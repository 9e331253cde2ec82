"""A sweep with made-up figures, so that its print and its figure need no planning."""

from partitioner import Workload
from runtime.cli.sweep.axis import Axis
from runtime.cli.sweep.points import Found, Point, Sweep
from runtime.cli.sweep.quantity import quantity

POLICIES = ("auto", "gpu-only", "instinfer")
REASON = "nothing fits under policy 'gpu-only': gpu0 is short of 1.0 GB"


def found(rate: float, dollars: float | None = 2.5) -> Found:
    return Found(rate, 10 / rate, 1.5, "csd0-3", 0.98, 0.002, {"gpu0": 3e9, "csd0": 1e9}, 4.0, dollars)


def made_up_sweep(
    rates: tuple[float, ...] = (40.0, 75.0, 130.0, 180.0), dollars: float | None = 2.5
) -> Sweep:
    """Returns three policies over four values, one of which fits at the first two alone."""
    axis = Axis("host.memory_bytes", tuple(quantity(text) for text in ("32G", "64G", "128G", "256G")))
    points = [
        Point(value, policy, found(rate * (1 + index), dollars))
        if policy != "gpu-only" or value.value < 100e9
        else Point(value, policy, None, REASON)
        for value, rate in zip(axis.values, rates, strict=True)
        for index, policy in enumerate(POLICIES)
    ]
    return Sweep("opt-13b", "a6000-csd", Workload(64, 1024, 1024), axis, POLICIES, tuple(points))
