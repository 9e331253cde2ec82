"""What stays on each device: weights, KV cache at the longest context, and room for activations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from partitioner.cut_costs import share_bytes
from partitioner.jaxpr import num_bytes

if TYPE_CHECKING:
    from partitioner.plan.plan import Plan


def drive_memory_bytes(plan: Plan) -> dict[str, float]:
    """Returns the bytes of its memory that each drive with a KV cache needs, for tokens that fill a page and for tables."""
    needed: dict[str, float] = {}
    for op in plan.decode.graph.ops:
        if op.attention is None:
            continue
        for share in plan.caches[op.name]:
            if share.device.startswith("csd"):
                cache, most = plan.costing.drive_cache(op.attention), plan.workload.max_len
                pair_bytes = cache.memory_bytes(most, gathers=share.cut is None)
                pairs = share.num_rows * share.num_kv_heads * plan.micro_batches
                needed[share.device] = needed.get(share.device, 0.0) + pairs * pair_bytes
    return needed


def resident_bytes(plan: Plan) -> dict[str, dict[str, float]]:
    """Returns per device ``weights``, ``kv_cache``, ``reserve`` and ``capacity`` in bytes, devices in the hardware's order."""
    costing = plan.costing
    table = {
        d: {"weights": 0.0, "kv_cache": 0.0, "reserve": 0.0, "capacity": plan.hw.memory_bytes(d)}
        for d in plan.hw.device_names
    }
    gpus = [d for d in table if d.startswith("gpu")]

    parallel = plan.decode.graph.parallel

    def add(device: str, key: str, amount: float, name: str | None = None) -> None:
        members = gpus if device == "gpu0" else [device]
        if device == "gpu0" and parallel is not None and name is not None and parallel.is_whole(name):
            amount *= len(gpus)
        for member in members:
            table[member][key] += amount / len(members)

    for i in plan.decode.graph.phase.inputs:
        if i.role == "param":
            for device in (plan.homes[i.name], *plan.copies.get(i.name, ())):
                add(device, "weights", num_bytes(i.var), i.name)
    raised: set[str] = set()
    for op in plan.decode.graph.ops:
        if op.attention is not None:
            raised |= {op.attention.key_cache, op.attention.value_cache}
            for share in plan.caches[op.name]:
                add(share.device, "kv_cache", share_bytes(costing, op.attention, share))
    for i in plan.decode.graph.phase.inputs:
        if i.role == "cache" and i.name not in raised:
            add("gpu0", "kv_cache", num_bytes(i.var) * plan.micro_batches, i.name)
    for tier, amount in plan.decisions.reserved_bytes.items():
        if amount:
            add(costing.links.device(tier) if tier != "csd" else "csd0", "reserve", amount)
    return table
