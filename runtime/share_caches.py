"""The parts of shared KV caches that processors hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from jax import numpy as jnp

from partitioner.plan.plan import Plan
from runtime.cache_homes import cache_dtype, cache_len, is_in_parts
from runtime.devices.processor import Processor
from runtime.jax_device import JaxDevice, num_devices, sharding_on
from runtime.micro_batches import MicroBatches

Pair = tuple[Any, Any]
"""K and V, each ``[rows, kv_heads, max_len, head_size]``: arrays on the GPU, numpy arrays on the host."""

Key = tuple[int, str, str]
"""Micro-batch, attention op, device."""


def cut_axis(device: JaxDevice, shape: tuple[int, ...]) -> int | None:
    """Returns the axis along which a share ``[rows, kv_heads, max_len, head_size]`` is cut over the devices of a mesh.

    KV heads if they can be shared evenly, else rows; None where neither can, or there is one device.
    """
    number = num_devices(device)
    return next((axis for axis in (1, 0) if number > 1 and shape[axis] % number == 0), None)


class ShareCaches:
    """Keeps K and V of the shares of a plan that lie on processors; those on drives are the drives' affair."""

    def __init__(self, plan: Plan, processors: Mapping[str, Processor]) -> None:
        self._processors = processors
        self._pairs: dict[Key, Pair] = {}
        self._described: dict[Key, tuple[tuple[int, ...], Any]] = {}
        for op in plan.decode.graph.ops:
            attention = op.attention
            if attention is None or not is_in_parts(plan, op.name):
                continue
            for share in plan.caches[op.name]:
                if share.device not in processors:
                    continue
                max_len = cache_len(plan, attention)
                max_len = max_len if share.cut is None else min(max_len, share.cut.room)
                shape = (share.num_rows, share.num_kv_heads, max_len, attention.head_size)
                for number in range(MicroBatches.of(plan).count):
                    self._described[number, op.name, share.device] = shape, cache_dtype(plan, attention)

    def holds(self, op: str, device: str) -> bool:
        """Tells whether a device holds a share of an attention's cache."""
        return (0, op, device) in self._described

    def clear(self) -> None:
        """Starts with empty caches. The host's are left as they are: nobody reads behind the valid tokens."""
        for key, (shape, dtype) in self._described.items():
            processor = self._processors[key[-1]]
            if processor.name != "host":
                at = sharding_on(processor.device, cut_axis(processor.device, shape))
                self._pairs[key] = jnp.zeros(shape, dtype, device=at), jnp.zeros(shape, dtype, device=at)
            elif key not in self._pairs:
                self._pairs[key] = np.zeros(shape, dtype), np.zeros(shape, dtype)

    def read(self, micro_batch: int, op: str, device: str) -> Pair:
        """Returns K and V of a share."""
        return self._pairs[micro_batch, op, device]

    def replace(self, micro_batch: int, op: str, device: str, pair: Pair) -> None:
        """Takes the caches that an executable made of the old ones."""
        self._pairs[micro_batch, op, device] = pair
