"""Builds the placement problem of a model from its op graphs, the cost models and a policy."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from types import MappingProxyType

from partitioner.costing import Costing
from partitioner.ir.graph import OpGraph
from partitioner.ir.working_set import peak_working_set_bytes, working_set_bytes
from partitioner.jaxpr import num_bytes
from partitioner.passes.fold_blocks import PairedOp, ValueFlow, cut_points, fold, pair_ops, value_flows
from partitioner.placement.blocks import BlockMaker
from partitioner.placement.policies import Policy
from partitioner.placement.problem import Choice, Problem, Stage
from partitioner.placement.recompute import KeptInput
from partitioner.placement.split_variants import SplitCost
from partitioner.placement.variants import SMALL_WEIGHT_BYTES, VariantBuilder
from partitioner.plan.names import folded
from partitioner.tier_links import TIERS


@dataclass(frozen=True)
class Mode:
    """Fixes what couples ops across the whole model, so that the rest folds.

    Attributes:
        shared_home: Tier of weights that several ops use (a tied embedding), or "any".
        streaming: Whether weights, K and V may be used away from home; buffers are then reserved.
        micro_batches: Parts of the batch that decode side by side.
        recompute: Whether caches may keep the inputs of layers; the weights of their K and V projections then stay on the GPU.
    """

    shared_home: str
    streaming: bool
    micro_batches: int = 1
    recompute: bool = False


@dataclass(frozen=True)
class BuiltProblem:
    """Holds a problem with what its indices mean.

    Attributes:
        problem: For the solver.
        pairs: The ops, in the problem's order.
        ranges: For each stage (first op, ops per instance, instances).
        reserved: Bytes per tier kept free for activations and stream buffers.
        mode: What it was built for.
    """

    problem: Problem
    pairs: tuple[PairedOp, ...]
    ranges: tuple[tuple[int, int, int], ...]
    reserved: tuple[float, ...]
    mode: Mode


@dataclass(frozen=True)
class PairedGraphs:
    """Holds the op graphs of all phases with ops paired and values listed: what problems of any mode are built from."""

    graphs: tuple[OpGraph, ...]
    pairs: tuple[PairedOp, ...]
    flows: tuple[ValueFlow, ...]
    cuts: tuple[int, ...]

    @classmethod
    def of(cls, graphs: Sequence[OpGraph]) -> PairedGraphs:
        """Pairs the ops of the graphs."""
        pairs = pair_ops(graphs)
        flows = value_flows(graphs, pairs)
        return cls(tuple(graphs), pairs, flows, cut_points(len(pairs), flows, len(graphs)))

    @cached_property
    def peak_activation_bytes(self) -> float:
        """Returns the largest working set of any op."""
        return max((float(working_set_bytes(g, op)) for g in self.graphs for op in g.ops), default=0.0)

    def activation_bytes(self, costing: Costing) -> float:
        """Returns the largest working set of any op under a stack, which may prefill the whole batch at once."""
        if costing.hw.software is None or not costing.stack.whole_prefill:
            return self.peak_activation_bytes
        batch = costing.workload.batch_size
        return max(peak_working_set_bytes(g) * batch / g.phase.batch_size for g in self.graphs)

    @cached_property
    def known_splits(self) -> dict[Hashable, tuple[SplitCost, ...]]:
        """Returns what splits of attentions cost, as far as any mode has asked; filled by those who ask."""
        return {}

    @cached_property
    def users(self) -> dict[str, tuple[int, ...]]:
        """Returns for each large parameter that more than one op uses the pairs of these ops, its owner first.

        Small ones are kept wherever they are used. The owner is charged with the memory: the last op that reads all of the
        parameter, or the first where none does.
        """
        using: dict[str, list[int]] = {}
        inputs = [i for g in self.graphs for i in g.phase.inputs if i.role == "param"]
        large = {i.name for i in inputs if num_bytes(i.var) >= SMALL_WEIGHT_BYTES}
        for number, pair in enumerate(self.pairs):
            for name in {n for op in pair.ops if op for n in op.params} & large:
                using.setdefault(name, []).append(number)
        return {name: self._owner_first(name, found) for name, found in using.items() if len(found) > 1}

    def _owner_first(self, name: str, found: Sequence[int]) -> tuple[int, ...]:
        whole = [n for n in found if not any(op and name in op.gathered for op in self.pairs[n].ops)]
        owner = whole[-1] if whole else found[0]
        return (owner, *(n for n in found if n != owner))


def build_problem(
    paired: PairedGraphs,
    costing: Costing,
    policy: Policy,
    mode: Mode,
    steps: Sequence[float],
    kept: Mapping[str, KeptInput] = MappingProxyType({}),
) -> BuiltProblem:
    """Returns the placement problem of one mode.

    Args:
        paired: The op graphs.
        costing: Answers what things cost.
        policy: Which choices there are.
        mode: See :class:`Mode`.
        steps: Executions of each phase over the whole generation.
        kept: Caches of inputs that are offered where the mode allows them.
    """
    kept = kept if mode.recompute else {}
    costing = replace(costing, micro_batches=mode.micro_batches)
    owners = {name: paired.pairs[users[0]].name for name, users in paired.users.items()}
    variants = VariantBuilder(
        paired.graphs, costing, policy, mode.shared_home, mode.streaming, owners, kept, paired.known_splits
    )
    choices = [Choice(folded(p.name), variants.of(p)) for p in paired.pairs]
    choices[0] = _launched(choices[0], costing, steps)
    buffers = variants.stream_buffer_bytes if mode.streaming or mode.recompute else 0.0
    peak = max([paired.activation_bytes(costing), *(k.working_bytes for k in kept.values())])
    reserved = (peak + buffers, 0.0, 0.0)
    maker = BlockMaker(paired.flows, paired.cuts, choices, costing, steps)
    spans = list(zip(paired.cuts[:-1], paired.cuts[1:], strict=True))
    stages: list[Stage] = []
    ranges: list[tuple[int, int, int]] = []
    for start, period, count in fold([maker.form(a, b) for a, b in spans]):
        first, end = spans[start][0], spans[start + period - 1][1]
        stages.append(Stage(maker.block(first, end), count))
        ranges.append((first, end - first, count))
    problem = Problem(
        tiers=TIERS,
        capacities=tuple(
            max(0.0, costing.capacity_bytes(t) - r) for t, r in zip(TIERS, reserved, strict=True)
        ),
        phases=tuple(g.phase.name for g in paired.graphs),
        resources=variants.resources,
        stages=tuple(stages),
    )
    return BuiltProblem(problem, paired.pairs, tuple(ranges), reserved, mode)


def _launched(first: Choice, costing: Costing, steps: Sequence[float]) -> Choice:
    """Returns the choice of the first op with the launch that starts every execution; later ones come with changes of tier."""
    steps = (*steps[:-1], steps[-1] * costing.micro_batches)
    return Choice(
        first.name,
        tuple(
            replace(
                v,
                seconds=tuple(
                    s + (0.0 if t is None else n * costing.launch_s(TIERS[t]))
                    for s, t, n in zip(v.seconds, v.tiers, steps, strict=True)
                ),
                working=tuple(
                    s
                    + sum(
                        n * costing.launch_s(name) for t, n in zip(v.tiers, steps, strict=True) if t == tier
                    )
                    for tier, (name, s) in enumerate(zip(TIERS, v.working, strict=True))
                ),
            )
            for v in first.variants
        ),
    )
