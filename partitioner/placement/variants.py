"""Lists the ways to run an op: where in each phase, with weights and caches living where, at what cost."""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Mapping, Sequence

from partitioner.costing import Costing
from partitioner.ir.graph import OpGraph
from partitioner.passes.fold_blocks import PairedOp
from partitioner.placement.attention_variants import AttentionVariants
from partitioner.placement.mode_costs import SMALL_WEIGHT_BYTES, Loads, ModeCosts
from partitioner.placement.policies import Policy
from partitioner.placement.problem import Variant
from partitioner.placement.recompute import KeptInput
from partitioner.placement.split_variants import SplitCost
from partitioner.plan.stream_buffers import cache_buffer_bytes, weight_buffer_bytes
from partitioner.tier_links import TIERS

ANY = "any"
"""Instead of a tier: each op that uses shared weights has a home of its own choice for them (see ``shared_homes``)."""


class VariantBuilder:
    """Builds the variants of ops for one policy and mode.

    A variant's ``key`` is (tier of each phase or "-", ..., home), where home is that of the op's large weights, or of its cache
    for an attention; an attention that several tiers share is on ``split``, and its key goes on with ``tier=units``.

    Streamed weights arrive ahead of their use, under compute, so they load links.
    """

    def __init__(
        self,
        graphs: Sequence[OpGraph],
        costing: Costing,
        policy: Policy,
        shared_home: str,
        streaming: bool,
        owners: Mapping[str, str],
        kept: Mapping[str, KeptInput],
        known_splits: dict[Hashable, tuple[SplitCost, ...]],
    ) -> None:
        self._costs, self._policy = ModeCosts(graphs, costing), policy
        self._attentions = AttentionVariants(self._costs, policy, streaming, kept, known_splits)
        self._shared_home, self._streaming = shared_home, streaming
        self._owners, self._kept = owners, kept
        self._held = frozenset(n for k in kept.values() for n in k.params)
        self._memo: dict[Hashable, tuple[Variant, ...]] = {}
        self._largest_weights = 0.0

    @property
    def resources(self) -> tuple[tuple[str, int], ...]:
        """Returns (name, phase) of each overlappable resource used so far."""
        return self._costs.resources

    @property
    def stream_buffer_bytes(self) -> float:
        """Returns the room for streams: of caches and of weights together only where caches have to be streamed anyway."""
        policy, costs = self._policy, self._costs
        caches = cache_buffer_bytes(self._attentions.largest_stream)
        weights = 0.0
        if self._largest_weights:
            memory = costs.costing.capacity_bytes("gpu")
            weights = weight_buffer_bytes(self._largest_weights, costs.weights_of_a_layer(), memory)
        apart = set(policy.cache_homes).isdisjoint(policy.decode_attention)
        return caches + weights if apart else max(caches, weights)

    def of(self, pair: PairedOp) -> tuple[Variant, ...]:
        """Returns the variants of an op; ops that are alike share them."""
        form = self._form(pair)
        if form not in self._memo:
            attention = any(op and op.attention for op in pair.ops)
            self._memo[form] = self._attentions.of(pair, form) if attention else self._compute_variants(pair)
        return self._memo[form]

    def _form(self, pair: PairedOp) -> Hashable:
        """Returns all of an op that its variants depend on."""
        rows: list[Hashable] = []
        for op in pair.ops:
            if op is None:
                rows.append(None)
                continue
            sizes = self._costs.param_bytes
            params = tuple(
                (sizes[n], self._costs.held_bytes(n, "gpu"), n in op.gathered) if n in sizes else None
                for n in op.params
            )
            shared = tuple((n, self._owners[n] == pair.name) for n in op.params if n in self._owners)
            states = () if op.attention else op.states
            a = op.attention
            heads = a and (a.num_heads, a.num_kv_heads, a.head_size, a.cache_dtype, a.sparsity, a.window)
            held = bool(self._held) and not a and not self._held.isdisjoint(op.params)
            exchanged = op.collectives, op.repeated
            rows.append((op.work, op.remakes, exchanged, op.dtype, params, shared, states, heads, held))
        kept = self._kept.get(pair.name)
        return (*rows, kept and (kept.form, kept.homes))

    def _compute_variants(self, pair: PairedOp) -> tuple[Variant, ...]:
        ops = [op for op in pair.ops if op]
        names = sorted({n for op in ops for n in op.params if n in self._costs.param_bytes})
        gathered = {n for op in ops for n in op.gathered}
        states = {s for op in ops for s in op.states if s in self._costs.state_bytes}
        fixed = bool(states) or any(n in gathered for n in names)
        owned = [n for n in names if self._owners.get(n, pair.name) == pair.name]
        large = sum(self._costs.param_bytes[n] for n in names) >= SMALL_WEIGHT_BYTES
        shared = any(n in self._owners for n in names)
        tiers = self._policy.compute if not states and not self._costs.overlap else self._policy.compute[:1]
        variants: list[Variant] = []
        for placed in itertools.product(*[tiers if op else (None,) for op in pair.ops]):
            used = {t for t in placed if t}
            for home in self._weight_homes(large, shared, not self._held.isdisjoint(names), used):
                if fixed and large and used != {home}:
                    continue
                variants.append(self._compute_variant(pair, placed, home, large, names, owned, states))
        return tuple(variants)

    def _weight_homes(self, large: bool, shared: bool, held: bool, used: set[str]) -> tuple[str, ...]:
        if not large:
            return ("-",)
        fixed = shared and self._shared_home != ANY
        homes = (self._shared_home,) if fixed else self._policy.weight_homes
        if held:
            homes = tuple(h for h in homes if h == "gpu")
        if not self._streaming:
            homes = tuple(h for h in homes if used == {h})
        return tuple(h for h in homes if h in used or h == "host")

    def _compute_variant(
        self,
        pair: PairedOp,
        placed: tuple[str | None, ...],
        home: str,
        large: bool,
        names: Sequence[str],
        owned: Sequence[str],
        states: set[str],
    ) -> Variant:
        memory = dict.fromkeys(TIERS, 0.0)
        for tier in {t for t in placed if t} if not large else {home}:
            memory[tier] += sum(self._costs.held_bytes(n, tier) for n in owned)
        for tier in {t for t in placed if t}:
            memory[tier] += sum(self._costs.held_bytes(s, tier) for s in states)
        seconds = [0.0] * len(placed)
        working = dict.fromkeys(TIERS, 0.0)
        busy: Loads = {}
        for phase, (op, tier) in enumerate(zip(pair.ops, placed, strict=True)):
            if op is None or tier is None:
                continue
            seconds[phase] = self._costs.run_s(phase, op, tier) * self._costs.repeats(phase)
            working[tier] += seconds[phase]
            if large and home != tier:
                moved = float(sum(self._costs.param_bytes[n] for n in names if n in op.params))
                self._largest_weights = max(self._largest_weights, moved)
                self._costs.stream(busy, phase, moved, home, tier)
        return self._costs.variant(placed, seconds, memory, busy, home, working)
