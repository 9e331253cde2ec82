"""Works out which caches of a plan each drive holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from partitioner.ir.op import Attention
from partitioner.jaxpr import shape_of
from partitioner.plan.plan import Plan
from partitioner.shares import Share
from runtime.csd import Configure
from runtime.errors import SessionError


@dataclass(frozen=True)
class DriveTask:
    """Describes the KV cache of one drive.

    Attributes:
        layers: Attention op to the drive's own layer number.
        share: Rows and KV heads; the same in every layer.
        configure: The command that makes room for it.
    """

    layers: Mapping[str, int]
    share: Share
    configure: Configure


def drive_tasks(plan: Plan) -> dict[str, DriveTask]:
    """Returns the task of every drive that holds a cache, in the order of the drives.

    Raises:
        SessionError: An attention is shared between drives and another device, or a drive's shares differ in size from one
            layer to another: a drive keeps one geometry.
    """
    held: dict[str, list[tuple[str, Attention, Share]]] = {}
    for op in plan.decode.graph.ops:
        if op.attention is None:
            continue
        shares = plan.caches[op.name]
        if not is_on_drives(shares):
            if len(shares) != 1:
                devices = ", ".join(s.device for s in shares)
                raise SessionError(
                    f"the cache of {op.name} is shared between {devices}; only drives can share a cache, so give it to "
                    "drives alone or to one other device"
                )
            continue
        for share in shares:
            held.setdefault(share.device, []).append((op.name, op.attention, share))
    return {name: _task(name, held[name], plan) for name in plan.hw.device_names if name in held}


def is_on_drives(shares: tuple[Share, ...]) -> bool:
    """Tells whether a cache lives on drives alone."""
    return all(s.device.startswith("csd") for s in shares)


def _task(name: str, held: list[tuple[str, Attention, Share]], plan: Plan) -> DriveTask:
    first_name, attention, share = held[0]
    for other_name, other, other_share in held[1:]:
        if _geometry(other, other_share) != _geometry(attention, share):
            raise SessionError(
                f"{name} would hold caches of two geometries, {_shown(attention, share)} of {first_name} and "
                f"{_shown(other, other_share)} of {other_name}; a drive keeps one, so keep one kind on the drives"
            )
        if other_name == first_name:
            raise SessionError(
                f"{name} has two shares of {first_name}; partition again with one share per drive"
            )
    states = {i.name: i.var for i in plan.decode.graph.phase.inputs if i.role == "cache"}
    cache: Any = states[attention.key_cache].aval
    configure = Configure(
        num_layers=len(held),
        num_kv_heads=share.num_kv_heads,
        num_query_heads=share.num_kv_heads * attention.group_size,
        head_size=attention.head_size,
        dtype=np.dtype(cache.dtype),
        batch_size=share.num_rows,
        max_len=shape_of(states[attention.key_cache])[attention.cache_layout.index(("token",))],
    )
    return DriveTask({op: layer for layer, (op, _, _) in enumerate(held)}, share, configure)


def _geometry(attention: Attention, share: Share) -> tuple[object, ...]:
    return (
        share.rows,
        share.kv_heads,
        attention.group_size,
        attention.head_size,
        attention.cache_dtype,
    )


def _shown(attention: Attention, share: Share) -> str:
    return f"{share.num_rows} rows x {share.num_kv_heads} KV heads x {attention.head_size} {attention.cache_dtype}"
