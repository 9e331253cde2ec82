"""Predicts when each resource does what, by scheduling a plan's steps with closed-form costs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from cost_models import Cost, Hop, flash_read_cost, flash_write_cost, route, sequential
from partitioner.costing import Costing
from partitioner.ir.graph import OpGraph
from partitioner.ir.op import Attention, Op
from partitioner.plan.ready_steps import ReadySteps
from partitioner.plan.steps import Move, Run, Segment, Step
from partitioner.plan.timeline import Event, Timeline, joined
from partitioner.stack_costs import CacheFetch, cache_fetch, layer_s


@dataclass
class ResourceClock:
    """Keeps when each resource is free; it serves uses in the order in which they are asked for."""

    free: dict[str, float]
    events: list[Event]

    def use(
        self,
        resource: str,
        start: float,
        seconds: float,
        name: str,
        phase: str,
        size: float,
        lead: float = 0.0,
    ) -> float:
        """Takes a resource for some seconds, from ``start`` on or once it is free, and returns when that ends.

        For ``lead`` seconds before that, it is at work on this use already, beside others.
        """
        begin = max(start, self.free.get(resource, 0.0))
        end = begin + seconds
        self.free[resource] = end
        self.events.append(Event(resource, name, phase, begin - lead, end, size))
        return end


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
            return sequential([cost, launch, self._stack_cost(segment.attention)])
        key = (step.segment, tier)
        if key not in self._whole_runs:
            costs = [self.costing.run_cost(self._ops[name], tier) for name in segment.ops]
            costs += [self._stack_cost(name) for name in segment.ops]
            self._whole_runs[key] = sequential([*costs, Cost(self.costing.launch_s(tier), "overhead")])
        return self._whole_runs[key]

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
        if step.kind == "store_cache":
            return step.num_bytes * min(1.0, context_len / self.costing.workload.prompt_len)
        return float(step.num_bytes)

    def fetch(self, step: Move, attention: Attention, context_len: int) -> CacheFetch:
        """Returns what it takes to stream a share of an attention's cache."""
        assert step.share is not None
        home = step.src.rstrip("0123456789")
        return cache_fetch(self.costing, attention, context_len - 1, home, step.share.fraction)

    def _stack_cost(self, op: str) -> Cost:
        return Cost(layer_s(self.costing, self._ops[op], self.graph.phase.name), "overhead")

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


def schedule(costs: StepCosts, steps: Sequence[Step], context_len: int, repeat: int = 1) -> Timeline:
    """Returns the timeline of a phase's steps.

    A step is ready when those it waits for have ended, and a resource serves steps in the order in which they are ready; of
    those ready at the same time the first in plan order. A transfer uses every link of its route for bytes / rate and ends with
    the slowest, plus the latencies; what is read from or written to flash for it uses the drive at the same time. Weights are
    streamed in parts, so that other transfers wait for one part at most.

    Args:
        costs: Costs of the phase's steps.
        steps: In plan order.
        context_len: Tokens attended over; in a prefill the tokens of a prompt, padding left aside.
        repeat: Times the steps are run, one behind the other (slices of a prefill): each passes every resource after the last.
    """
    clock = ResourceClock({}, [])
    queue = ReadySteps(steps, [_lane(costs, step) for step in steps], repeat)
    while (ready := queue.take()) is not None:
        start, turn, step, part = ready
        end, part = perform(clock, costs, step, start, context_len, part, queue.next_s)
        queue.end(turn, step, part, end)
    return Timeline(joined(clock.events))


def _lane(costs: StepCosts, step: Step) -> str:
    """Returns the resource on which a step waits for its turn: its device, or the link direction next to its drive."""
    if isinstance(step, Run):
        return step.device
    if step.path == "local":
        return step.src
    hops = route(costs.costing.hw, step.src, step.dst, step.path)
    link, direction = hops[-1] if step.dst.startswith("csd") else hops[0]
    return f"{link}.{direction}"


def perform(
    clock: ResourceClock,
    costs: StepCosts,
    step: Step,
    start: float,
    context_len: int,
    part: int,
    until: float,
) -> tuple[float, int]:
    """Puts a step on its resources, from ``start`` on: all of it, or those parts from ``part`` on that begin before ``until``.

    Returns:
        When that ends, and the part that comes next.
    """
    phase = costs.graph.phase.name
    if isinstance(step, Run):
        return _run(clock, costs, step, start, context_len, phase), 1
    return _move(clock, costs, step, start, context_len, phase, part, until)


def _run(
    clock: ResourceClock, costs: StepCosts, step: Run, start: float, context_len: int, phase: str
) -> float:
    cost = costs.run_cost(step, context_len)
    segment = costs.segments[step.segment]
    size = 0.0
    if segment.attention is not None and step.share is not None and step.device.startswith("csd"):
        size = costs.costing.attended_bytes(
            costs.attention(segment.attention), context_len, step.share.fraction
        )
    return clock.use(step.device, start, cost.seconds, segment.name, phase, size)


def _move(
    clock: ResourceClock,
    costs: StepCosts,
    step: Move,
    start: float,
    context_len: int,
    phase: str,
    part: int,
    until: float,
) -> tuple[float, int]:
    if step.path == "local":
        return start, step.num_parts
    hw = costs.costing.hw
    hops = route(hw, step.src, step.dst, step.path)
    if step.kind == "stream_cache" and step.attention and step.share:
        return _fetch(clock, costs, step, hops, start, context_len, phase), 1
    size = costs.move_bytes(step, context_len) / step.num_parts
    if step.num_parts > 1:
        begin = max(start, *(clock.free.get(f"{link}.{direction}", 0.0) for link, direction in hops))
        seconds = size / min(hw.link(link).bytes_per_s for link, _ in hops)
        left = step.num_parts - part
        count = left if begin + left * seconds <= until else max(1, math.ceil((until - begin) / seconds))
        size, part = size * count, part + count
    else:
        part = 1
    name = f"{step.kind} {step.attention or ', '.join(step.names) or ''}".strip()
    end = start
    latency = 0.0
    for link, direction in hops:
        spec = hw.link(link)
        end = max(end, clock.use(f"{link}.{direction}", start, size / spec.bytes_per_s, name, phase, size))
        latency += spec.latency_s
    if step.kind == "store_cache" and step.dst.startswith("csd"):
        pages = size * costs.copies(step.attention, context_len)
        written = flash_write_cost(hw.drive(step.dst), pages).seconds
        end = max(end, clock.use(step.dst, start, written, name, phase, pages))
    return (end + latency if part == step.num_parts else end), part


def _fetch(
    clock: ResourceClock,
    costs: StepCosts,
    step: Move,
    hops: Sequence[Hop],
    start: float,
    context_len: int,
    phase: str,
) -> float:
    """Streams a share of a cache over links, while its drive reads pages and the host's software hands bytes over.

    A drive senses the first page of a read while the one before still transfers; links wait for it. Published stacks copy in
    the stream of the GPU's kernels, so nothing runs there meanwhile, and reads follow one another.
    """
    assert step.attention is not None
    hw, attention = costs.costing.hw, costs.attention(step.attention)
    fetch = costs.fetch(step, attention, context_len)
    name, device = f"{step.kind} {step.attention}", step.dst
    if hw.software is not None:
        start = max(start, clock.free.get(device, 0.0))
    end, latency, size, sensed, lead = start, 0.0, fetch.link_bytes, 0.0, 0.0
    if fetch.from_drive and hw.software is None:
        drive = hw.drive(step.src)
        sensed = drive.flash.t_read_s
        lead = drive.command_s + sensed
        start += lead
    held = step.src.startswith("csd") and not fetch.from_drive
    for link, direction in hops[-1:] if held else hops:
        spec = hw.link(link)
        end = max(end, clock.use(f"{link}.{direction}", start, size / spec.bytes_per_s, name, phase, size))
        latency += spec.latency_s
    if fetch.host_s:
        end = max(end, clock.use("host", start, fetch.host_s, name, phase, size))
    if fetch.from_drive:
        read = flash_read_cost(hw.drive(step.src), fetch.flash_bytes).seconds
        rest = max(0.0, read - sensed)
        end = max(end, clock.use(step.src, start, rest, name, phase, fetch.flash_bytes, lead))
    end += latency
    if hw.software is not None:
        clock.free[device] = max(clock.free.get(device, 0.0), end)
    return end
