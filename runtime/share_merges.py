"""Puts the outputs of all shares of an attention together, on the processor that reads the whole."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from partitioner.plan.steps import Run
from partitioner.shares import Share
from runtime.attention_parts import put_output
from runtime.executables import Executable, compile_for, remembered
from runtime.frame import Frame
from runtime.hand_over import Returned, hand_over_of
from runtime.jax_device import JaxDevice, sharding_on
from runtime.micro_batches import MicroBatches
from runtime.partial_attention import PartialAttention
from runtime.program import Program, describe_aval
from runtime.share_attention import merge_function
from runtime.system import System
from runtime.token_window import put_merged


@dataclass(frozen=True, eq=False)
class Merge:
    """Says how one attention's output is put together.

    Attributes:
        own: Shares of the processor itself, in the order in which their parts are given.
        function: Of what came back from other devices, and of the parts of ``own``.
        given: Abstract arguments.
        key: Equal for merges that compute the same.
    """

    own: tuple[Share, ...]
    function: Callable[..., jax.Array]
    given: tuple[jax.ShapeDtypeStruct, ...]
    key: Hashable

    def compile(self, device: JaxDevice) -> Executable:
        """Returns the function as an executable of its own."""
        return remembered(
            ("merge", device, self.key), lambda: compile_for(device, self.function, self.given, ())
        )


@dataclass(frozen=True, eq=False)
class Gathered:
    """Holds the arguments of a merge that is part of the executable which reads the whole."""

    arguments: tuple[Any, ...]


class ShareMerges:
    """Merges the shares of one phase.

    Args:
        program: The phase.
        system: Devices, links, caches and clock.

    Attributes:
        by_attention: How outputs are put together, by the name of the attention.
    """

    def __init__(self, program: Program, system: System) -> None:
        self._program = program
        self._system = system
        self._run: dict[str, Callable[..., jax.Array]] = {}
        self._returned: dict[tuple[int, str], Returned] = {}
        shares: dict[str, list[Share]] = {}
        for step in program.phase.steps:
            if isinstance(step, Run) and step.share is not None:
                shares.setdefault(program.segment(step).attention or "", []).append(step.share)
        self.by_attention = {name: self._merge_of(name, found) for name, found in shares.items()}

    def compile(self, joined: Collection[str]) -> None:
        """Compiles merges and makes the arrays into which parts are written.

        Args:
            joined: Attentions whose merge is part of the executable that reads the whole.
        """
        for name, merge in self.by_attention.items():
            device = self._system.processors[self._program.consumers[name]].device
            if name not in joined:
                self._run[name] = merge.compile(device)
            for number in range(MicroBatches.of(self._program.plan).count):
                self._returned[number, name] = hand_over_of(device).returned(merge.given[0].shape)

    def arrive(self, frame: Frame, device: str, name: str, share: Share, part: Any) -> Any:
        """Takes a share's output on the device that reads it; with the last one, returns the whole, else nothing."""
        attention = self._program.attention[name]
        returned = self._returned[frame.micro_batch, name]
        waits = isinstance(part, jax.Array | PartialAttention)
        if not waits:
            put_output(returned.host, part, share)
        parts = frame.put_part(device, attention.output, share, part if waits else None)
        if parts is None:
            return ()
        found = dict(parts)
        partial = {share: part for share, part in parts if isinstance(part, PartialAttention)}
        if partial:
            put_merged(returned.host, partial)
        given = returned.given(), *(found[share] for share in self.by_attention[name].own)
        if name not in self._run:
            frame.put(device, attention.output, Gathered(given))
            return ()
        whole = self._run[name](*given)
        frame.put(device, attention.output, whole)
        return whole

    def _merge_of(self, name: str, shares: Sequence[Share]) -> Merge:
        attention, consumer = self._program.attention[name], self._program.consumers[name]
        own = _ordered(s for s in shares if s.device == consumer and consumer != "host")
        num_rows, (_, dtype) = self._program.phase.rows, describe_aval(attention.output)
        device = self._system.processors[consumer].device
        way, at = hand_over_of(device), sharding_on(device)
        put_together = merge_function(attention, own, dtype)
        shapes = [(s.num_rows, s.num_kv_heads * attention.group_size, attention.head_size) for s in own]
        whole = num_rows, attention.num_kv_heads, attention.group_size, attention.head_size
        return Merge(
            own,
            lambda given, *parts: put_together(way.load(given), *parts),
            (
                way.shape_of(whole),
                *(jax.ShapeDtypeStruct(shape, np.float32, sharding=at) for shape in shapes),
            ),
            (
                attention.output_layout,
                whole,
                str(dtype),
                tuple((s.rows, s.kv_heads) for s in own),
                type(way).__name__,
            ),
        )


def _ordered(shares: Iterable[Share]) -> tuple[Share, ...]:
    return tuple(sorted(shares, key=lambda s: (s.rows, s.kv_heads)))
