"""Lists the ways to run an op: where in each phase, with weights and caches living where, at what cost."""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Mapping, Sequence

from partitioner.costing import Costing
from partitioner.passes.fold_blocks import PairedOp
from partitioner.placement.attention_variants import AttentionVariants
from partitioner.placement.mode_costs import Loads, ModeCosts
from partitioner.placement.paired_graphs import SMALL_WEIGHT_BYTES, PairedGraphs
from partitioner.placement.policies import Policy
from partitioner.placement.problem import Variant
from partitioner.placement.recompute import KeptInput
from partitioner.plan.stream_buffers import cache_buffer_bytes, weight_buffer_bytes
from partitioner.tier_links import TIERS

ANY = "any"
"""Instead of a tier: each op that uses shared weights has a home of its own choice for them (see ``agreement``)."""


class VariantBuilder:
    """Builds the variants of ops for one policy and mode.

    A variant's ``key`` is (tier of each phase or "-", ..., home), where home is that of the op's large weights, or of its cache
    for an attention; an attention that several tiers share is on ``split``, and its key goes on with ``tier=units``.

    Streamed weights arrive ahead of their use, under compute, so they load links.
    """

    def __init__(
        self,
        paired: PairedGraphs,
        costing: Costing,
        policy: Policy,
        shared_home: str,
        streaming: bool,
        kept: Mapping[str, KeptInput],
    ) -> None:
        self._costs, self._policy = ModeCosts(paired, costing), policy
        self._attentions = AttentionVariants(self._costs, policy, streaming, kept, paired.known_splits)
        self._shared_home, self._streaming = shared_home, streaming
        self._paired, self._owners, self._kept = paired, paired.owners, kept
        self._held = frozenset(n for k in kept.values() for n in k.params)
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
            weights = weight_buffer_bytes(self._largest_weights, self._paired.weights_of_a_layer, memory)
        apart = set(policy.cache_homes).isdisjoint(policy.decode_attention)
        return caches + weights if apart else max(caches, weights)

    def all(self) -> list[tuple[Variant, ...]]:
        """Returns the variants of every op; ops that are alike share them."""
        pairs, classes = self._paired.pairs, self._paired.classes
        forms = classes if not self._kept else list(map(self._form, pairs, classes))
        first = {form: n for n, form in reversed(list(enumerate(forms)))}
        attentions = {form: any(op and op.attention for op in pairs[n].ops) for form, n in first.items()}
        made: dict[Hashable, tuple[Variant, ...]] = {}
        # attentions come first, so that all modes number alike what these load
        for form in sorted(first, key=lambda form: (not attentions[form], first[form])):
            pair, number = pairs[first[form]], classes[first[form]]
            made[form] = (
                self._attentions.of(pair, number) if attentions[form] else self._compute_variants(pair)
            )
        return [made[form] for form in forms]

    def _form(self, pair: PairedOp, number: int) -> Hashable:
        kept = self._kept.get(pair.name)
        held = any(op and not self._held.isdisjoint(op.params) for op in pair.ops)
        return number, held, kept and (kept.form, kept.homes)

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
