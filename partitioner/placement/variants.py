"""Lists the ways to run an op: where in each phase, with weights and caches living where, at what cost."""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Sequence

from cost_models import Hop
from partitioner.costing import TIERS, Costing
from partitioner.ir.graph import OpGraph
from partitioner.ir.op import Attention
from partitioner.jaxpr import num_bytes
from partitioner.passes.fold_blocks import PairedOp
from partitioner.placement.policies import Policy
from partitioner.placement.problem import Variant

SMALL_WEIGHT_BYTES = 1 << 20
"""Weights below this are kept on every device that uses them: streaming them would cost a latency each."""

FLASH = "csd.flash"


class VariantBuilder:
    """Builds the variants of ops for one policy and mode.

    A variant's ``key`` is (tier of each phase or "-", ..., home), where home is that of the op's large weights, or of its cache
    for an attention.
    """

    def __init__(
        self,
        graphs: Sequence[OpGraph],
        costing: Costing,
        policy: Policy,
        shared_home: str,
        streaming: bool,
        shared_params: frozenset[str],
    ) -> None:
        self._graphs, self._costing, self._policy = graphs, costing, policy
        self._shared_home, self._streaming = shared_home, streaming
        self._phases = [g.phase.name for g in graphs]
        self._prefill = "prefill" in self._phases
        workload = costing.workload
        self._contexts = workload.decode_contexts(with_prefill=self._prefill)
        self._steps = [self._executions(g) for g in graphs]
        self._param_bytes = {
            i.name: num_bytes(i.var) for g in graphs for i in g.phase.inputs if i.role == "param"
        }
        self._state_bytes = {i.name: num_bytes(i.var) for i in graphs[-1].phase.inputs if i.role == "cache"}
        self._shared = shared_params
        self._counted: set[str] = set()
        self._memo: dict[Hashable, tuple[Variant, ...]] = {}
        self._resource: dict[tuple[str, int], int] = {}
        self.stream_buffer_bytes = 0.0

    @property
    def resources(self) -> tuple[tuple[str, int], ...]:
        """Returns (name, phase) of each overlappable resource used so far."""
        return tuple(self._resource)

    def of(self, pair: PairedOp) -> tuple[Variant, ...]:
        """Returns the variants of an op; ops that are alike share them."""
        alike = self._form(pair)
        if alike not in self._memo:
            attention = any(op and op.attention for op in pair.ops)
            self._memo[alike] = (self._attention_variants if attention else self._compute_variants)(pair)
        return self._memo[alike]

    def _form(self, pair: PairedOp) -> Hashable:
        """Returns all of an op that its variants depend on."""
        rows: list[Hashable] = []
        for op in pair.ops:
            if op is None:
                rows.append(None)
                continue
            params = tuple((self._param_bytes.get(n), n in op.gathered) for n in op.params)
            shared = tuple((n, n in self._counted) for n in op.params if n in self._shared)
            states = () if op.attention else op.states
            a = op.attention
            heads = a and (a.num_heads, a.num_kv_heads, a.head_size, a.cache_dtype)
            rows.append((op.work, op.dtype, params, shared, states, heads))
        return tuple(rows)

    def _executions(self, graph: OpGraph) -> float:
        if graph.phase.name == "prefill":
            return self._costing.workload.batch_size / graph.phase.batch_size
        return sum(weight for _, weight in self._contexts)

    def _compute_variants(self, pair: PairedOp) -> tuple[Variant, ...]:
        ops = [op for op in pair.ops if op]
        names = sorted({n for op in ops for n in op.params if n in self._param_bytes})
        gathered = {n for op in ops for n in op.gathered}
        states = {s for op in ops for s in op.states if s in self._state_bytes}
        fixed = bool(states) or any(n in gathered for n in names)
        owned = [n for n in names if n not in self._shared or n not in self._counted]
        self._counted.update(n for n in names if n in self._shared)
        large = sum(self._param_bytes[n] for n in names) >= SMALL_WEIGHT_BYTES
        shared = any(n in self._shared for n in names)
        tiers = self._policy.compute if not states else self._policy.compute[:1]
        variants: list[Variant] = []
        for placed in itertools.product(*[tiers if op else (None,) for op in pair.ops]):
            used = {t for t in placed if t}
            for home in self._weight_homes(large, shared, used):
                if fixed and large and used != {home}:
                    continue
                variants.append(self._compute_variant(pair, placed, home, large, names, owned, states))
        return tuple(variants)

    def _weight_homes(self, large: bool, shared: bool, used: set[str]) -> tuple[str, ...]:
        if not large:
            return ("-",)
        homes = (self._shared_home,) if shared else self._policy.weight_homes
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
        owned_bytes = float(sum(self._param_bytes[n] for n in owned))
        for tier in {t for t in placed if t} if not large else {home}:
            memory[tier] += owned_bytes
        for tier in {t for t in placed if t}:
            memory[tier] += float(sum(self._state_bytes[s] for s in states))
        seconds = [0.0] * len(placed)
        for phase, (op, tier) in enumerate(zip(pair.ops, placed, strict=True)):
            if op is None or tier is None:
                continue
            seconds[phase] = self._steps[phase] * self._costing.run_cost(op, tier).seconds
            if large and home != tier:
                moved = float(sum(self._param_bytes[n] for n in names if n in op.params))
                self.stream_buffer_bytes = max(self.stream_buffer_bytes, 2 * moved)
                once = self._costing.transfer_s(moved, home, tier) + self._costing.latency_s(home, tier)
                seconds[phase] += self._steps[phase] * once
        return self._variant(placed, seconds, memory, {}, home)

    def _attention_variants(self, pair: PairedOp) -> tuple[Variant, ...]:
        policy, costing = self._policy, self._costing
        attention = next(op.attention for op in reversed(pair.ops) if op and op.attention)
        variants: list[Variant] = []
        allowed = {
            "prefill": policy.prefill_attention,
            "decode": tuple(t for t in policy.decode_attention if t != "csd" or costing.can_attend()),
        }
        homes = tuple(h for h in policy.cache_homes if h != "csd" or costing.drives)
        options = [allowed[p] if op else (None,) for p, op in zip(self._phases, pair.ops, strict=True)]
        for placed in itertools.product(*options):
            for home in homes:
                if placed[-1] == "csd" and home != "csd":
                    continue
                if placed[-1] != home and not self._streaming:
                    continue
                if home == "gpu" and placed[-1] != "gpu":
                    continue
                variants.append(self._attention_variant(pair, attention, placed, home))
        return tuple(variants)

    def _attention_variant(
        self, pair: PairedOp, attention: Attention, placed: tuple[str | None, ...], home: str
    ) -> Variant:
        costing, workload = self._costing, self._costing.workload
        memory = dict.fromkeys(TIERS, 0.0)
        memory[home] = costing.cache_bytes(attention, home)
        seconds = [0.0] * len(placed)
        busy: dict[int, float] = {}
        for phase, (op, tier) in enumerate(zip(pair.ops, placed, strict=True)):
            if op is None or tier is None:
                continue
            if self._phases[phase] == "prefill":
                seconds[phase] = self._steps[phase] * costing.run_cost(op, tier).seconds
                if home != tier:
                    stored = costing.kv_bytes(attention, workload.prompt_len)
                    self._load(busy, phase, costing.hop_seconds(stored, tier, home), 1.0)
                    if home == "csd":
                        once = costing.flash_write_s(stored / self._steps[phase])
                        self._add(busy, phase, FLASH, self._steps[phase] * once)
            elif tier == "csd":
                seconds[phase] = sum(
                    weight * costing.attend_cost(attention, context).seconds
                    for context, weight in self._contexts
                )
            else:
                seconds[phase] = self._steps[phase] * costing.run_cost(op, tier).seconds
                if home != tier:
                    seconds[phase] += self._stream_cache_s(phase, attention, home, tier)
        return self._variant(placed, seconds, memory, busy, home)

    def _stream_cache_s(self, phase: int, attention: Attention, home: str, tier: str) -> float:
        """Returns the time all decode steps take to ship a cache to where it is used, and the new entries back."""
        costing = self._costing
        self.stream_buffer_bytes = max(
            self.stream_buffer_bytes, 2 * costing.kv_bytes(attention, costing.workload.max_len)
        )
        latency = costing.latency_s(home, tier)
        total = self._steps[phase] * costing.transfer_s(costing.kv_bytes(attention, 1), tier, home)
        for context, weight in self._contexts:
            cached = costing.kv_bytes(attention, context - 1)
            shipped = costing.transfer_s(cached, home, tier)
            read = costing.flash_read_s(cached) if home == "csd" else 0.0
            total += weight * (max(shipped, read) + latency)
        return total

    def _load(self, busy: dict[int, float], phase: int, hops: dict[Hop, float], times: float) -> None:
        for (link, direction), seconds in hops.items():
            self._add(busy, phase, f"{link}.{direction}", seconds * times)

    def _add(self, busy: dict[int, float], phase: int, resource: str, seconds: float) -> None:
        index = self._resource.setdefault((resource, phase), len(self._resource))
        busy[index] = busy.get(index, 0.0) + seconds

    def _variant(
        self,
        placed: tuple[str | None, ...],
        seconds: Sequence[float],
        memory: dict[str, float],
        busy: dict[int, float],
        home: str,
    ) -> Variant:
        return Variant(
            tiers=tuple(None if t is None else TIERS.index(t) for t in placed),
            seconds=tuple(seconds),
            memory=tuple(memory[t] for t in TIERS),
            busy=tuple(sorted(busy.items())),
            key=(*(t or "-" for t in placed), home),
        )
