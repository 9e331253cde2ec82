"""The memory that a plan leaves free, for what could live elsewhere or be streamed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from partitioner.plan.names import tier_of
from partitioner.plan.stream_buffers import reserved_room
from partitioner.tier_links import TIERS

if TYPE_CHECKING:
    from partitioner.plan.plan import Plan


def free_bytes(plan: Plan) -> Mapping[str, float]:
    """Returns the bytes per tier that hold nothing and are not reserved."""
    free: dict[str, float] = dict.fromkeys(TIERS, 0.0)
    for device, row in plan.resident_bytes().items():
        free[tier_of(device)] += row["capacity"] - row["weights"] - row["kv_cache"] - row["reserve"]
    return free


def stream_room(plan: Plan) -> Mapping[str, float]:
    """Returns the bytes per tier that buffers of streams can have: like the solver, it asks for none but on the GPU.

    There they can have what is free, and what is reserved beyond activations.
    """
    graphs = [p.graph for p in (plan.prefill, plan.decode) if p is not None]
    buffers = reserved_room(graphs, plan.decisions.reserved_bytes["gpu"])
    return {"gpu": free_bytes(plan)["gpu"] + buffers, "host": math.inf, "csd": 0.0}
