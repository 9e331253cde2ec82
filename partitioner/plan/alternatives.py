"""What an op would cost on another device, everything else staying where it is, or why it cannot run there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from cost_models import Cost
from partitioner.cut_costs import share_bytes
from partitioner.ir.op import Op
from partitioner.placement.policies import POLICIES
from partitioner.plan.decisions import SPLIT
from partitioner.plan.names import tier_of, tier_span
from partitioner.plan.op_costs import OpCosts
from partitioner.plan.spare_room import free_bytes, stream_room
from partitioner.tier_links import TIERS

if TYPE_CHECKING:
    from partitioner.plan.plan import Plan


class Alternative(NamedTuple):
    """Says what an op would cost on a tier.

    Attributes:
        tier: ``gpu``, ``host`` or ``csd``.
        cost: Time of one execution with everything that has to move for it; None where it cannot run there.
        reason: Why it cannot, what comes with it, or what does not fit; empty if there is nothing to say.
        fits: Whether there is memory for it beside what the plan holds.
        home: Tier where its weights or cache would live; "-" if it has neither, or cannot run there.
        allowed: Whether the policy allows it.
        short_bytes: What is missing of the memory for it, and for the ops that would go along.
    """

    tier: str
    cost: Cost | None
    reason: str
    fits: bool = True
    home: str = "-"
    allowed: bool = True
    short_bytes: float = 0.0

    @property
    def rank(self) -> tuple[bool, bool, float]:
        """Returns what alternatives are sorted by: what is possible and fits first, then the cheapest."""
        return self.cost is None, not self.fits, self.cost.seconds if self.cost else 0.0


def alternatives(plan: Plan, phase: str, op: str, alike: int = 1) -> tuple[Alternative, ...]:
    """Returns what an op would cost on the tiers it does not run on: what fits first, the cheapest of that first.

    For an attention that several tiers share, these are all tiers, each taking the whole of it.

    Args:
        plan: The plan.
        phase: ``prefill`` or ``decode``; a decode step is the one in the middle of the generation.
        op: Name of the op.
        alike: How many ops like this one would go along; their weights and caches have to fit together.
    """
    return Alternatives.of_phase(plan, phase, plan.middle_context).of(plan.phase(phase).op[op], alike)


@dataclass(frozen=True, eq=False)
class Alternatives:
    """Answers what the ops of one phase would cost elsewhere.

    Attributes:
        costs: What they cost anywhere.
    """

    costs: OpCosts

    @classmethod
    def of_phase(cls, plan: Plan, phase: str, context_len: int) -> Alternatives:
        """Returns the alternatives of a plan's phase, decode steps attending over ``context_len`` tokens."""
        return cls(OpCosts(plan, phase, context_len))

    def of(self, op: Op, alike: int = 1) -> tuple[Alternative, ...]:
        """Returns the costs on the other tiers in order of rank; see :func:`alternatives`."""
        found = [self.ways(op, tier, alike) for tier in TIERS if not self.costs.runs_wholly_on(op, tier)]
        return tuple(sorted((min(ways, key=lambda a: a.rank) for ways in found), key=lambda a: a.rank))

    def ways(self, op: Op, tier: str, alike: int = 1) -> tuple[Alternative, ...]:
        """Returns all ways to run an op on a tier, or the one reason why there is none.

        Its weights or cache can stay where they are and be streamed, or be moved to the tier for good. A cache that lives in
        shares is not streamed.
        """
        obstacle = self._obstacle(op, tier)
        if obstacle:
            return (Alternative(tier, None, obstacle),)
        options = self._options(op, tier, alike)
        if not options:
            return (Alternative(tier, None, "its weights are shared with another op and looked up by row"),)
        return tuple(options)

    def _options(self, op: Op, tier: str, alike: int) -> list[Alternative]:
        """Returns the ways to run an op on a tier that can take it: with its data streamed, or moved there for good."""
        home = self.costs.home(op)
        if home in ("-", tier) or (op.attention and self.costs.phase == "prefill"):
            short = max(0.0, alike * self._lacking_bytes(op, tier) - self._free[tier])
            reason = f"its weights would not fit on {self._span(tier)}" if short else ""
            return [self._option(op, tier, home, reason, short)]
        data = "KV cache" if op.attention else "weights"
        options: list[Alternative] = []
        if tier != "csd" and home != SPLIT and not self._is_looked_up(op):
            short = max(0.0, self._stream_bytes(op) - self._stream_room[tier])
            room = "; no room for buffers" if short else ""
            options.append(
                self._option(op, tier, home, f"streams its {data} from {self._span(home)}{room}", short)
            )
        if not self._is_shared(op):
            short = max(0.0, alike * self._kept_bytes(op, tier) - self._free[tier])
            verb = "not fit" if short else "live"
            options.append(
                self._option(op, tier, tier, f"its {data} would {verb} on {self._span(tier)}", short)
            )
        return options

    def _option(self, op: Op, tier: str, home: str, reason: str, short_bytes: float) -> Alternative:
        forbidden = self._forbidden(op, tier, rehomed=home != self.costs.home(op))
        reasons = "; ".join(r for r in (reason, forbidden) if r)
        cost = self.costs.at(op, tier, home)
        return Alternative(tier, cost, reasons, not short_bytes, home, not forbidden, short_bytes)

    def _obstacle(self, op: Op, tier: str) -> str:
        """Returns why an op can never run on a tier, or nothing."""
        costing = self.costs.plan.costing
        if op.attention and op.attention.source and self.costs.phase == "decode" and tier != "gpu":
            return "its K and V are made again of the inputs of its layer, which is done on the GPU alone"
        if tier == "csd":
            if not costing.links.drives:
                return "there is no drive"
            if op.attention is None:
                return "drives run attention only"
            if self.costs.phase == "prefill":
                return "drives attend in decode only"
            return "" if costing.can_attend() else "the drives have no engine"
        if op.attention is None and op.states:
            here = self._span(self.costs.tier(op))
            return f"it updates a cache that was not raised and stays on {here}"
        return ""

    def _forbidden(self, op: Op, tier: str, *, rehomed: bool) -> str:
        policy = POLICIES[self.costs.plan.policy]
        if op.attention is None:
            runs, homes = policy.compute, policy.weight_homes
        else:
            prefill = self.costs.phase == "prefill"
            runs = policy.prefill_attention if prefill else policy.decode_attention
            homes = policy.cache_homes
        allowed = tier in runs and (not rehomed or tier in homes)
        return "" if allowed else f"not allowed by policy {policy.name!r}"

    def _is_looked_up(self, op: Op) -> bool:
        """Tells whether rows of a parameter are looked up, which is done where it lives."""
        return not self.costs.param_bytes.keys().isdisjoint(op.gathered)

    def _is_shared(self, op: Op) -> bool:
        return any(self._num_readers[n] > 1 for n in op.params)

    def _stream_bytes(self, op: Op) -> float:
        """Returns the bytes of the two buffers that streaming takes: one in use and one on its way."""
        if op.attention is None:
            return 2 * self.costs.weight_bytes(op)
        plan = self.costs.plan
        return 2 * plan.costing.kv_bytes(op.attention, plan.workload.max_len)

    def _kept_bytes(self, op: Op, tier: str) -> float:
        """Returns the bytes that an op's large weights or cache would take on a tier beside what it keeps of them already."""
        if op.attention is None:
            return self.costs.weight_bytes(op)
        costing, shares = self.costs.plan.costing, self.costs.plan.caches[op.name]
        kept = sum(share_bytes(costing, op.attention, s) for s in shares if tier_of(s.device) == tier)
        attention = self.costs.on_drives(op) if tier == "csd" else op.attention
        return max(0.0, costing.cache_bytes(attention, tier) - kept)

    def _lacking_bytes(self, op: Op, tier: str) -> float:
        """Returns the bytes of an op's weights that a tier does not keep."""
        plan, sizes = self.costs.plan, self.costs.param_bytes
        device = plan.costing.links.device(tier)
        kept = {n: (plan.homes[n], *plan.copies.get(n, ())) for n in op.params if n in sizes}
        return float(sum(sizes[n] for n, devices in kept.items() if device not in devices))

    def _span(self, tier: str) -> str:
        return tier_span(self.costs.plan.hw, tier)

    @cached_property
    def _num_readers(self) -> Counter[str]:
        return Counter(n for op in self.costs.plan.ops(self.costs.phase) for n in op.params)

    @cached_property
    def _free(self) -> Mapping[str, float]:
        return free_bytes(self.costs.plan)

    @cached_property
    def _stream_room(self) -> Mapping[str, float]:
        return stream_room(self.costs.plan)
