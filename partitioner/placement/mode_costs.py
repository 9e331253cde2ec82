"""What ops, streams and layers cost in one mode of a plan, over the whole generation."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from partitioner.costing import Costing
from partitioner.ir.graph import OpGraph
from partitioner.ir.op import Attention, Op
from partitioner.placement.paired_graphs import PairedGraphs
from partitioner.placement.variant_list import Variant
from partitioner.stack_costs import layer_s
from partitioner.tier_links import TIERS

STREAMS_SHARE = 0.85
"""Share of a link's time that streams of weights count on. The rest goes to what has to cross meanwhile, to the first stream of
a step, under which nothing runs, and to steps at short contexts, which are over sooner than those the sum stands for."""

FLASH = "csd.flash"
"""The resource that reading and programming flash load."""

Floats = NDArray[np.float64]
Loads = dict[int, float]
"""Seconds by index of an overlappable resource."""


class ModeCosts:
    """Counts seconds of ops, loads of links and drives, and layers, for all variants of one mode.

    With micro-batches all ops but attentions run on the GPU, and one layer after the other takes as long as what is busiest in
    it: the GPU with the ops and its shares of the attention for all micro-batches, or the others with theirs. An attention's
    seconds then are those of its layer, less the seconds that the layer's other ops have already.

    Args:
        paired: The op graphs of all phases, the decode last.
        costing: Answers what things cost; knows the micro-batches.

    Attributes:
        graphs: Those of ``paired``.
        costing: See above.
        phases: Their names.
        contexts: (context length, decode steps at about that length).
        steps: Executions of each phase, of one micro-batch.
        overlap: Whether micro-batches take turns.
        param_bytes: Of each parameter.
        state_bytes: Of each state of a decode step.
        num_layers: Attentions.
    """

    def __init__(self, paired: PairedGraphs, costing: Costing) -> None:
        self.graphs, self.costing, self._paired = paired.graphs, costing, paired
        graphs = self.graphs
        self.phases = [g.phase.name for g in graphs]
        self.contexts = costing.workload.decode_contexts(with_prefill="prefill" in self.phases)
        self.steps = [self._executions(g) for g in graphs]
        self.overlap = costing.micro_batches > 1
        self.param_bytes, self.state_bytes = paired.param_bytes, graphs[-1].cache_bytes
        self.num_layers = paired.num_layers
        self._scales = [
            costing.rows / g.phase.batch_size if g.phase.name == "decode" else 1.0 for g in graphs
        ]
        self._resource: dict[tuple[str, int], int] = {}

    @property
    def resources(self) -> tuple[tuple[str, int], ...]:
        """Returns (name, phase) of each overlappable resource used so far."""
        return tuple(self._resource)

    @property
    def activation_bytes(self) -> float:
        """Returns the room for activations on the GPU."""
        return self._paired.activation_bytes(self.costing)

    def _executions(self, graph: OpGraph) -> float:
        if graph.phase.name == "prefill":
            return self.costing.workload.batch_size / graph.phase.batch_size
        return sum(weight for _, weight in self.contexts)

    def run_s(self, phase: int, op: Op, tier: str) -> float:
        """Returns the seconds of an op's own equations over the generation, for one micro-batch."""
        scale = self._scales[phase]
        weights = 0.0
        if scale != 1.0:
            read = [n for n in op.params if n in self.param_bytes and n not in op.gathered]
            weights = float(sum(self.param_bytes[n] for n in read))
        return self.steps[phase] * self.costing.run_cost(op, tier, scale, weights).seconds

    def held_bytes(self, name: str, tier: str) -> float:
        """Returns what a parameter or a state takes on a tier: several GPUs each hold all of what is not cut over them."""
        size = self.param_bytes[name] if name in self.param_bytes else self.state_bytes[name]
        parallel = self.graphs[-1].parallel
        copies = parallel.num_gpus if tier == "gpu" and parallel and parallel.is_whole(name) else 1
        return float(size * copies)

    def layers_s(self, phase: int, op: Op) -> float:
        """Returns the stack's seconds for an attention's layer over the generation, for all micro-batches."""
        once = layer_s(self.costing, op, self.phases[phase])
        return once * self.steps[phase] * self.repeats(phase)

    @cached_property
    def ops_of_a_layer_s(self) -> float:
        """Returns what the GPU has to do for one micro-batch between one attention and the next, over the generation.

        Ops that come as often as attentions make up the layers; where none do, all ops are spread over the attentions.
        """
        decode = len(self.graphs) - 1
        seconds: dict[int, float] = {}
        repeated = self._paired.ops_of_layers or self._paired.other_ops
        for op, number in repeated:
            if number not in seconds:
                seconds[number] = self.run_s(decode, op, "gpu")
        return sum(seconds[number] for _, number in repeated) / max(1, self._paired.num_layers)

    def layer_s(self, gpu_s: Floats, others_s: Floats, resume_s: float) -> Floats:
        """Returns the seconds an attention adds to its layer when micro-batches take turns, over the generation.

        Args:
            gpu_s: What the GPU does for the attention of one micro-batch, at each context length, ``[contexts, splits]``.
            others_s: What the slowest of the other tiers needs for it, from the operands to the output, likewise.
            resume_s: What the GPU needs to go on, over all contexts.
        """
        repeats, total_s = self.costing.micro_batches, np.zeros(gpu_s.shape[1])
        steps = sum(weight for _, weight in self.contexts)
        for (_, weight), attend_s, away_s in zip(self.contexts, gpu_s, others_s, strict=True):
            ops_s = self.ops_of_a_layer_s * weight / steps
            own_s = attend_s + resume_s * weight / steps
            busiest_s = repeats * np.maximum(ops_s + own_s, away_s)
            total_s += np.maximum(busiest_s, ops_s + np.maximum(own_s, away_s))
        return total_s - repeats * self.ops_of_a_layer_s

    def stream(self, busy: Loads, phase: int, moved: float, src: str, dst: str) -> None:
        """Adds a stream for each execution to the load of links."""
        times = self.steps[phase] * self.repeats(phase) / STREAMS_SHARE
        for resource, seconds in self.costing.links.link_load(moved, src, dst).items():
            self.add(busy, phase, resource, seconds * times)

    def store(
        self,
        busy: Loads,
        phase: int,
        attention: Attention,
        src: str,
        dst: str,
        fraction: float,
        tokens: int | None = None,
    ) -> float:
        """Adds what it takes to bring a prefill's K and V to where they live; returns the seconds in which drives write.

        Args:
            busy: Loads of resources, added to.
            phase: The prefill's number.
            attention: Whose K and V they are.
            src: Tier where they are made.
            dst: Tier where they live.
            fraction: Part of the rows and KV heads.
            tokens: Tokens of each row; None for those of the prompt.
        """
        costing = self.costing
        tokens = costing.workload.prompt_len if tokens is None else tokens
        stored = costing.kv_bytes(attention, tokens, fraction) * costing.micro_batches
        for resource, seconds in costing.links.link_load(stored, src, dst).items():
            self.add(busy, phase, resource, seconds)
        if dst != "csd":
            return 0.0
        written = stored * costing.drive_cache(attention).copies_of(tokens)
        once = costing.flash_write_s(written / self.steps[phase])
        self.add(busy, phase, FLASH, self.steps[phase] * once)
        return self.steps[phase] * once * len(costing.links.drives)

    def repeats(self, phase: int) -> int:
        """Returns how many micro-batches execute a phase."""
        return self.costing.micro_batches if self.phases[phase] == "decode" else 1

    def add(self, loads: Loads, phase: int, resource: str, seconds: float) -> None:
        """Adds seconds to the load of an overlappable resource."""
        index = self._resource.setdefault((resource, phase), len(self._resource))
        loads[index] = loads.get(index, 0.0) + seconds

    @staticmethod
    def variant(
        placed: tuple[str | None, ...],
        seconds: Sequence[float],
        memory: dict[str, float],
        busy: Loads,
        home: str,
        working: dict[str, float],
        *more: str,
    ) -> Variant:
        """Returns a variant, whose key is its tiers, its home, and what else tells it from others."""
        return Variant(
            tiers=tuple(None if t is None else TIERS.index(t) for t in placed),
            seconds=tuple(seconds),
            memory=tuple(memory[t] for t in TIERS),
            busy=tuple(sorted(busy.items())),
            key=(*(t or "-" for t in placed), home, *more),
            working=tuple(working[t] for t in TIERS),
        )
