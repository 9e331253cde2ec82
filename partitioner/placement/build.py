"""Builds the placement problem of a model from its op graphs, the cost models and a policy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from partitioner.costing import Costing
from partitioner.passes.fold_blocks import PairedOp
from partitioner.placement.blocks import BlockMaker
from partitioner.placement.paired_graphs import PairedGraphs
from partitioner.placement.policies import Policy
from partitioner.placement.problem import Problem, Stage, Variant
from partitioner.placement.recompute import KeptInput
from partitioner.placement.variants import VariantBuilder
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
    costing = costing.of_micro_batches(mode.micro_batches)
    builder = VariantBuilder(paired, costing, policy, mode.shared_home, mode.streaming, kept)
    variants = builder.all()
    variants[0] = _launched(variants[0], costing, steps)
    buffers = builder.stream_buffer_bytes if mode.streaming or mode.recompute else 0.0
    peak = max([paired.activation_bytes(costing), *(k.working_bytes for k in kept.values())])
    reserved = (peak + buffers, 0.0, 0.0)
    maker = BlockMaker(paired.shapes, paired.names, variants, costing, steps)
    spans = paired.shapes.spans
    stages: list[Stage] = []
    ranges: list[tuple[int, int, int]] = []
    for start, period, count in paired.folded(maker.forms()):
        first, end = spans[start][0], spans[start + period - 1][1]
        stages.append(Stage(maker.block(first, end), count))
        ranges.append((first, end - first, count))
    problem = Problem(
        tiers=TIERS,
        capacities=tuple(
            max(0.0, costing.capacity_bytes(t) - r) for t, r in zip(TIERS, reserved, strict=True)
        ),
        phases=tuple(g.phase.name for g in paired.graphs),
        resources=builder.resources,
        stages=tuple(stages),
    )
    return BuiltProblem(problem, paired.pairs, tuple(ranges), reserved, mode)


def _launched(variants: tuple[Variant, ...], costing: Costing, steps: Sequence[float]) -> tuple[Variant, ...]:
    """Returns variants of the first op with the launch that starts every execution; later ones come with changes of tier."""
    steps = (*steps[:-1], steps[-1] * costing.micro_batches)
    return tuple(
        replace(
            v,
            seconds=tuple(
                s + (0.0 if t is None else n * costing.launch_s(TIERS[t]))
                for s, t, n in zip(v.seconds, v.tiers, steps, strict=True)
            ),
            working=tuple(
                s + sum(n * costing.launch_s(name) for t, n in zip(v.tiers, steps, strict=True) if t == tier)
                for tier, (name, s) in enumerate(zip(TIERS, v.working, strict=True))
            ),
        )
        for v in variants
    )
