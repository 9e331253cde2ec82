"""Builds the placement problem of a model from its op graphs, the cost models and a policy."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from partitioner.costing import TIERS, Costing
from partitioner.ir.graph import OpGraph
from partitioner.ir.working_set import working_set_bytes
from partitioner.jaxpr import num_bytes
from partitioner.passes.fold_blocks import PairedOp, ValueFlow, cut_points, fold, pair_ops, value_flows
from partitioner.placement.policies import Policy
from partitioner.placement.problem import Block, Choice, Flow, Problem, Stage
from partitioner.placement.variants import VariantBuilder

_NUMBER = re.compile(r"(?<![^.])\d+(?![^.])")


@dataclass(frozen=True)
class Mode:
    """Fixes what couples ops across the whole model, so that the rest folds.

    Attributes:
        shared_home: Tier of weights that several ops use (a tied embedding).
        streaming: Whether caches and weights may be used away from home; buffers are then reserved.
        micro_batches: Parts of the batch that decode side by side.
    """

    shared_home: str
    streaming: bool
    micro_batches: int = 1


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

    @cached_property
    def shared_params(self) -> frozenset[str]:
        """Names the parameters that more than one op uses."""
        seen: set[str] = set()
        shared: set[str] = set()
        for pair in self.pairs:
            names = {n for op in pair.ops if op for n in op.params}
            shared |= seen & names
            seen |= names
        return frozenset(shared)


def build_problem(
    paired: PairedGraphs, costing: Costing, policy: Policy, mode: Mode, steps: Sequence[float]
) -> BuiltProblem:
    """Returns the placement problem of one mode.

    Args:
        paired: The op graphs.
        costing: Answers what things cost.
        policy: Which choices there are.
        mode: See :class:`Mode`.
        steps: Executions of each phase over the whole generation.
    """
    costing = replace(costing, micro_batches=mode.micro_batches)
    variants = VariantBuilder(
        paired.graphs, costing, policy, mode.shared_home, mode.streaming, paired.shared_params
    )
    choices = [Choice(_folded_name(p.name), variants.of(p)) for p in paired.pairs]
    choices[0] = _launched(choices[0], costing, steps)
    buffers = variants.stream_buffer_bytes if mode.streaming else 0.0
    reserved = (paired.peak_activation_bytes + buffers, 0.0, 0.0)
    maker = _BlockMaker(paired, choices, costing, steps)
    spans = list(zip(paired.cuts[:-1], paired.cuts[1:], strict=True))
    stages: list[Stage] = []
    ranges: list[tuple[int, int, int]] = []
    for start, period, count in fold([maker.block(a, b) for a, b in spans]):
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
                    s + sum(n * costing.launch_s(name) for t, n in zip(v.tiers, steps, strict=True) if t == tier)
                    for tier, (name, s) in enumerate(zip(TIERS, v.working, strict=True))
                ),
            )
            for v in first.variants
        ),
    )


def _folded_name(name: str) -> str:
    return _NUMBER.sub("*", name)


class _BlockMaker:
    """Makes blocks out of ranges of paired ops."""

    def __init__(
        self, paired: PairedGraphs, choices: Sequence[Choice], costing: Costing, steps: Sequence[float]
    ) -> None:
        self._paired, self._choices, self._costing, self._steps = paired, choices, costing, steps
        self._carriers = self._designate()
        self._memo: dict[tuple[int, int, bool], tuple[tuple[float, ...], ...]] = {}

    def block(self, start: int, end: int) -> Block:
        """Returns the block of ops ``start`` to ``end``."""
        entering = [f for f in self._paired.flows if f.producer < start <= f.last]
        leaving = [f for f in self._paired.flows if f.producer < end <= f.last]
        flows = [
            Flow(
                phase=f.phase,
                producer=f.producer - start if f.producer >= start else None,
                source=None if f.producer >= start else entering.index(f),
                consumers=tuple(c - start for c in f.consumers if start <= c < end),
                leaves=leaving.index(f) if f in leaving else None,
                move_s=self._move_s(f),
                working=self._launch_s(f),
            )
            for f in self._paired.flows
            if f.producer < end and f.last >= start
        ]
        return Block(
            name=self._choices[start].name,
            choices=tuple(self._choices[start:end]),
            flows=tuple(flows),
            entries=tuple(f.phase for f in entering),
            exits=tuple(f.phase for f in leaving),
        )

    def _designate(self) -> frozenset[int]:
        """Returns the flows that carry latency and launch: the one into each op that is made last.

        What an op waits for is the value made last, so a change of device shows there; others came before or travel with it.
        """
        last: dict[tuple[int, int], int] = {}
        for n, flow in enumerate(self._paired.flows):
            for consumer in flow.consumers:
                known = last.get((flow.phase, consumer))
                if known is None or self._paired.flows[known].producer <= flow.producer:
                    last[flow.phase, consumer] = n
        return frozenset(id(self._paired.flows[n]) for n in last.values())

    def _launch_s(self, flow: ValueFlow) -> tuple[float, ...]:
        """Returns for each tier what launching it costs where a value is what it waits for."""
        if id(flow) not in self._carriers:
            return ()
        return tuple(self._steps[flow.phase] * self._costing.launch_s(tier) for tier in TIERS)

    def _move_s(self, flow: ValueFlow) -> tuple[tuple[float, ...], ...]:
        carries = id(flow) in self._carriers
        key = (num_bytes(flow.var), flow.phase, carries)
        if key not in self._memo:
            costing, steps = self._costing, self._steps[flow.phase]
            has = [bool(costing.hw.gpus), True, bool(costing.drives)]

            def seconds(src: int, dst: int) -> float:
                if src == dst or not (has[src] and has[dst]):
                    return 0.0
                a, b = TIERS[src], TIERS[dst]
                fixed = costing.latency_s(a, b) + costing.launch_s(b) if carries else 0.0
                return steps * (costing.transfer_s(key[0], a, b) + fixed)

            self._memo[key] = tuple(tuple(seconds(s, d) for d in range(3)) for s in range(3))
        return self._memo[key]
