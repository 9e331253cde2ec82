"""Classes of attentions that several tiers share: their name in a column of devices, and what each tier does."""

from __future__ import annotations

from cost_models import HardwareSpec, sequential
from partitioner.plan.explanation import SharedPart
from partitioner.plan.names import tier_span
from partitioner.plan.op_costs import OpCosts
from partitioner.plan.report.figures import OpClass
from partitioner.plan.report.numerals import percent

SPLIT_NOTE = (
    '"split" is shared by several devices at the same time, each with its part of the KV cache; '
    "it takes as long as the slowest."
)
"""Goes with tables in which classes have rows for their parts."""


def group_span(hw: HardwareSpec, group: OpClass) -> str:
    """Returns the devices on which a class runs, or ``split`` where several tiers share each of its ops."""
    return tier_span(hw, group.split[0][0] if group.split and not group.is_shared else group.tier)


def shared_parts(costs: OpCosts, group: OpClass, times: int) -> tuple[SharedPart, ...]:
    """Returns what each tier does of the ops of a class, summed over them; nothing where one tier does all."""
    if not group.is_shared:
        return ()
    by_tier = zip(*(costs.parts(op) for op in group.ops), strict=True)
    return tuple(
        SharedPart(
            tier_span(costs.plan.hw, parts[0].tier),
            parts[0].share,
            sequential(part.alone for part in parts) * times,
            sequential(part.in_all for part in parts) * times,
        )
        for parts in by_tier
    )


def part_label(part: SharedPart) -> str:
    """Returns what stands in a column of devices for a part: ``csd0-3 55 %``."""
    return f"{part.devices} {percent(part.share)} %"
