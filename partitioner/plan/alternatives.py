"""What an op would cost on another device, everything else staying where it is.

Costs follow the solver's account: the op's own time, the weights or the cache it has to stream, and the values that cross to
it and from it, one after the other, with the launches that a change of device brings. A value that crosses anyway for another
reader is counted for each.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from cost_models import Cost, sequential
from partitioner.costing import TIERS
from partitioner.ir.op import Attention, Op
from partitioner.ir.working_set import working_set_bytes
from partitioner.jaxpr import Var, num_bytes
from partitioner.placement.policies import POLICIES
from partitioner.plan.names import tier_of, tier_span

if TYPE_CHECKING:
    from partitioner.plan.plan import Plan


class Alternative(NamedTuple):
    """Says what an op would cost on a tier.

    Attributes:
        tier: ``gpu``, ``host`` or ``csd``.
        cost: Time of one execution with everything that has to move for it; None where it cannot run there.
        reason: Why it cannot, what comes with it, or what does not fit; empty if there is nothing to say.
        fits: Whether there is memory for it beside what the plan holds.
    """

    tier: str
    cost: Cost | None
    reason: str
    fits: bool = True

    @property
    def rank(self) -> tuple[bool, bool, float]:
        """Returns what alternatives are sorted by: what is possible and fits first, then the cheapest."""
        return self.cost is None, not self.fits, self.cost.seconds if self.cost else 0.0


def alternatives(plan: Plan, phase: str, op: str, alike: int = 1) -> tuple[Alternative, ...]:
    """Returns what an op would cost on the tiers it does not run on: what fits first, the cheapest of that first.

    Args:
        plan: The plan.
        phase: ``prefill`` or ``decode``; a decode step is the one in the middle of the generation.
        op: Name of the op.
        alike: How many ops like this one would go along; their weights and caches have to fit together.
    """
    return PlacedOps(plan, phase, plan.middle_context).elsewhere(plan.phase(phase).op[op], alike)


@dataclass(frozen=True, eq=False)
class PlacedOps:
    """Answers what the ops of one phase cost where they are, and elsewhere.

    Attributes:
        plan: The plan.
        phase: ``prefill`` or ``decode``.
        context_len: Tokens attended over in a decode step.
    """

    plan: Plan
    phase: str
    context_len: int

    def alone(self, op: Op) -> Cost:
        """Returns the time of an op where it runs, moves left aside."""
        return self._run(op, self._tier(op))

    def here(self, op: Op) -> Cost:
        """Returns the time of an op where it runs, with what moves for it."""
        home = self.plan.decisions.ops[op.name].home
        return sequential(self._at(op, self._tier(op), home))

    def elsewhere(self, op: Op, alike: int = 1) -> tuple[Alternative, ...]:
        """Returns the costs on the other tiers in order of rank; see :func:`alternatives`."""
        found = [self._alternative(op, tier, alike) for tier in TIERS if tier != self._tier(op)]
        return tuple(sorted(found, key=lambda a: a.rank))

    def _alternative(self, op: Op, tier: str, alike: int) -> Alternative:
        obstacle = self._obstacle(op, tier)
        if obstacle:
            return Alternative(tier, None, obstacle)
        options = self._options(op, tier, alike)
        if not options:
            return Alternative(tier, None, "its weights are shared with another op and looked up by row")
        return min(options, key=lambda a: a.rank)

    def _options(self, op: Op, tier: str, alike: int) -> list[Alternative]:
        """Returns the ways to run an op on a tier that can take it: with its data streamed, or moved there for good."""
        home = self.plan.decisions.ops[op.name].home
        if home in ("-", tier) or (op.attention and self.phase == "prefill"):
            room = alike * self._lacking_bytes(op, tier) <= self._free_bytes[tier]
            reason = "" if room else f"its weights would not fit on {self._span(tier)}"
            return [self._option(op, tier, home, reason, room)]
        data = "KV cache" if op.attention else "weights"
        options: list[Alternative] = []
        if self._can_stream(op, tier):
            room = self._stream_bytes(op) <= self._stream_room(tier)
            reason = f"streams its {data} from {self._span(home)}"
            options.append(
                self._option(op, tier, home, reason if room else f"{reason}; no room for buffers", room)
            )
        if not self._is_shared(op):
            room = alike * self._kept_bytes(op, tier) <= self._free_bytes[tier]
            verb = "live" if room else "not fit"
            options.append(
                self._option(op, tier, tier, f"its {data} would {verb} on {self._span(tier)}", room)
            )
        return options

    def _option(self, op: Op, tier: str, home: str, reason: str, fits: bool) -> Alternative:
        """Returns the cost on a tier with the op's weights or cache living on another, or on the same."""
        rehomed = home != self.plan.decisions.ops[op.name].home
        forbidden = self._forbidden(op, tier, rehomed)
        cost = sequential(self._at(op, tier, home))
        return Alternative(tier, cost, "; ".join(r for r in (reason, forbidden) if r), fits)

    def _obstacle(self, op: Op, tier: str) -> str:
        """Returns why an op can never run on a tier, or nothing."""
        costing = self.plan.costing
        if tier == "csd":
            if not costing.drives:
                return "there is no drive"
            if op.attention is None:
                return "drives run attention only"
            if self.phase == "prefill":
                return "drives attend in decode only"
            return "" if costing.can_attend() else "the drives have no engine"
        if op.attention is None and op.states:
            return f"it updates a cache that was not raised and stays on {self._span(self._tier(op))}"
        return ""

    def _forbidden(self, op: Op, tier: str, rehomed: bool) -> str:
        policy = POLICIES[self.plan.policy]
        if op.attention is None:
            runs, homes = policy.compute, policy.weight_homes
        else:
            runs = policy.prefill_attention if self.phase == "prefill" else policy.decode_attention
            homes = policy.cache_homes
        allowed = tier in runs and (not rehomed or tier in homes)
        return "" if allowed else f"not allowed by policy {policy.name!r}"

    def _at(self, op: Op, tier: str, home: str) -> list[Cost]:
        """Returns the parts of an op's time on a tier with its data living on another."""
        costs = [self._run(op, tier), *self._value_moves(op, tier)]
        if op.attention is None:
            if home not in ("-", tier):
                costs.append(self._transfer(self._weight_bytes(op), home, tier))
        elif self.phase == "decode" and tier not in {home, "csd"}:
            costs += self._cache_moves(op.attention, home, tier)
        return costs

    def _run(self, op: Op, tier: str) -> Cost:
        if tier == "csd" and op.attention is not None:
            return self.plan.costing.attend_cost(op.attention, self.context_len)
        return self.plan.costing.run_cost(op, tier)

    def _cache_moves(self, attention: Attention, home: str, tier: str) -> list[Cost]:
        costing = self.plan.costing
        shipped = costing.transfer_s(costing.kv_bytes(attention, self.context_len - 1), home, tier)
        read = 0.0
        if home == "csd":
            read = costing.flash_read_s(costing.flash_bytes(attention, self.context_len - 1))
        stream = Cost(
            max(shipped, read) + costing.latency_s(home, tier), "flash" if read > shipped else "link"
        )
        return [stream, Cost(costing.transfer_s(costing.kv_bytes(attention, 1), tier, home), "link")]

    def _value_moves(self, op: Op, tier: str) -> list[Cost]:
        """Returns the moves of values to an op and from it, by the tiers of its neighbours."""
        graph, costing = self.plan.phase(self.phase).graph, self.plan.costing
        arriving: dict[str, float] = {}
        for v in op.inputs:
            if v in graph.producer:
                self._add(arriving, self._tier(graph.ops[graph.producer[v]]), tier, v)
        leaving: dict[str, float] = {}
        for v in op.outputs:
            for reader in {self._tier(graph.ops[c]) for c in graph.consumers.get(v, ())}:
                self._add(leaving, reader, tier, v)
        costs = [self._transfer(amount, src, tier) for src, amount in arriving.items()]
        costs += [self._transfer(amount, tier, dst) for dst, amount in leaving.items()]
        launched = [tier] * bool(arriving) + list(leaving)
        return costs + [Cost(costing.launch_s(t), "overhead") for t in launched]

    def _add(self, amounts: dict[str, float], other: str, tier: str, var: Var) -> None:
        if other != tier:
            amounts[other] = amounts.get(other, 0.0) + num_bytes(var)

    def _transfer(self, amount: float, src: str, dst: str) -> Cost:
        costing = self.plan.costing
        return Cost(costing.transfer_s(amount, src, dst) + costing.latency_s(src, dst), "link")

    def _tier(self, op: Op) -> str:
        return self.plan.decisions.ops[op.name].tier(self.phase)

    def _can_stream(self, op: Op, tier: str) -> bool:
        """Tells whether an op's weights or cache can be used away from home: drives and row look-ups cannot."""
        return tier != "csd" and not set(op.gathered) & set(self._param_bytes)

    def _stream_bytes(self, op: Op) -> float:
        """Returns the bytes of the two buffers that streaming takes: one in use and one on its way."""
        if op.attention is not None:
            return 2 * self.plan.costing.kv_bytes(op.attention, self.plan.workload.max_len)
        return 2 * self._weight_bytes(op)

    def _stream_room(self, tier: str) -> float:
        """Returns the bytes a tier has for stream buffers; like the solver, it asks for none but on the GPU."""
        return self._free_bytes["gpu"] + self._buffer_bytes if tier == "gpu" else math.inf

    def _span(self, tier: str) -> str:
        return tier_span(self.plan.hw, tier)

    def _is_shared(self, op: Op) -> bool:
        return any(self._num_readers.get(n, 0) > 1 for n in op.params)

    def _weight_bytes(self, op: Op) -> float:
        return float(sum(self._param_bytes.get(n, 0) for n in op.params))

    def _kept_bytes(self, op: Op, tier: str) -> float:
        if op.attention is not None:
            return self.plan.costing.cache_bytes(op.attention, tier)
        return self._weight_bytes(op)

    def _lacking_bytes(self, op: Op, tier: str) -> float:
        """Returns the bytes of an op's weights that a tier does not keep."""
        device = self.plan.costing.device(tier)
        lacking = [n for n in op.params if n in self._param_bytes and device not in self._kept_on(n)]
        return float(sum(self._param_bytes[n] for n in lacking))

    def _kept_on(self, name: str) -> tuple[str, ...]:
        return (self.plan.homes[name], *self.plan.copies.get(name, ()))

    @cached_property
    def _param_bytes(self) -> Mapping[str, int]:
        inputs = self.plan.phase(self.phase).graph.phase.inputs
        return {i.name: num_bytes(i.var) for i in inputs if i.role == "param"}

    @cached_property
    def _num_readers(self) -> Mapping[str, int]:
        names: Sequence[str] = [n for op in self.plan.ops(self.phase) for n in op.params]
        counts: dict[str, int] = {}
        for name in names:
            counts[name] = counts.get(name, 0) + 1
        return counts

    @cached_property
    def _buffer_bytes(self) -> float:
        """Returns what the GPU keeps free for stream buffers, beside activations."""
        graphs = [p.graph for p in (self.plan.prefill, self.plan.decode) if p is not None]
        activations = max(working_set_bytes(g, op) for g in graphs for op in g.ops)
        return max(0.0, self.plan.decisions.reserved_bytes["gpu"] - activations)

    @cached_property
    def _free_bytes(self) -> Mapping[str, float]:
        free: dict[str, float] = dict.fromkeys(TIERS, 0.0)
        for device, row in self.plan.resident_bytes().items():
            used = row["weights"] + row["kv_cache"] + row["reserve"]
            free[tier_of(device)] += row["capacity"] - used
        return free
