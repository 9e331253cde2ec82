"""Segments that are one executable with what comes before and behind them in a hand-over.

Between two attentions that drives or the host have a share of, a processor puts parts together, runs a segment, and packs what
the next attention reads. Each launch takes a thread some tenths of a millisecond on a real GPU, in which nothing else goes on.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
from jax.sharding import Mesh

from partitioner.jaxpr import Var, evaluate, signature
from partitioner.plan.steps import Segment
from runtime.executables import Executable, compile_for, remembered, shape_on
from runtime.hand_over import Packer, Sent
from runtime.jax_device import JaxDevice
from runtime.operand_sends import Operands, OperandSends
from runtime.program import Program
from runtime.share_merges import Gathered, Merge, ShareMerges
from runtime.system import System


@dataclass(frozen=True, eq=False)
class JoinedSegment:
    """Holds one segment with the merges of what it reads, and the packing of what it makes.

    Attributes:
        segment: The segment.
        merges: By the input that each makes.
        packs: What is packed, and how.
    """

    segment: Segment
    merges: Mapping[Var, Merge]
    packs: Mapping[Operands, Packer]

    @property
    def plain(self) -> list[Var]:
        """Returns the inputs that are no merge's, which come first."""
        return [v for v in self.segment.inputs if v not in self.merges]

    @property
    def joints(self) -> Hashable:
        """Returns what tells it from other segments of its class: where it is joined with what."""
        segment = self.segment
        return (
            tuple((segment.inputs.index(v), merge.key) for v, merge in self.merges.items()),
            tuple(
                (tuple(segment.outputs.index(v) for v in sent.values), packer.key)
                for sent, packer in self.packs.items()
            ),
        )

    def compile(self, device: JaxDevice) -> Executable:
        """Returns a function of the plain inputs, then of the arguments of merges, that gives outputs and packs.

        Segments of any plan that compute the same share what was compiled once.
        """
        segment, plain = self.segment, self.plain
        donated = tuple(plain.index(v) for v in segment.donated)
        function = signature(segment.equations, segment.inputs, segment.outputs)
        key = "joined", device, donated, function, self.joints
        shapes = [shape_on(v, device) for v in plain]
        shapes += [shape for merge in self.merges.values() for shape in merge.given]
        return remembered(key, lambda: compile_for(device, self._run, shapes, donated))

    def sent(self, packed: Sequence[Sequence[jax.Array]]) -> dict[Operands, Sent]:
        """Returns what the executable packed, on its way."""
        return {
            operands: packer.sent(packs)
            for (operands, packer), packs in zip(self.packs.items(), packed, strict=True)
        }

    def _run(self, *given: Any) -> tuple[list[Any], list[list[jax.Array]]]:
        plain = self.plain
        known, rest = dict(zip(plain, given, strict=False)), list(given[len(plain) :])
        for var, merge in self.merges.items():
            known[var] = merge.function(*rest[: len(merge.given)])
            rest = rest[len(merge.given) :]
        env = evaluate(self.segment.equations, known)
        packed = [packer.pack(*(env[v] for v in sent.values)) for sent, packer in self.packs.items()]
        return [env[v] for v in self.segment.outputs], packed


def join_segments(
    program: Program, system: System, merges: ShareMerges, sends: OperandSends
) -> dict[int, JoinedSegment]:
    """Returns the segments that are joined with anything, by index."""
    found: dict[int, JoinedSegment] = {}
    made_by = {program.attention[name].output: merge for name, merge in merges.by_attention.items()}
    for segment in program.phase.segments:
        if segment.attention is not None or isinstance(system.processors[segment.device].device, Mesh):
            continue
        own = {
            v: made_by[v] for v in segment.inputs if v in made_by and program.readers[segment.device, v] == 1
        }
        packs = sends.packers(segment)
        if own or packs:
            found[segment.index] = JoinedSegment(segment, own, packs)
    return found


def arguments_of(values: Sequence[Any]) -> list[Any]:
    """Returns the arguments of a joined segment's executable: plain inputs, then what merges are given."""
    plain = [v for v in values if not isinstance(v, Gathered)]
    return [*plain, *(a for v in values if isinstance(v, Gathered) for a in v.arguments)]
