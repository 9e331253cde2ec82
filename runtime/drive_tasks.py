"""Works out which caches of a plan each drive holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from partitioner.ir.op import Attention
from partitioner.plan.plan import Plan
from partitioner.shares import Share
from runtime.cache_homes import cache_dtype, cache_len
from runtime.csd import Configure, Reclaim
from runtime.errors import SessionError
from runtime.micro_batches import MicroBatches
from runtime.share_rows import ShareRows


@dataclass(frozen=True)
class DriveTask:
    """Describes the KV caches of one drive.

    Rows and KV heads of a layer's share are the drive's from 0 on. Micro-batches follow one another: those of a share
    of ``n`` rows begin at 0, ``n``, ``2 n``, ...

    Attributes:
        layers: Attention op to the drive's own layer number.
        shares: Attention op to the rows and KV heads that the drive holds of it.
        configure: The command that makes room for them.
    """

    layers: Mapping[str, int]
    shares: Mapping[str, Share]
    configure: Configure

    def rows(self, op: str, micro_batch: int, own: np.ndarray | None = None) -> np.ndarray:
        """Returns the drive's rows for rows of a share.

        Args:
            op: The attention.
            micro_batch: Which of its caches.
            own: Rows, counted within the share; None for all.
        """
        count = self.shares[op].num_rows
        return micro_batch * count + (np.arange(count) if own is None else own)

    def reclaims(self, micro_batch: int, slots: np.ndarray) -> list[Reclaim]:
        """Returns the commands that drop rows of a micro-batch: one, where all layers have the same share of the rows."""
        found: dict[int, np.ndarray] = {}
        for op, layer in self.layers.items():
            own = ShareRows.of(self.shares[op], slots).own
            found[layer] = self.rows(op, micro_batch, own)
        first = found[0]
        if all(np.array_equal(rows, first) for rows in found.values()):
            return [Reclaim(rows=first)] if first.size else []
        return [Reclaim(layer=layer, rows=rows) for layer, rows in found.items() if rows.size]

    def keeps_channels(self, op: str) -> bool:
        """Tells whether the drive keeps K of an attention by channel, too, so that it can attend sparsely."""
        by_channel = self.configure.layer_by_channel
        return by_channel is not None and by_channel[self.layers[op]]


def drive_tasks(plan: Plan) -> dict[str, DriveTask]:
    """Returns the task of every drive that holds a cache, in the order of the drives.

    Raises:
        SessionError: Heads on a drive differ in size, dtype or queries per KV head from one layer to another.
    """
    held: dict[str, list[tuple[str, Attention, Share]]] = {}
    for op in plan.decode.graph.ops:
        if op.attention is not None:
            for share in plan.caches[op.name]:
                held.setdefault(share.device, []).append((op.name, op.attention, share))
    drives = [name for name in plan.hw.device_names if name.startswith("csd") and name in held]
    return {name: _task(name, held[name], plan) for name in drives}


def _task(name: str, held: list[tuple[str, Attention, Share]], plan: Plan) -> DriveTask:
    first_name, attention, _ = held[0]
    for other_name, other, _ in held[1:]:
        if _heads(other) != _heads(attention):
            raise SessionError(
                f"{name} would hold heads of two kinds, {_shown(attention)} of {first_name} and {_shown(other)} of "
                f"{other_name}; a drive keeps one, so keep one kind on the drives"
            )
    micro_batches = MicroBatches.of(plan).count
    layer_kv_heads = tuple(share.num_kv_heads for _, _, share in held)
    layer_rows = tuple(micro_batches * share.num_rows for _, _, share in held)
    groups = tuple(plan.channel_group(other) for _, other, _ in held)
    by_channel = tuple(group is not None for group in groups)
    gathers = tuple(share.cut is None for _, _, share in held)
    configure = Configure(
        num_layers=len(held),
        num_kv_heads=max(layer_kv_heads),
        num_query_heads=max(layer_kv_heads) * attention.group_size,
        head_size=attention.head_size,
        dtype=np.dtype(cache_dtype(plan, attention)),
        batch_size=max(layer_rows),
        max_len=cache_len(plan, attention),
        layer_kv_heads=layer_kv_heads,
        layer_rows=layer_rows,
        channel_group=next((group for group in groups if group is not None), None),
        layer_by_channel=by_channel if any(by_channel) else None,
        layer_gathers=None if all(gathers) else gathers,
    )
    layers = {op: layer for layer, (op, _, _) in enumerate(held)}
    return DriveTask(layers, {op: share for op, _, share in held}, configure)


def _heads(attention: Attention) -> tuple[object, ...]:
    return attention.group_size, attention.head_size, attention.cache_dtype


def _shown(attention: Attention) -> str:
    return f"{attention.group_size} x {attention.head_size} {attention.cache_dtype}"
