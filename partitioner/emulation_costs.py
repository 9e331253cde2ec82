"""What emulated drives cost beside what their description says: where the hardware has no ``[emulation]`` table, nothing.

Drives share an attention evenly and this machine's cores work for all of them, so what a share takes follows from the bytes of
all. Sparse attention is worked out by other kernels, whose rate is not measured; it is predicted as described.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cost_models import Cost, slowest
from partitioner.ir.op import Attention
from partitioner.jaxpr import itemsize
from partitioner.plan.steps import Step
from partitioner.shares import Share

if TYPE_CHECKING:
    from partitioner.costing import Costing


def as_emulated(costing: Costing, attention: Attention, share: Share, tokens: int, cost: Cost) -> Cost:
    """Returns the time of a drive's share of a dense attention as described, or that of emulating it where that is longer.

    Args:
        costing: Answers what things cost.
        attention: The attention.
        share: The drive's.
        tokens: Tokens of each row that it attends to.
        cost: As described.
    """
    emulation = costing.hw.emulation
    if emulation is None:
        return cost
    per_token = (
        2 * share.num_rows * share.num_kv_heads * attention.head_size * itemsize(attention.cache_dtype)
    )
    num_bytes = per_token * tokens * len(costing.shares(attention))
    return slowest((cost, Cost(emulation.attend_s(num_bytes), "overhead")))


def crossing_s(costing: Costing, src: str, dst: str) -> float:
    """Returns the time from a processor to the shares of an attention on drives or the host, or back, that links do not take.

    Args:
        costing: Answers what things cost.
        src: Device or tier.
        dst: Likewise.
    """
    emulation = costing.hw.emulation
    if emulation is None or src == dst:
        return 0.0
    comes_back = src.startswith("csd") or dst.startswith("gpu")
    return emulation.from_share_s if comes_back else emulation.to_share_s


def hand_over_s(costing: Costing, tier: str) -> float:
    """Returns the time from the GPU to the shares of a tier and back that links do not take."""
    return crossing_s(costing, "gpu", tier) + crossing_s(costing, tier, "gpu")


def step_s(costing: Costing, steps: Sequence[Step]) -> float:
    """Returns the time between decode steps of which shares on drives or the host have a part; others have one executable."""
    emulation = costing.hw.emulation
    is_shared = any(s.share is not None and not s.share.device.startswith("gpu") for s in steps)
    return emulation.step_s if emulation is not None and is_shared else 0.0
