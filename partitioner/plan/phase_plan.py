"""One phase of a plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from partitioner.ir.graph import OpGraph
from partitioner.ir.op import Op
from partitioner.plan.steps import Segment, Step


@dataclass(frozen=True, eq=False)
class PhasePlan:
    """Holds one phase: its graph, its segments, and its steps in an order in which every step follows what it waits for.

    A prefill runs once per slice of ``rows`` batch rows; a decode runs once per new token and micro-batch of ``rows`` rows.
    """

    graph: OpGraph
    segments: tuple[Segment, ...]
    steps: tuple[Step, ...]
    rows: int

    @cached_property
    def op(self) -> Mapping[str, Op]:
        """Maps op names to ops."""
        return {op.name: op for op in self.graph.ops}
