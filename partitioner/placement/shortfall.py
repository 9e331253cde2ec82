"""Says what is short when nothing fits."""

from __future__ import annotations

from collections.abc import Sequence

from partitioner.costing import Costing
from partitioner.jaxpr import num_bytes
from partitioner.placement.build import BuiltProblem, PairedGraphs
from partitioner.placement.policies import Policy
from partitioner.placement.problem import Infeasible


def shortfall_message(
    costing: Costing,
    policy: Policy,
    paired: PairedGraphs,
    tried: Sequence[tuple[BuiltProblem, Infeasible]],
) -> str:
    """Returns one message with the bytes wanted, the bytes there are per device, and what to do."""
    workload = costing.workload
    decode = paired.graphs[-1]
    weights = sum(num_bytes(i.var) for i in decode.phase.inputs if i.role == "param")
    cache = sum(num_bytes(i.var) for i in decode.phase.inputs if i.role == "cache")
    parts = [
        f"nothing fits under policy {policy.name!r}: weights need {_gb(weights)} and the KV cache {_gb(cache)} at batch "
        f"{workload.batch_size} x {workload.max_len} tokens"
    ]
    if tried:
        built, best = min(tried, key=lambda pair: sum(pair[1].shortfall))
        rows = []
        for i, tier in enumerate(built.problem.tiers):
            if best.shortfall[i] > 0:
                rows.append(
                    f"{costing.device(tier)} is short of {_gb(best.shortfall[i])} ({best.shortfall[i]:.0f} bytes: wants "
                    f"{_gb(best.needed[i])}, has {_gb(built.problem.capacities[i])} beside {_gb(built.reserved[i])} for activations)"
                )
        parts.append("; ".join(rows))
    parts.append("Lower the batch or the lengths, add memory or a drive, or allow more with policy 'auto'")
    return ". ".join(parts)


def _gb(num_bytes: float) -> str:
    return f"{num_bytes / 1e9:.1f} GB" if num_bytes >= 1e8 else f"{num_bytes / 1e6:.1f} MB"
