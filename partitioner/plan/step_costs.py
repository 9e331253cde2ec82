"""The predicted costs of single steps of a plan."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property

from cost_models import Cost, sequential
from partitioner.costing import Costing
from partitioner.cut_costs import stored_bytes
from partitioner.ir.graph import OpGraph
from partitioner.ir.op import Attention, Op
from partitioner.plan.steps import Move, Run, Segment
from partitioner.stack_costs import CacheFetch, cache_fetch, layer_s


@dataclass(frozen=True)
class StepCosts:
    """Gives the predicted cost of single steps.

    Attributes:
        graph: Ops of the phase.
        segments: Segments of the phase.
        costing: Answers what things cost.
    """

    graph: OpGraph
    segments: Sequence[Segment]
    costing: Costing

    def run_cost(self, step: Run, context_len: int) -> Cost:
        """Returns the time of a run at a context length."""
        segment = self.segments[step.segment]
        tier = step.device.rstrip("0123456789")
        if step.share is not None and segment.attention is not None:
            cost = self.costing.share_attend_cost(self.attention(segment.attention), step.share, context_len)
            launch = Cost(self.costing.launch_s(tier), "overhead")
            return sequential([cost, launch, Cost(self._stack_s(segment.attention), "overhead")])
        key = (step.segment, tier)
        if key not in self._whole_runs:
            self._whole_runs[key] = self._whole_run(segment, tier)
        return self._whole_runs[key]

    def _whole_run(self, segment: Segment, tier: str) -> Cost:
        """Returns the time of all ops of a segment; equal ops, one after the other, take equal times."""
        own = [self.costing.run_cost(self._ops[name], tier) for name in segment.ops]
        stacks = tuple(self._stack_s(name) for name in segment.ops)
        form = (*map(id, own), stacks, tier)  # costs of ops that are alike are one object
        if form not in self._known_runs:
            costs = [*own, *(Cost(seconds, "overhead") for seconds in stacks)]
            self._known_runs[form] = sequential([*costs, Cost(self.costing.launch_s(tier), "overhead")])
        return self._known_runs[form]

    def move_bytes(self, step: Move, context_len: int) -> float:
        """Returns the bytes a move takes across at a context length.

        Args:
            step: The move.
            context_len: In a decode step the tokens attended over, the new one included; in a prefill the tokens of a prompt,
                of which the padding is not stored.
        """
        if step.kind == "stream_cache" and step.attention is not None and step.share is not None:
            attention = self.attention(step.attention)
            return self.fetch(step, attention, context_len).link_bytes
        if step.share is not None and step.share.cut is not None and step.attention is not None:
            cut, attention = step.share.cut, self.attention(step.attention)
            if step.kind == "page_out":
                return step.num_bytes * float(context_len >= cut.room)
            if step.kind == "store_cache":
                rows = self.graph.phase.batch_size / self.costing.rows
                return rows * stored_bytes(self.costing, attention, step.share, context_len)
        if step.kind == "store_cache":
            return step.num_bytes * min(1.0, context_len / self.costing.workload.prompt_len)
        return float(step.num_bytes)

    def fetch(self, step: Move, attention: Attention, context_len: int) -> CacheFetch:
        """Returns what it takes to stream a share of an attention's cache."""
        assert step.share is not None
        home = step.src.rstrip("0123456789")
        return cache_fetch(self.costing, attention, context_len - 1, home, step.share.fraction)

    def _stack_s(self, op: str) -> float:
        return layer_s(self.costing, self._ops[op], self.graph.phase.name)

    def copies(self, attention: str | None, tokens: int) -> float:
        """Returns how often a drive programs each byte of K and V of the first tokens that it is given."""
        if attention is None:
            return 1.0
        return self.costing.drive_cache(self.attention(attention)).copies_of(tokens)

    def attention(self, name: str) -> Attention:
        """Returns the description of a raised attention."""
        found = self._ops[name].attention
        assert found is not None
        return found

    @cached_property
    def _ops(self) -> dict[str, Op]:
        return {op.name: op for op in self.graph.ops}

    @cached_property
    def _whole_runs(self) -> dict[tuple[int, str], Cost]:
        """Costs of runs, by segment and tier, which do not depend on the context."""
        return {}

    @cached_property
    def _known_runs(self) -> dict[tuple[Hashable, ...], Cost]:
        """The same by what the ops of a segment cost one by one."""
        return {}
