"""What the parts of a shared attention cost: one part per tier, all of which attend at the same time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cost_models import Cost, sequential
from partitioner.costing import Costing
from partitioner.cut_costs import hand_out_s
from partitioner.ir.op import Attention
from partitioner.plan.names import tier_of
from partitioner.plan.steps import Share
from partitioner.shares import attended_fraction
from partitioner.tier_links import TIERS


@dataclass(frozen=True)
class Part:
    """Says what one tier does of a shared attention, and how long that takes.

    Attributes:
        tier: ``gpu``, ``host`` or ``csd``.
        share: Of batch rows x KV heads x tokens.
        alone: Time to attend, of the slowest of its devices.
        in_all: The same from the operands' way out of the GPU to the output's way back.
    """

    tier: str
    share: float
    alone: Cost
    in_all: Cost


def parts_of(
    costing: Costing, attention: Attention, shares: Sequence[Share], context_len: int
) -> tuple[Part, ...]:
    """Returns the parts of an attention that shares are, by the account that the solver keeps.

    Args:
        costing: Answers what things cost.
        attention: The attention.
        shares: Its shares; the GPU hands them their operands and takes in their outputs.
        context_len: Tokens attended over.
    """
    return tuple(
        _part(costing, attention, tier, held, context_len)
        for tier in TIERS
        if (held := [s for s in shares if tier_of(s.device) == tier])
    )


def slowest(costs: Sequence[Cost]) -> Cost:
    """Returns the cost of parts that run at the same time: that of the one which takes longest."""
    return max(costs, key=lambda cost: cost.seconds)


def _part(costing: Costing, attention: Attention, tier: str, held: Sequence[Share], context_len: int) -> Part:
    share = sum(attended_fraction(s, context_len) for s in held)
    alone = slowest([costing.share_attend_cost(attention, s, context_len) for s in held])
    costs = [alone, Cost(costing.launch_s(tier), "overhead")]
    if tier != "gpu":
        fraction = sum(s.fraction for s in held)
        costs.append(Cost(hand_out_s(costing, attention, held[0], fraction), "link"))
    return Part(tier, share, alone, sequential(costs))
