"""What executing a phase needs to know, worked out once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from cost_models.hardware import HardwareSpec
from cost_models.links import Hop, route
from partitioner.frontend.traced import INDEX_ROLES
from partitioner.ir.op import Attention
from partitioner.jaxpr import Var
from partitioner.plan.phase_plan import PhasePlan
from partitioner.plan.plan import Plan
from partitioner.plan.share_operands import share_operands
from partitioner.plan.steps import Move, Run, Segment, Step
from runtime.demand import Demand, count_demand
from runtime.exchange import ExchangingDemand, exchange_s


@dataclass(frozen=True)
class PartOf:
    """Stands for what one device's share makes of a value, where that device is not the one that reads the whole.

    Attributes:
        whole: The value.
    """

    whole: Var


Key = Var | str | PartOf
"""A value of the phase or a share of one, or the name of a parameter or state that is streamed in."""


@dataclass(frozen=True, eq=False)
class Program:
    """Holds a phase with what its steps have in common from run to run.

    Attributes:
        plan: The whole plan.
        phase: The phase.
    """

    plan: Plan
    phase: PhasePlan

    @property
    def name(self) -> str:
        """Returns ``prefill`` or ``decode``."""
        return self.phase.graph.phase.name

    @cached_property
    def attention(self) -> Mapping[str, Attention]:
        """Maps op names to the attentions they are."""
        return {op.name: op.attention for op in self.phase.graph.ops if op.attention is not None}

    @cached_property
    def readers(self) -> Mapping[tuple[str, Key], int]:
        """Counts the steps that read each value on each device; a value without readers need not be kept."""
        found: Counter[tuple[str, Key]] = Counter()
        for step in self.phase.steps:
            found.update(self._reads(step))
        found[self.logits_device, self.logits] += 1
        return found

    @cached_property
    def parts(self) -> Mapping[tuple[str, Key], int]:
        """Counts the parts in which an attention's output or a cache arrives on a device, those made there among them."""
        found: Counter[tuple[str, Key]] = Counter()
        for step in self.phase.steps:
            if isinstance(step, Run):
                if step.id in self.local_shares:
                    attention = self.attention[self.segment(step).attention or ""]
                    found[step.device, attention.output] += 1
            elif self.carries_part(step):
                found.update((step.dst, v) for v in step.values)
            elif step.kind == "stream_cache" and step.src.startswith("csd"):
                found.update((step.dst, name) for name in step.names)
        return found

    @cached_property
    def local_shares(self) -> frozenset[int]:
        """Holds the ids of the runs of a share whose output is read where it is made."""
        taken = {
            (s.attention, s.src) for s in self.phase.steps if isinstance(s, Move) and self.carries_part(s)
        }
        return frozenset(
            s.id
            for s in self.phase.steps
            if isinstance(s, Run)
            and s.share is not None
            and (self.segment(s).attention, s.device) not in taken
        )

    @cached_property
    def consumers(self) -> Mapping[str, str]:
        """Maps attentions that run in shares to the device on which their output is put together."""
        found = {
            s.attention or "": s.dst for s in self.phase.steps if isinstance(s, Move) and self.carries_part(s)
        }
        for step in self.phase.steps:
            if isinstance(step, Run) and step.id in self.local_shares:
                found[self.segment(step).attention or ""] = step.device
        return found

    def carries_part(self, move: Move) -> bool:
        """Tells whether a move takes a share's output to the device that reads the whole."""
        if move.kind != "hand_over" or move.attention is None or move.share is None:
            return False
        return self.attention[move.attention].output in move.values

    def feeds_share(self, move: Move) -> bool:
        """Tells whether a move takes what an attention reads to a share on a drive or the host."""
        return (
            move.kind == "hand_over"
            and move.share is not None
            and not self.carries_part(move)
            and not move.dst.startswith("gpu")
        )

    @cached_property
    def hops(self) -> tuple[tuple[Hop, ...], ...]:
        """Holds the links that each step passes, by step id."""
        hw: HardwareSpec = self.plan.hw
        return tuple(
            route(hw, s.src, s.dst, s.path) if isinstance(s, Move) and s.path != "local" else ()
            for s in self.phase.steps
        )

    @cached_property
    def lanes(self) -> tuple[str, ...]:
        """Holds the resource that serves each step, by step id: its device, or the link direction next to its drive."""
        return tuple(self._lane(step) for step in self.phase.steps)

    @cached_property
    def threads(self) -> tuple[str, ...]:
        """Holds who serves each step on a wall clock, by step id: a thread for each resource, and two for all hand-overs.

        What attentions read goes to all their shares at once, and their outputs come back together. Each takes some tens of
        microseconds of a thread, less than it takes to wake one, so one serves them all, and another those that come back,
        which must not wait for a processor.
        """
        return tuple(map(self._thread, self.phase.steps))

    @cached_property
    def successors(self) -> tuple[tuple[int, ...], ...]:
        """Holds the steps that wait for each step, by step id."""
        found: list[list[int]] = [[] for _ in self.phase.steps]
        for step in self.phase.steps:
            for earlier in step.after:
                found[earlier].append(step.id)
        return tuple(map(tuple, found))

    @cached_property
    def demands(self) -> tuple[Demand | ExchangingDemand, ...]:
        """Holds what each segment demands, by index; segments of one class share the count."""
        by_class: dict[int, Demand | ExchangingDemand] = {}
        return tuple(
            by_class.setdefault(s.executable, by_class.get(s.executable) or self._demand(s))
            for s in self.phase.segments
        )

    def _demand(self, segment: Segment) -> Demand | ExchangingDemand:
        parallel = self.phase.graph.parallel
        if parallel is None or not segment.device.startswith("gpu"):
            return count_demand(segment.equations, segment.outputs)
        described = [(v, self.phase.graph.input_of.get(v)) for v in segment.inputs]
        stored = {v: i.name for v, i in described if i is not None and i.role in ("param", "cache")}
        copies = {v: parallel.num_gpus if parallel.is_whole(name) else 1 for v, name in stored.items()}
        own = count_demand(segment.equations, segment.outputs, copies)
        exchanged = [c for name in segment.ops for c in self.phase.op[name].collectives]
        return ExchangingDemand(own, exchange_s(self.plan.hw, exchanged))

    @cached_property
    def logits(self) -> Var:
        """Returns the variable that holds the logits."""
        atom = self.phase.graph.phase.outputs[0].atom
        assert isinstance(atom, Var)
        return atom

    @cached_property
    def logits_device(self) -> str:
        """Returns the device on which the logits are made."""
        return next(s.device for s in self.phase.segments if self.logits in s.outputs)

    @cached_property
    def index_vars(self) -> Mapping[str, tuple[Var, ...]]:
        """Maps a processor to the index inputs that its segments read."""
        found: dict[str, dict[Var, None]] = {}
        for segment in self.phase.segments:
            if segment.attention is None:
                wanted = found.setdefault(segment.device, {})
                wanted.update((v, None) for v in segment.inputs if self.role_of(v) in INDEX_ROLES)
        found.setdefault(self.logits_device, {})
        return {device: tuple(wanted) for device, wanted in found.items()}

    def role_of(self, var: Var) -> str | None:
        """Returns the role of an input, None for a value."""
        described = self.phase.graph.input_of.get(var)
        return described.role if described is not None else None

    def name_of(self, var: Var) -> str:
        """Returns the name of an input."""
        return self.phase.graph.input_of[var].name

    def segment(self, step: Run) -> Segment:
        """Returns the segment that a step runs."""
        return self.phase.segments[step.segment]

    def label(self, step: Step) -> str:
        """Returns what logs and errors call a step."""
        if isinstance(step, Run):
            return self.segment(step).name
        detail = step.attention or ", ".join(step.names) or " ".join(self._made_by(v) for v in step.values)
        return f"{step.kind} {detail}".strip()

    def runs_alone(self) -> bool:
        """Tells whether one processor does everything, so that a step needs no other resource."""
        steps = self.phase.steps
        return (
            all(isinstance(s, Run) and s.share is None for s in steps)
            and len({d for d in self._devices()}) == 1
        )

    def _lane(self, step: Step) -> str:
        if isinstance(step, Run):
            return step.device
        hops = self.hops[step.id]
        if not hops:
            return step.src
        link, direction = hops[-1] if step.dst.startswith("csd") else hops[0]
        return f"{link}.{direction}"

    def _thread(self, step: Step) -> str:
        if isinstance(step, Move) and self.feeds_share(step):
            return "to-shares"
        if isinstance(step, Move) and self.carries_part(step):
            return "from-shares"
        return self.lanes[step.id]

    def _devices(self) -> set[str]:
        return {s.device for s in self.phase.segments}

    def _reads(self, step: Step) -> list[tuple[str, Key]]:
        if isinstance(step, Move):
            if self.carries_part(step):
                return [(step.src, PartOf(v)) for v in step.values]
            return [(step.src, v) for v in step.values] if step.kind != "stream_weights" else []
        segment = self.segment(step)
        if segment.attention is not None:
            attention = self.attention[segment.attention]
            return [(step.device, v) for v in share_operands(attention, step.share)]
        return [
            (step.device, self.name_of(v) if self.role_of(v) in ("param", "cache") else v)
            for v in segment.inputs
        ]

    def _made_by(self, var: Var) -> str:
        index = self.phase.graph.producer.get(var)
        return self.phase.graph.ops[index].name if index is not None else str(var)


def describe_aval(var: Var) -> tuple[tuple[int, ...], Any]:
    """Returns a variable's shape and dtype."""
    aval: Any = var.aval
    return tuple(aval.shape), aval.dtype
