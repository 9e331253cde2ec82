"""Plans one model at every value of an axis under every policy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from cost_models import CostModelError, HardwareSpec
from models import Transformer
from partitioner import PartitionError, Plan, Workload, partition
from partitioner.objective import TOKENS_PER_SECOND
from partitioner.plan.report.busiest import busiest
from partitioner.plan.report.figures import Figures
from runtime.cli.sweep.axis import Axis
from runtime.cli.sweep.quantity import Quantity
from runtime.phases import Progress


@dataclass(frozen=True)
class Found:
    """Holds what a plan predicts.

    Attributes:
        tokens_per_s: New tokens per second over the generation.
        step_s: Seconds of the decode step in the middle of the generation.
        prefill_s: Seconds of the prefill.
        busiest: What is in use longest.
        busiest_use: Share of the time in which it is.
        gap: Relative distance of the objective from its bound.
        kv_cache_bytes: Bytes of KV cache by device.
        joules_per_token: None where the powers of the hardware are not known.
        usd_per_million_tokens: None where its prices are not known.
    """

    tokens_per_s: float
    step_s: float
    prefill_s: float
    busiest: str
    busiest_use: float
    gap: float
    kv_cache_bytes: dict[str, float]
    joules_per_token: float | None
    usd_per_million_tokens: float | None


@dataclass(frozen=True)
class Point:
    """Holds one value under one policy: a plan's figures, or why there is no plan.

    Attributes:
        value: Of the axis.
        policy: Name.
        found: None where nothing fits.
        reason: Why; empty where something does.
    """

    value: Quantity
    policy: str
    found: Found | None
    reason: str = ""


@dataclass(frozen=True)
class Sweep:
    """Holds a whole sweep.

    Attributes:
        model: Name of the model.
        hardware: Name of the system it starts from.
        workload: What else is generated.
        axis: What was varied.
        policies: In the order given.
        points: By value, then by policy.
        objective: What every plan is to be the best at.
    """

    model: str
    hardware: str
    workload: Workload
    axis: Axis
    policies: tuple[str, ...]
    points: tuple[Point, ...]
    objective: str = TOKENS_PER_SECOND

    @property
    def constants(self) -> str:
        """Returns in words what is generated at every value."""
        load, key = self.workload, self.axis.key
        batch = [] if key == "batch" else [f"batch {load.batch_size}"]
        if key == "context":
            return ", ".join([*batch, f"at most {load.decode_len} new tokens each"])
        prompt = [] if key == "prompt-len" else [f"prompts of {load.prompt_len} tokens"]
        new = [] if key == "decode-len" else [f"{load.decode_len} new tokens each"]
        return ", ".join([*batch, *prompt, *new])

    def to_dict(self) -> dict[str, Any]:
        """Returns plain data; rows without a plan have a reason and no figures."""
        return {
            "model": self.model,
            "hardware": self.hardware,
            "workload": self.workload.to_dict(),
            "sweep": self.axis.key,
            "objective": self.objective,
            "rows": [
                {
                    "value": point.value.value,
                    "policy": point.policy,
                    "reason": point.reason or None,
                    **(asdict(point.found) if point.found else {}),
                }
                for point in self.points
            ],
        }


def sweep(
    model: Transformer,
    hw: HardwareSpec,
    workload: Workload,
    axis: Axis,
    policies: Sequence[str],
    progress: Progress,
    objective: str = TOKENS_PER_SECOND,
) -> Sweep:
    """Returns what plans predict at every value; what does not fit is told and not raised.

    Args:
        model: What to plan; shapes are enough.
        hw: The system to start from.
        workload: Likewise.
        axis: What to vary.
        policies: Names of policies.
        progress: Called with a stage, what is done and the total.
        objective: What every plan is to be the best at.
    """
    cells = [(value, policy) for value in axis.values for policy in policies]
    points: list[Point] = []
    for done, (value, policy) in enumerate(cells):
        progress("planning", done, len(cells))
        points.append(_point(model, hw, workload, axis, value, policy, objective))
    progress("planning", len(cells), len(cells))
    return Sweep(model.config.name, hw.name, workload, axis, tuple(policies), tuple(points), objective)


def _point(
    model: Transformer,
    hw: HardwareSpec,
    load: Workload,
    axis: Axis,
    value: Quantity,
    policy: str,
    objective: str,
) -> Point:
    try:
        plan = partition(model, *axis.at(value, hw, load), policy, objective=objective)
    except (PartitionError, CostModelError) as error:
        return Point(value, policy, None, " ".join(str(error).split()))
    return Point(value, policy, _found(plan))


def _found(plan: Plan) -> Found:
    limit = busiest(Figures(plan))
    return Found(
        tokens_per_s=plan.tokens_per_second,
        step_s=plan.decode_seconds(plan.middle_context),
        prefill_s=plan.prefill_seconds,
        busiest=limit.span,
        busiest_use=limit.use,
        gap=plan.gap,
        kv_cache_bytes={d: row["kv_cache"] for d, row in plan.resident_bytes().items() if row["kv_cache"]},
        joules_per_token=plan.joules_per_token,
        usd_per_million_tokens=plan.dollars_per_million_tokens,
    )
