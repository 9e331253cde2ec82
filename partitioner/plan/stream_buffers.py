"""Room on the GPU for weights and caches that are streamed: how much the solver reserves, and how far ahead streams may run.

A stream holds its bytes from when it begins until the run that uses it has ended. Streams begin in the order of their use, each
as soon as those not yet used leave room for it. So that the links have work while an attention is waited for, there is room for
the weights of a whole layer beside those in use; and once more for the next slice of a prefill, whose streams begin under the
last runs of the slice before it. Where that would be much of the GPU, it is less, down to two buffers.
"""

from __future__ import annotations

from collections.abc import Sequence

from partitioner.ir.graph import OpGraph
from partitioner.ir.working_set import peak_working_set_bytes

LEAST_AHEAD = 2
"""Uses whose streams may be in flight whatever their size: one in use and one on its way. There is always room for these."""

MOST_OF_MEMORY = 1 / 8
"""Share of the GPU's memory that running further ahead than two uses may take: what it holds is lost to weights and caches."""

_SLICES = 2
"""Slices of a prefill whose streams can be in flight together."""


def cache_buffer_bytes(largest: float) -> float:
    """Returns the room for streamed caches of which the largest has some bytes."""
    return LEAST_AHEAD * largest


def weight_buffer_bytes(largest: float, layer: float, memory: float) -> float:
    """Returns the room for streamed weights.

    Args:
        largest: Bytes that the op with most of them reads.
        layer: Bytes that all ops of a layer read.
        memory: Bytes of the GPU.
    """
    wanted = _SLICES * (largest + max(largest, layer))
    return max(LEAST_AHEAD * largest, min(wanted, MOST_OF_MEMORY * memory))


def reserved_room(graphs: Sequence[OpGraph], reserved_bytes: float) -> float:
    """Returns what is reserved beyond activations."""
    return max(0.0, reserved_bytes - max(map(peak_working_set_bytes, graphs)))


class StreamWindow:
    """Says what a stream has to wait for so that those in flight keep to a room.

    Args:
        room_bytes: The room; streams of ``LEAST_AHEAD`` uses may be in flight in any case.
        sliced: Whether it is shared with the slice before and after.
    """

    def __init__(self, room_bytes: float, *, sliced: bool = False) -> None:
        self._room_bytes = room_bytes / _SLICES if sliced else room_bytes
        self._uses: list[tuple[int, float]] = []

    def used_by(self, run: int, num_bytes: float) -> None:
        """Notes the run that uses the streams asked for last, and their bytes."""
        self._uses.append((run, num_bytes))

    def wait_for(self, num_bytes: float) -> set[int]:
        """Returns the run that has to end before streams of some bytes, all for one use, may begin; none if there is room."""
        left = self._room_bytes - num_bytes
        for uses, (run, held) in enumerate(reversed(self._uses), start=2):
            left -= held
            if left < 0 and uses > LEAST_AHEAD:
                return {run}
        return set()
