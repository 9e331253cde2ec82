"""Drafts of placement problems: what each op may do in one mode, with nothing said yet of blocks and of values between ops.

A draft is enough for a bound, and most modes and policies are told by it to be slower than what is known already.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from partitioner.costing import Costing
from partitioner.placement.paired_graphs import PairedGraphs
from partitioner.placement.policies import Policy
from partitioner.placement.problem import Block, Choice, Problem, Stage
from partitioner.placement.recompute import KeptInput
from partitioner.placement.variant_list import Variant
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


@dataclass(frozen=True, eq=False)
class Draft:
    """Holds what ops may do in one mode.

    Attributes:
        mode: The mode.
        paired: The op graphs.
        costing: Answers what things cost; knows the micro-batches.
        steps: Executions of each phase over the whole generation.
        choices: The variants of each pair of ops; those of ops that are alike are one object.
        resources: (name, phase) of each overlappable resource.
        buffer_bytes: Bytes of the GPU that are kept free for streams.
        working_bytes: Those for activations.
    """

    mode: Mode
    paired: PairedGraphs
    costing: Costing
    steps: tuple[float, ...]
    choices: tuple[Choice, ...]
    resources: tuple[tuple[str, int], ...]
    buffer_bytes: float
    working_bytes: float

    @property
    def reserved(self) -> tuple[float, ...]:
        """Returns the bytes per tier that are kept free for activations and streams."""
        return (self.working_bytes + self.buffer_bytes, 0.0, 0.0)

    @property
    def can_run(self) -> bool:
        """Tells whether every op can run somewhere."""
        return all(choice.variants for choice in self.choices)

    @property
    def can_be_built(self) -> bool:
        """Tells whether every op can run somewhere and the GPU has room for what is reserved."""
        return self.can_run and self.reserved[0] <= self.costing.capacity_bytes("gpu")

    @property
    def capacities(self) -> tuple[float, ...]:
        """Returns the bytes per tier that are left for weights and caches."""
        return self.capacities_beside(self.reserved)

    @property
    def roomiest(self) -> tuple[float, ...]:
        """Returns the bytes that would be left if nothing were streamed: no less than with any other home of shared weights."""
        return self.capacities_beside((self.working_bytes, 0.0, 0.0))

    @cached_property
    def apart(self) -> Problem:
        """Returns the problem without values between ops: placements cost no more in it, and so bounds for it hold."""
        return self.problem(_apart(self.choices))

    def problem(self, stages: tuple[Stage, ...]) -> Problem:
        """Returns a problem whose blocks are known."""
        phases = tuple(g.phase.name for g in self.paired.graphs)
        return Problem(TIERS, self.capacities, phases, self.resources, stages)

    def capacities_beside(self, reserved: Sequence[float]) -> tuple[float, ...]:
        """Returns the bytes of each tier that something reserved leaves."""
        return tuple(
            max(0.0, self.costing.capacity_bytes(t) - r) for t, r in zip(TIERS, reserved, strict=True)
        )


class Drafts:
    """Drafts the modes of one policy; those that differ in the home of shared weights alone have the rest in common.

    Args:
        paired: The op graphs.
        costing: Answers what things cost.
        policy: Which choices there are.
        steps: Executions of each phase over the whole generation.
        kept: Caches of inputs that are offered where a mode allows them.
    """

    def __init__(
        self,
        paired: PairedGraphs,
        costing: Costing,
        policy: Policy,
        steps: Sequence[float],
        kept: Mapping[str, KeptInput],
    ) -> None:
        self._paired, self._costing, self._policy = paired, costing, policy
        self._steps, self._kept = tuple(steps), kept
        self._builders: dict[Mode, VariantBuilder] = {}
        self._known: dict[tuple[str, int], Choice] = {}

    def attentions(self, mode: Mode) -> Problem | None:
        """Returns a mode's attentions, as a problem of which no capacity is known; None if one can run nowhere."""
        builder = self._builder(mode)
        found = builder.attentions()
        choices = self._choices([self._paired.names[n] for n in found], list(found.values()))
        if not all(choice.variants for choice in choices):
            return None
        phases = tuple(g.phase.name for g in self._paired.graphs)
        return Problem(TIERS, (math.inf,) * len(TIERS), phases, builder.resources, _apart(choices))

    def of(self, mode: Mode) -> Draft:
        """Returns the draft of a mode."""
        costing = self._costing.of_micro_batches(mode.micro_batches)
        kept = self._kept if mode.recompute else {}
        builder = self._builder(mode)
        choices = self._choices(self._paired.names, builder.all(mode.shared_home))
        streams = mode.streaming or mode.recompute
        working_bytes = max(
            [self._paired.activation_bytes(costing), *(k.working_bytes for k in kept.values())]
        )
        return Draft(
            mode,
            self._paired,
            costing,
            self._steps,
            (_launched(choices[0], costing, self._steps), *choices[1:]),
            builder.resources,
            builder.stream_buffer_bytes(mode.shared_home) if streams else 0.0,
            working_bytes,
        )

    def _builder(self, mode: Mode) -> VariantBuilder:
        alike = replace(mode, shared_home="")
        if alike not in self._builders:
            costing = self._costing.of_micro_batches(mode.micro_batches)
            kept = self._kept if mode.recompute else {}
            self._builders[alike] = VariantBuilder(self._paired, costing, self._policy, mode.streaming, kept)
        return self._builders[alike]

    def _choices(self, names: Sequence[str], variants: Sequence[Sequence[Variant]]) -> list[Choice]:
        """Returns the choices of ops, one object where name and variants, which builders keep, are the same."""
        choices: list[Choice] = []
        for name, own in zip(names, variants, strict=True):
            key = (name, id(own))
            if key not in self._known:
                self._known[key] = Choice(name, own)
            choices.append(self._known[key])
        return choices


def _apart(choices: Sequence[Choice]) -> tuple[Stage, ...]:
    """Returns stages of one op each, without values between them."""
    count = Counter(map(id, choices))
    one = {id(choice): choice for choice in choices}
    return tuple(Stage(Block(c.name, (c,), (), (), ()), count[n]) for n, c in one.items())


def _launched(choice: Choice, costing: Costing, steps: Sequence[float]) -> Choice:
    """Returns the first op's choice with the launch that starts every execution; later ones come with changes of tier."""
    steps = (*steps[:-1], steps[-1] * costing.micro_batches)
    variants = (
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
        for v in choice.variants
    )
    return Choice(choice.name, tuple(variants))
