"""The executables of a phase's segments, joined with what comes before and behind them where that is possible."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import jax

from partitioner.jaxpr import Var
from partitioner.plan.steps import Segment
from runtime.executables import Executable, compile_segment
from runtime.hand_over import Sent
from runtime.joined_segments import arguments_of, join_segments
from runtime.operand_sends import Operands, OperandSends
from runtime.program import Program
from runtime.share_merges import ShareMerges
from runtime.system import System


class SegmentExecutables:
    """Compiles and launches segments; those of one class have one executable.

    Args:
        program: The phase.
        system: Devices, links, caches and clock.
        merges: Put together what shares made.
        sends: Send what shares read.
    """

    def __init__(self, program: Program, system: System, merges: ShareMerges, sends: OperandSends) -> None:
        self._program, self._system = program, system
        self._merges, self._sends = merges, sends
        self._joined = join_segments(program, system, merges, sends)
        self._compiled: dict[int, Executable] = {}

    def compile(self, progress: Callable[[int, int], None]) -> None:
        """Compiles every class of segment, and those merges and sends that are no part of one.

        Args:
            progress: Told of classes done, and of all.
        """
        classes: dict[Hashable, list[Segment]] = {}
        for segment in self._program.phase.segments:
            if segment.attention is None:
                joined = self._joined.get(segment.index)
                form = segment.executable, joined and joined.joints
                classes.setdefault(form, []).append(segment)
        for done, segments in enumerate(classes.values()):
            progress(done, len(classes))
            compiled = self._compile(segments[0])
            self._compiled.update((segment.index, compiled) for segment in segments)
        inside = {v for joined in self._joined.values() for v in joined.merges}
        self._merges.compile({n for n, a in self._program.attention.items() if a.output in inside})
        self._sends.compile({sent for joined in self._joined.values() for sent in joined.packs})
        progress(len(classes), len(classes))

    def _compile(self, segment: Segment) -> Executable:
        device = self._system.processors[segment.device].device
        joined = self._joined.get(segment.index)
        if joined is not None:
            return joined.compile(device)
        return compile_segment(segment, device, self._axes_of(segment))

    def launch(
        self, segment: Segment, inputs: Sequence[Any]
    ) -> tuple[Sequence[jax.Array], Mapping[Operands, Sent]]:
        """Returns a segment's outputs, and what it has sent already.

        Args:
            segment: The segment.
            inputs: In its order; for one that a merge makes, what the merge is given.
        """
        joined, run = self._joined.get(segment.index), self._compiled[segment.index]
        if joined is None:
            return run(*inputs), {}
        outputs, packed = run(*arguments_of(inputs))
        return outputs, joined.sent(packed)

    def _axes_of(self, segment: Segment) -> dict[Var, int]:
        """Returns the axes along which inputs and outputs of a segment are cut over several GPUs."""
        axes = self._system.processors[segment.device].axes
        graph = self._program.phase.graph
        named = {v: graph.input_of[v].name for v in segment.inputs if v in graph.input_of}
        named |= {v: graph.output_of[v].name for v in segment.outputs if v in graph.output_of}
        return {v: axes[name] for v, name in named.items() if name in axes}
