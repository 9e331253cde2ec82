"""Says what is short when nothing fits."""

from __future__ import annotations

from collections.abc import Sequence

from partitioner.costing import Costing
from partitioner.errors import PlacementError
from partitioner.jaxpr import num_bytes
from partitioner.placement.build import BuiltProblem, PairedGraphs
from partitioner.placement.policies import Policy
from partitioner.placement.problem import Infeasible


def check_activations(costing: Costing, paired: PairedGraphs) -> None:
    """Checks that the largest working set of any op fits into the GPU's memory, where weights and caches come on top.

    Raises:
        PlacementError: If it does not.
    """
    needed, memory = paired.activation_bytes(costing), costing.capacity_bytes("gpu")
    if needed > memory:
        raise PlacementError(
            f"the activations of one op need {_gb(needed)} at batch {costing.workload.batch_size}, prompts of "
            f"{costing.workload.prompt_len} tokens, and gpu0 has {_gb(memory)}; gpu0 is short of {needed - memory:.0f} bytes. "
            "Shorten the prompts, or choose hardware with more GPU memory"
        )


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
                reserved = f" beside {_gb(built.reserved[i])} for activations" if built.reserved[i] else ""
                rows.append(
                    f"{costing.links.device(tier)} is short of {_gb(best.shortfall[i])} ({best.shortfall[i]:.0f} bytes: wants "
                    f"{_gb(best.needed[i])}, has {_gb(built.problem.capacities[i])}{reserved})"
                )
        parts.append("; ".join(rows))
    else:
        parts.append("gpu0 has no room for the buffers of streamed weights or caches beside the activations")
    remedies = ["lower the batch or the lengths", "add memory"]
    if policy.cache_homes == ("csd",):
        remedies.append("add a drive")
    if policy.name != "auto":
        remedies.append("choose policy 'auto'")
    return ". ".join([*parts, f"{', '.join(remedies[:-1]).capitalize()} or {remedies[-1]}"])


def _gb(num_bytes: float) -> str:
    return f"{num_bytes / 1e9:.1f} GB" if num_bytes >= 1e8 else f"{num_bytes / 1e6:.1f} MB"
