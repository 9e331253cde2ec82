"""When a cache may keep the input of its layer instead of K and V, and what that costs.

The input is smaller where K and V together are wider than it. It is brought to the GPU ahead of its use, as weights are. There
K and V of all tokens are made again by one more matrix product each, and attention goes on as ever. What is fetched so loads
links; what the first layer of a step waits for is spread over all. The weights of the K and V projections stay on the GPU.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cost_models import Work, compute_cost, work_of
from partitioner.costing import Costing
from partitioner.errors import PlacementError
from partitioner.front import Traced
from partitioner.ir.op import Attention, Op
from partitioner.ir.working_set import working_set_bytes
from partitioner.jaxpr import num_bytes
from partitioner.passes.keep_inputs import decode_op
from partitioner.passes.kv_candidates import KvCandidate
from partitioner.placement.policies import Policy
from partitioner.plan.decisions import Decision

Contexts = Sequence[tuple[int, float]]
"""(context length, decode steps at about that length)."""


@dataclass(frozen=True)
class KeptInput:
    """Offers a cache of inputs for one attention.

    Attributes:
        op: The decode's op that makes K and V again and attends, of this layer or of one like it.
        params: Names of the parameters that this layer's K and V are made with.
        homes: Tiers where the cache may live.
        working_bytes: Transient memory of ``op``.
        form: Equal for attentions that cost the same.
    """

    op: Op
    params: tuple[str, ...]
    homes: tuple[str, ...]
    working_bytes: float
    form: object

    @property
    def attention(self) -> Attention:
        """Returns the attention, whose cache is that of inputs."""
        assert self.op.attention is not None
        return self.op.attention


@dataclass(frozen=True)
class StreamCost:
    """Holds what it takes to fetch the cache of inputs for all decode steps.

    Attributes:
        loads: Seconds by link direction.
        flash_s: Seconds of the drives.
        fetch_s: For each context length the seconds of one stream.
        first_s: Seconds that a layer waits, in all decode steps, whose stream nothing runs ahead of.
    """

    loads: Mapping[str, float]
    flash_s: float
    fetch_s: tuple[float, ...]
    first_s: float


def kept_inputs(
    traced: Traced, costing: Costing, policy: Policy, activation_bytes: float
) -> dict[str, KeptInput]:
    """Returns the caches of inputs that a policy allows and that can pay, by attention op.

    Where K and V may be cached as well, none is offered if the GPU has room for all of them, or if some way to use them that
    certainly fits is as fast as the matrix products alone. What is offered is not proved yet, unless it was refuted before: see
    ``all_proved``.

    Args:
        traced: The model.
        costing: Answers what things cost.
        policy: Which homes and forms there are.
        activation_bytes: What activations take of the GPU's memory.

    Raises:
        PlacementError: The policy allows nothing else, and it cannot be done.
    """
    if "input" not in policy.cache_forms:
        return {}
    room = Room.of(traced, costing, activation_bytes)
    if {"kv", "gpu"} <= {*policy.cache_forms, *policy.homes_of("kv")} and room.has("gpu"):
        return {}
    decode = traced.graphs[-1]
    contexts = costing.workload.decode_contexts(with_prefill=len(traced.graphs) > 1)
    ops = {op.name: op for op in decode.ops if op.attention}
    pays: dict[object, bool] = {}
    made: dict[object, tuple[Op, float]] = {}
    offered: dict[str, KeptInput] = {}
    for name, candidate in traced.kv_sources.candidates.items():
        if "kv" in policy.cache_forms:
            if candidate.form not in pays:
                pays[candidate.form] = _pays(candidate, ops[name], costing, policy, contexts, room)
            if not pays[candidate.form]:
                continue
        source = traced.kv_sources.described(name)
        if isinstance(source, str):
            continue
        if source.form not in made:
            changed, state = decode_op(decode, source)
            made[source.form] = changed, float(working_set_bytes(decode, changed) - num_bytes(state))
        op, working_bytes = made[source.form]
        homes = _homes(policy, costing, candidate.attention, op)
        params = tuple(i.name for v in source.given if (i := decode.input_of[v]).role == "param")
        if homes:
            offered[name] = KeptInput(op, params, homes, working_bytes, source.form)
    if policy.cache_forms == ("input",):
        _require_all(traced, policy, offered, list(ops))
    return offered


def all_proved(traced: Traced, decisions: Mapping[str, Decision]) -> bool:
    """Tells whether K and V can be made again wherever decisions keep an input; what is refuted is not offered again."""
    kept = [name for name, decision in decisions.items() if decision.form == "input"]
    return not any(isinstance(traced.kv_sources.proved(name), str) for name in kept)


def stream_cost(costing: Costing, attention: Attention, home: str, contexts: Contexts) -> StreamCost:
    """Returns what it takes to bring stored inputs to the GPU and new ones back, in all decode steps of one micro-batch."""
    loads: dict[str, float] = {}
    flash_s = first_s = 0.0
    if home == "gpu":
        return StreamCost(loads, flash_s, (0.0,) * len(contexts), first_s)
    fetch_s: list[float] = []
    for context, weight in contexts:
        stored = costing.kv_bytes(attention, context - 1)
        for amount, src, dst in ((stored, home, "gpu"), (costing.kv_bytes(attention, 1), "gpu", home)):
            for resource, seconds in costing.links.link_load(amount, src, dst).items():
                loads[resource] = loads.get(resource, 0.0) + weight * seconds
        if home == "csd":
            flash_s += weight * costing.flash_read_s(costing.flash_bytes(attention, context - 1))
        fetched = costing.fetch_s(attention, context - 1, home, "gpu")
        fetch_s.append(fetched.seconds + costing.links.latency_s(home, "gpu"))
        first_s += weight * fetch_s[-1]
    return StreamCost(loads, flash_s, tuple(fetch_s), first_s)


@dataclass(frozen=True)
class Room:
    """Tells where the K and V of all layers certainly find room, whatever else lives there.

    Attributes:
        costing: Answers what things need.
        weight_bytes: All weights.
        activation_bytes: What activations take of the GPU's memory.
        attentions: Those of all layers.
    """

    costing: Costing
    weight_bytes: float
    activation_bytes: float
    attentions: tuple[Attention, ...]

    @classmethod
    def of(cls, traced: Traced, costing: Costing, activation_bytes: float) -> Room:
        """Returns the room that a model needs."""
        decode = traced.graphs[-1]
        weights = sum(decode.param_bytes.values())
        attentions = tuple(op.attention for op in decode.ops if op.attention)
        return cls(costing, float(weights), activation_bytes, attentions)

    def has(self, tier: str) -> bool:
        """Tells whether a tier has room for everything."""
        if tier == "csd" and not self.costing.links.drives:
            return False
        needed = self._cache_bytes(tier)
        needed += 0.0 if tier == "csd" else self.weight_bytes
        needed += self.activation_bytes if tier == "gpu" else 0.0
        return needed <= self.costing.capacity_bytes(tier)

    def some_is_fetched(self, policy: Policy) -> bool:
        """Tells whether the tiers that attend cannot hold all K and V between them."""
        attending = [t for t in policy.decode_attention if t != "csd" or self.costing.can_attend()]
        room = sum(self.costing.capacity_bytes(tier) for tier in attending)
        return self._cache_bytes("gpu") > room

    def _cache_bytes(self, tier: str) -> float:
        return sum(self.costing.cache_bytes(a, tier) for a in self.attentions)


def _homes(policy: Policy, costing: Costing, attention: Attention, op: Op) -> tuple[str, ...]:
    kept = op.attention
    assert kept is not None
    alike = (kept.head_size, kept.cache_dtype) == (attention.head_size, attention.cache_dtype)
    homes: list[str] = []
    for home in policy.homes_of("input"):
        if home == "csd" and not (alike and costing.links.drives):
            continue
        homes.append(home)
    return tuple(homes)


def _pays(
    candidate: KvCandidate, op: Op, costing: Costing, policy: Policy, contexts: Contexts, room: Room
) -> bool:
    """Tells whether no way to use K and V that certainly fits takes at most the time of making them again."""
    path, attention = candidate.decode, candidate.attention
    work = work_of(path.equations, [path.source, *path.inputs], path.targets)
    steps = sum(weight for _, weight in contexts)
    once = compute_cost(
        Work(work.flops * costing.workload.max_len, 0.0, 0.0), costing.processors["gpu"], op.dtype
    )
    attend_s = steps * costing.run_cost(op, "gpu").seconds
    again_s = steps * once.seconds + attend_s
    for home in policy.homes_of("kv"):
        if not room.has(home):
            continue
        ways = [attend_s + _fetch_s(costing, attention, home, contexts) if home != "gpu" else attend_s]
        if home in policy.decode_attention and home != "gpu" and (home == "host" or costing.can_attend()):
            ways.append(_attend_there_s(costing, attention, home, contexts))
        if min(ways) <= again_s:
            return False
    return True


def _fetch_s(costing: Costing, attention: Attention, home: str, contexts: Contexts) -> float:
    """Returns the seconds of all streams of K and V to the GPU."""
    return stream_cost(costing, attention, home, contexts).first_s


def _attend_there_s(costing: Costing, attention: Attention, tier: str, contexts: Contexts) -> float:
    """Returns the seconds of all attentions on a tier that holds K and V, with the ways of their operands and results."""
    members = costing.split_shares(attention, ((tier, costing.grid(attention).num_units),))
    way_s = costing.hand_out_s(attention, tier, 1.0)
    way_s += costing.launch_s(tier) + costing.launch_s("gpu")
    return sum(
        weight * (max(costing.share_attend_cost(attention, s, n).seconds for s in members) + way_s)
        for n, weight in contexts
    )


def _require_all(
    traced: Traced, policy: Policy, offered: Mapping[str, KeptInput], names: Sequence[str]
) -> None:
    lacking = [name for name in names if name not in offered]
    if not lacking:
        return
    found = traced.kv_sources.described(lacking[0])
    reason = found if isinstance(found, str) else f"it cannot be kept on {', '.join(policy.cache_homes)}"
    raise PlacementError(
        f"policy {policy.name!r} keeps the inputs of layers in place of K and V, and {lacking[0]!r} does not allow it: "
        f"{reason}. Choose policy 'auto', or 'flexgen-ssd' for K and V on the drive"
    )
