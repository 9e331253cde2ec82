"""What steps ask of resources, whenever they begin; steps that are alike are looked at once."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from functools import cached_property
from typing import NamedTuple

from cost_models import Hop, flash_read_cost, flash_write_cost, route
from partitioner.cut_costs import attended_page_bytes
from partitioner.emulation_costs import crossing_s, step_s
from partitioner.ir.op import Attention
from partitioner.plan.ready_steps import StepOrder
from partitioner.plan.step_costs import StepCosts
from partitioner.plan.steps import Move, Run, Step


class Use(NamedTuple):
    """Takes a resource for some seconds.

    Attributes:
        resource: A device (``gpu0``, ``csd1``) or a link direction (``csd1.up``).
        seconds: How long.
        size: Bytes moved, or read from flash or written to it; 0 for compute.
        lead: Seconds before that in which it is at work on this use already, beside others.
    """

    resource: str
    seconds: float
    size: float
    lead: float = 0.0


class Demand(NamedTuple):
    """Says what a step asks of resources, all at the same time, from when it is ready.

    Attributes:
        uses: Of one part.
        latency_s: From the end of the last use to that of the step.
        delay_s: Until the uses begin.
        holds: Device on which nothing else runs meanwhile; None for none.
        rates: For a step in several parts the bytes per second of each use.
    """

    uses: tuple[Use, ...]
    latency_s: float = 0.0
    delay_s: float = 0.0
    holds: str | None = None
    rates: tuple[float, ...] = ()


class StepDemands:
    """Tells the demands of a phase's steps at any context length.

    Args:
        costs: Costs of the steps.
        steps: In plan order.

    Attributes:
        costs: See above.
        steps: See above.
        phase: ``prefill`` or ``decode``.
        lanes: For each step the resource on which it waits for its turn: its device, or the link direction next to its drive.
    """

    def __init__(self, costs: StepCosts, steps: Sequence[Step]) -> None:
        self.costs, self.steps = costs, tuple(steps)
        self.phase = costs.graph.phase.name
        self._hops: dict[tuple[str, str, str], tuple[Hop, ...]] = {}
        self._attentions: dict[str, Hashable] = {}
        self.lanes = tuple(map(self._lane, self.steps))
        numbers: dict[Hashable, int] = {}
        self._classes = [numbers.setdefault(self._form(step), len(numbers)) for step in self.steps]
        self._first = {number: n for n, number in reversed(list(enumerate(self._classes)))}
        self._fixed: dict[int, Demand] = {}

    @cached_property
    def order(self) -> StepOrder:
        """Returns which steps wait for which."""
        return StepOrder.of(self.steps)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Returns what events of the steps are called."""
        return tuple(map(self._name, self.steps))

    def at(self, context_len: int) -> list[Demand]:
        """Returns the demand of each step.

        Args:
            context_len: Tokens attended over; in a prefill the tokens of a prompt, padding left aside.
        """
        found: dict[int, Demand] = {}
        for number, n in self._first.items():
            step = self.steps[n]
            grows = step.share is not None and (isinstance(step, Run) or step.kind != "hand_over")
            known = found if grows else self._fixed
            if number not in known:
                known[number] = (
                    self._run(step, context_len) if isinstance(step, Run) else self._move(step, context_len)
                )
            found[number] = known[number]
        demands = [found[number] for number in self._classes]
        if self._begins is not None:
            first, begin_s = self._begins
            demands[first] = demands[first]._replace(delay_s=demands[first].delay_s + begin_s)
        return demands

    @cached_property
    def _begins(self) -> tuple[int, float] | None:
        """Returns the first run of a decode step, and the time that passes before it; None where none does."""
        begin_s = step_s(self.costs.costing, self.steps) if self.phase == "decode" else 0.0
        runs = (n for n, step in enumerate(self.steps) if isinstance(step, Run))
        first = next(runs, None)  # reports schedule moves alone
        return None if first is None or not begin_s else (first, begin_s)

    def _name(self, step: Step) -> str:
        if isinstance(step, Run):
            return self.costs.segments[step.segment].name
        return f"{step.kind} {step.attention or ', '.join(step.names) or ''}".strip()

    def _lane(self, step: Step) -> str:
        if isinstance(step, Run):
            return step.device
        if step.path == "local":
            return step.src
        hops = self._route(step)
        link, direction = hops[-1] if step.dst.startswith("csd") else hops[0]
        return f"{link}.{direction}"

    def _route(self, step: Move) -> tuple[Hop, ...]:
        key = (step.src, step.dst, step.path)
        if key not in self._hops:
            hops = () if step.path == "local" else route(self.costs.costing.hw, step.src, step.dst, step.path)
            self._hops[key] = hops
        return self._hops[key]

    def _form(self, step: Step) -> Hashable:
        """Returns what steps share whose demands are equal."""
        own = step.share
        share = own and (own.num_rows, own.num_kv_heads, own.fraction, own.cut)
        if isinstance(step, Move):
            way = (step.kind, step.src, step.dst, step.path, step.num_bytes)
            return (*way, step.attention and self._attention(step.attention), share)
        attention = self.costs.segments[step.segment].attention
        if step.share is None or attention is None:
            return step.device, self.costs.run_cost(step, 0)
        return step.device, self._attention(attention), share

    def _attention(self, name: str) -> Hashable:
        """Returns all of an attention that its costs depend on."""
        if name not in self._attentions:
            a = self.costs.attention(name)
            sizes = (a.num_heads, a.num_kv_heads, a.head_size, a.cache_dtype)
            layer = a.layer if isinstance(self.costs.costing.workload.sparsity, tuple) else None
            self._attentions[name] = (*sizes, a.window, a.sparsity, a.source is None, layer)
        return self._attentions[name]

    def _run(self, step: Run, context_len: int) -> Demand:
        costs = self.costs
        attention = costs.segments[step.segment].attention
        size = 0.0
        if attention is not None and step.share is not None and step.device.startswith("csd"):
            described = costs.attention(attention)
            size = attended_page_bytes(costs.costing, described, step.share, context_len)
        return Demand((Use(step.device, costs.run_cost(step, context_len).seconds, size),))

    def _move(self, step: Move, context_len: int) -> Demand:
        if step.path == "local":
            return Demand(())
        costs, hw, hops = self.costs, self.costs.costing.hw, self._route(step)
        if step.kind == "stream_cache" and step.attention and step.share:
            return self._fetch(step, costs.attention(step.attention), hops, context_len)
        size = costs.move_bytes(step, context_len) / step.num_parts
        links = [hw.link(link) for link, _ in hops]
        uses = [
            Use(f"{link}.{direction}", size / spec.bytes_per_s, size)
            for (link, direction), spec in zip(hops, links, strict=True)
        ]
        if step.kind == "store_cache" and step.dst.startswith("csd"):
            pages = size * costs.copies(step.attention, context_len)
            uses.append(Use(step.dst, flash_write_cost(hw.drive(step.dst), pages).seconds, pages))
        rates = tuple(spec.bytes_per_s for spec in links) if step.num_parts > 1 else ()
        handed = step.kind == "hand_over" and step.share is not None
        latency_s = crossing_s(costs.costing, step.src, step.dst) if handed else 0.0
        latency_s += sum(spec.latency_s for spec in links)
        return Demand(tuple(uses), latency_s, rates=rates)

    def _fetch(self, step: Move, attention: Attention, hops: Sequence[Hop], context_len: int) -> Demand:
        """Returns what streaming a share of a cache over links asks, while its drive reads pages and the host hands bytes over.

        A drive senses the first page of a read while the one before still transfers; links wait for it. Published stacks copy
        in the stream of the GPU's kernels, so nothing runs there meanwhile, and reads follow one another.
        """
        hw = self.costs.costing.hw
        fetch = self.costs.fetch(step, attention, context_len)
        sensed = lead = 0.0
        if fetch.from_drive and hw.software is None:
            drive = hw.drive(step.src)
            sensed = drive.flash.t_read_s
            lead = drive.command_s + sensed
        held = step.src.startswith("csd") and not fetch.from_drive
        passed = [(hop, hw.link(hop[0])) for hop in (hops[-1:] if held else hops)]
        uses = [
            Use(f"{link}.{direction}", fetch.link_bytes / spec.bytes_per_s, fetch.link_bytes)
            for (link, direction), spec in passed
        ]
        if fetch.host_s:
            uses.append(Use("host", fetch.host_s, fetch.link_bytes))
        if fetch.from_drive:
            read = flash_read_cost(hw.drive(step.src), fetch.flash_bytes).seconds
            uses.append(Use(step.src, max(0.0, read - sensed), fetch.flash_bytes, lead))
        latency_s = sum((spec.latency_s for _, spec in passed), 0.0)
        return Demand(tuple(uses), latency_s, lead, None if hw.software is None else step.dst)
