"""Builds the placement problem of a model from its op graphs, the cost models and a policy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from partitioner.costing import Costing
from partitioner.passes.fold_blocks import PairedOp
from partitioner.placement.blocks import BlockMaker
from partitioner.placement.draft import Draft, Drafts, Mode
from partitioner.placement.paired_graphs import PairedGraphs
from partitioner.placement.policies import Policy
from partitioner.placement.problem import Problem, Stage
from partitioner.placement.recompute import KeptInput


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
    return built(Drafts(paired, costing, policy, steps, kept).of(mode))


def built(draft: Draft) -> BuiltProblem:
    """Returns the placement problem of a draft: its ops in blocks, repeated ones once, and the values between them."""
    paired = draft.paired
    maker = BlockMaker(paired.shapes, draft.choices, draft.costing, draft.steps)
    spans = paired.shapes.spans
    stages: list[Stage] = []
    ranges: list[tuple[int, int, int]] = []
    for start, period, count in paired.folded(maker.forms()):
        first, end = spans[start][0], spans[start + period - 1][1]
        stages.append(Stage(maker.block(first, end), count))
        ranges.append((first, end - first, count))
    problem = draft.problem(tuple(stages))
    return BuiltProblem(problem, paired.pairs, tuple(ranges), draft.reserved, draft.mode)
