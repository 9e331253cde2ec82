"""Arrays in host memory that a device with memory of its own reads at the full rate of its link, and threads write in place."""

from __future__ import annotations

import ctypes
from collections.abc import Collection
from typing import Any

import jax
import numpy as np
from jax.sharding import SingleDeviceSharding

from partitioner.plan.plan import Plan
from partitioner.plan.steps import Move
from runtime.core_threads import num_cores, run_parts
from runtime.jax_device import JaxDevice


def pinned(device: JaxDevice) -> SingleDeviceSharding:
    """Returns the placement in host memory that a device can read by itself."""
    return SingleDeviceSharding(device, memory_kind="pinned_host")


def is_pinned(array: jax.Array) -> bool:
    """Tells whether an array lies in such memory."""
    return array.sharding.memory_kind == "pinned_host"


class PinnedArray:
    """An array of zeros in pinned memory, with a view through which threads of the host write it.

    Nobody may write what an executable or a copy still reads.

    Attributes:
        array: What executables and copies read.
        host: The same memory.

    Args:
        shape: Of the array.
        dtype: Likewise.
        device: Who reads it.
    """

    def __init__(self, shape: tuple[int, ...], dtype: Any, device: JaxDevice) -> None:
        zeros = np.zeros(shape, dtype)
        self.array: Any = jax.block_until_ready(jax.device_put(zeros, pinned(device)))
        memory: Any = (ctypes.c_char * zeros.nbytes).from_address(self.array.unsafe_buffer_pointer())
        self.host: np.ndarray = np.frombuffer(memory, zeros.dtype).reshape(shape)


class PinnedCache:
    """A cache whose home is the host and which streams to a GPU.

    Args:
        shape: Of the cache.
        dtype: Likewise.
        rows_axis: Axis of the rows.
        token_axis: Axis of the tokens.
        device: Where it streams to.
    """

    def __init__(
        self, shape: tuple[int, ...], dtype: Any, rows_axis: int, token_axis: int, device: JaxDevice
    ) -> None:
        self._pinned = PinnedArray(shape, dtype, device)
        self._axes = rows_axis, token_axis
        self._by_row = np.moveaxis(self._pinned.host, self._axes, (0, 1))

    @property
    def array(self) -> jax.Array:
        """Returns what is copied to the GPU."""
        return self._pinned.array

    def append(self, new: np.ndarray, lengths: np.ndarray) -> None:
        """Writes one token per row, in the cache's own axes, behind the first ``lengths``."""
        token = np.moveaxis(new, self._axes, (0, 1))[:, 0]
        self._by_row[np.arange(len(lengths)), lengths] = token.astype(self._by_row.dtype)

    def store(self, fresh: np.ndarray, slots: np.ndarray) -> None:
        """Writes rows from token 0 on; ``slots`` names the cache's row of each, negative ones are left out."""
        made = np.moveaxis(fresh, self._axes, (0, 1))
        taken = [(row, int(slot)) for row, slot in enumerate(slots) if slot >= 0]
        num_parts = min(num_cores(), len(taken))

        def write(part: int) -> None:
            for row, slot in taken[part::num_parts]:
                self._by_row[slot, : made.shape[1]] = made[row]

        if taken:
            run_parts(write, num_parts)


def streamed_from_host(plan: Plan) -> frozenset[str]:
    """Returns the parameters and caches whose home is the host, and which nobody reads there but streams to a GPU."""
    streamed: set[str] = set()
    read: set[str] = set()
    for phase in (plan.prefill, plan.decode):
        if phase is None:
            continue
        moves = [s for s in phase.steps if isinstance(s, Move)]
        streamed |= _names(moves, "stream_weights", "stream_cache")
        for segment in phase.segments:
            if segment.device == "host":
                read |= {phase.graph.input_of[v].name for v in segment.inputs if v in phase.graph.input_of}
    return frozenset(streamed - read)


def _names(moves: Collection[Move], *kinds: str) -> set[str]:
    return {name for m in moves if m.src == "host" and m.kind in kinds for name in m.names}
