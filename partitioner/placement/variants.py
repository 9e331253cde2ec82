"""Lists the ways to run an op: where in each phase, with weights and caches living where, at what cost."""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

from partitioner.costing import Costing
from partitioner.passes.fold_blocks import PairedOp
from partitioner.placement.attention_variants import AttentionVariants
from partitioner.placement.mode_costs import Loads, ModeCosts
from partitioner.placement.paired_graphs import SMALL_WEIGHT_BYTES, Kind, PairedGraphs
from partitioner.placement.policies import Policy
from partitioner.placement.recompute import KeptInput
from partitioner.placement.variant_list import Variant
from partitioner.plan.stream_buffers import cache_buffer_bytes, weight_buffer_bytes
from partitioner.tier_links import TIERS

ANY = "any"
"""Instead of a tier: each op that uses shared weights has a home of its own choice for them (see ``agreement``)."""


class _Ways(NamedTuple):
    """Holds the ways to run an op, and the bytes of the largest stream of weights that one of them asks for."""

    variants: Sequence[Variant]
    streamed_bytes: float


class VariantBuilder:
    """Builds the variants of ops for one policy, and for modes that differ in the home of shared weights alone.

    A variant's ``key`` is (tier of each phase or "-", ..., home), where home is that of the op's large weights, or of its cache
    for an attention; an attention that several tiers share is on ``split``, and its key goes on with ``tier=units``.

    Streamed weights arrive ahead of their use, under compute, so they load links.
    """

    def __init__(
        self,
        paired: PairedGraphs,
        costing: Costing,
        policy: Policy,
        streaming: bool,
        kept: Mapping[str, KeptInput],
    ) -> None:
        self._costs, self._policy = ModeCosts(paired, costing), policy
        self._attentions = AttentionVariants(self._costs, policy, streaming, kept, paired.known_splits)
        self._streaming = streaming
        self._paired, self._owners, self._kept = paired, paired.owners, kept
        self._held = frozenset(n for k in kept.values() for n in k.params)
        self._made: dict[Hashable, _Ways] = {}

    @property
    def resources(self) -> tuple[tuple[str, int], ...]:
        """Returns (name, phase) of each overlappable resource used so far."""
        return self._costs.resources

    def stream_buffer_bytes(self, shared_home: str) -> float:
        """Returns the room for streams: of caches and of weights together only where caches have to be streamed anyway."""
        policy, costs = self._policy, self._costs
        caches = cache_buffer_bytes(self._attentions.largest_stream)
        weights, largest = 0.0, max(ways.streamed_bytes for ways in self._ways(shared_home).values())
        if largest:
            memory = costs.costing.capacity_bytes("gpu")
            weights = weight_buffer_bytes(largest, self._paired.weights_of_a_layer, memory)
        apart = set(policy.cache_homes).isdisjoint(policy.decode_attention)
        return caches + weights if apart else max(caches, weights)

    def all(self, shared_home: str) -> list[Sequence[Variant]]:
        """Returns the variants of every op; ops that are alike share them.

        Args:
            shared_home: Tier of weights that several ops use, or ``ANY``.
        """
        ways = self._ways(shared_home)
        return [ways[form].variants for form in self._forms]

    def attentions(self) -> dict[int, Sequence[Variant]]:
        """Returns the variants of every attention, by the number of its pair."""
        attend = {form for form, (_, attends, _) in self._kinds.items() if attends}
        return {
            number: self._ways_of(form, "").variants
            for number, form in enumerate(self._forms)
            if form in attend
        }

    def _ways(self, shared_home: str) -> dict[Hashable, _Ways]:
        """Returns the ways to run each form of op."""
        return {form: self._ways_of(form, shared_home) for form in self._kinds}

    def _ways_of(self, form: Hashable, shared_home: str) -> _Ways:
        """Returns the ways to run a form of op; only those of shared weights depend on the home of these."""
        number, attends, shared = self._kinds[form]
        key = (form, shared_home if shared else "")
        if key not in self._made:
            pair = self._paired.pairs[number]
            if attends:
                self._made[key] = _Ways(self._attentions.of(pair, self._paired.classes[number]), 0.0)
            else:
                self._made[key] = self._compute_variants(pair, shared_home)
        return self._made[key]

    @cached_property
    def _forms(self) -> Sequence[Hashable]:
        """Returns for each pair of ops what it shares with those that have the same variants."""
        pairs, classes = self._paired.pairs, self._paired.classes
        return classes if not self._kept else list(map(self._form, pairs, classes))

    @cached_property
    def _kinds(self) -> Mapping[Hashable, Kind]:
        """Returns what each form of op is."""
        return self._paired.kinds_of(self._forms) if self._kept else self._paired.kinds_of_classes

    def _form(self, pair: PairedOp, number: int) -> Hashable:
        kept = self._kept.get(pair.name)
        held = any(op and not self._held.isdisjoint(op.params) for op in pair.ops)
        return number, held, kept and (kept.form, kept.homes)

    def _compute_variants(self, pair: PairedOp, shared_home: str) -> _Ways:
        ops = [op for op in pair.ops if op]
        names = sorted({n for op in ops for n in op.params if n in self._costs.param_bytes})
        gathered = {n for op in ops for n in op.gathered}
        states = {s for op in ops for s in op.states if s in self._costs.state_bytes}
        fixed = bool(states) or any(n in gathered for n in names)
        owned = [n for n in names if self._owners.get(n, pair.name) == pair.name]
        large = sum(self._costs.param_bytes[n] for n in names) >= SMALL_WEIGHT_BYTES
        fixed_home = shared_home if shared_home != ANY and any(n in self._owners for n in names) else None
        tiers = self._policy.compute if not states and not self._costs.overlap else self._policy.compute[:1]
        variants: list[Variant] = []
        streamed_bytes = 0.0
        for placed in itertools.product(*[tiers if op else (None,) for op in pair.ops]):
            used = {t for t in placed if t}
            for home in self._weight_homes(large, fixed_home, not self._held.isdisjoint(names), used):
                if fixed and large and used != {home}:
                    continue
                variant, moved = self._compute_variant(pair, placed, home, large, names, owned, states)
                variants.append(variant)
                streamed_bytes = max(streamed_bytes, moved)
        return _Ways(tuple(variants), streamed_bytes)

    def _weight_homes(
        self, large: bool, fixed_home: str | None, held: bool, used: set[str]
    ) -> tuple[str, ...]:
        if not large:
            return ("-",)
        homes = (fixed_home,) if fixed_home else self._policy.weight_homes
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
    ) -> tuple[Variant, float]:
        """Returns a variant, and the bytes of the largest stream of weights that it asks for."""
        memory = dict.fromkeys(TIERS, 0.0)
        for tier in {t for t in placed if t} if not large else {home}:
            memory[tier] += sum(self._costs.held_bytes(n, tier) for n in owned)
        for tier in {t for t in placed if t}:
            memory[tier] += sum(self._costs.held_bytes(s, tier) for s in states)
        seconds = [0.0] * len(placed)
        working = dict.fromkeys(TIERS, 0.0)
        busy: Loads = {}
        streamed_bytes = 0.0
        for phase, (op, tier) in enumerate(zip(pair.ops, placed, strict=True)):
            if op is None or tier is None:
                continue
            seconds[phase] = self._costs.run_s(phase, op, tier) * self._costs.repeats(phase)
            working[tier] += seconds[phase]
            if large and home != tier:
                moved = float(sum(self._costs.param_bytes[n] for n in names if n in op.params))
                streamed_bytes = max(streamed_bytes, moved)
                self._costs.stream(busy, phase, moved, home, tier)
        return self._costs.variant(placed, seconds, memory, busy, home, working), streamed_bytes
