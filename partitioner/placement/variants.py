"""Lists the ways to run an op: where in each phase, with weights and caches living where, at what cost."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from functools import cached_property

from partitioner.costing import TIERS, Costing
from partitioner.ir.graph import OpGraph
from partitioner.ir.op import Attention, Op
from partitioner.jaxpr import num_bytes
from partitioner.passes.fold_blocks import PairedOp
from partitioner.placement.drive_seconds import drives_attend_s, drives_read_s
from partitioner.placement.policies import Policy
from partitioner.placement.problem import Variant
from partitioner.placement.recompute import KeptInput, stream_cost
from partitioner.placement.split_variants import SplitCost, split_costs
from partitioner.plan.decisions import SPLIT
from partitioner.plan.names import folded
from partitioner.plan.stream_buffers import cache_buffer_bytes, weight_buffer_bytes

SMALL_WEIGHT_BYTES = 1 << 20
"""Weights below this are kept on every device that uses them: streaming them would cost a latency each."""

STREAMS_SHARE = 0.85
"""Share of a link's time that streams of weights count on. The rest goes to what has to cross meanwhile, to the first stream of
a step, under which nothing runs, and to steps at short contexts, which are over sooner than those the sum stands for."""

FLASH = "csd.flash"

ANY = "any"
"""Instead of a tier: each op that uses shared weights has a home of its own choice for them (see ``shared_homes``)."""


class VariantBuilder:
    """Builds the variants of ops for one policy and mode.

    A variant's ``key`` is (tier of each phase or "-", ..., home), where home is that of the op's large weights, or of its cache
    for an attention; an attention that several tiers share is on ``split``, and its key goes on with ``tier=units``.

    Streamed weights arrive ahead of their use, under compute, so they load links; streamed caches are waited for.

    With micro-batches all ops but attentions run on the GPU, and one layer after the other takes as long as what is busiest in
    it: the GPU with the ops and its shares of the attention for all micro-batches, or the others with theirs. An attention's
    seconds then are those of its layer, less the seconds that the layer's other ops have already.
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
        self._graphs, self._costing, self._policy = graphs, costing, policy
        self._shared_home, self._streaming = shared_home, streaming
        self._phases = [g.phase.name for g in graphs]
        self._prefill = "prefill" in self._phases
        workload = costing.workload
        self._contexts = workload.decode_contexts(with_prefill=self._prefill)
        self._steps = [self._executions(g) for g in graphs]
        self._scales = [
            costing.rows / g.phase.batch_size if g.phase.name == "decode" else 1.0 for g in graphs
        ]
        self._overlap = costing.micro_batches > 1
        self._param_bytes = {
            i.name: num_bytes(i.var) for g in graphs for i in g.phase.inputs if i.role == "param"
        }
        self._state_bytes = {i.name: num_bytes(i.var) for i in graphs[-1].phase.inputs if i.role == "cache"}
        self._owners = owners
        self._memo: dict[Hashable, tuple[Variant, ...]] = {}
        self._resource: dict[tuple[str, int], int] = {}
        self._largest_weights = self._largest_cache = 0.0
        self._kept = kept
        self._known_splits = known_splits
        self._num_attentions = sum(op.attention is not None for op in graphs[-1].ops)
        self._held = frozenset(n for k in kept.values() for n in k.params)

    @property
    def resources(self) -> tuple[tuple[str, int], ...]:
        """Returns (name, phase) of each overlappable resource used so far."""
        return tuple(self._resource)

    @property
    def stream_buffer_bytes(self) -> float:
        """Returns the room for streams: of caches and of weights together only where caches have to be streamed anyway."""
        policy = self._policy
        caches = cache_buffer_bytes(self._largest_cache)
        weights = 0.0
        if self._largest_weights:
            memory = self._costing.capacity_bytes("gpu")
            weights = weight_buffer_bytes(self._largest_weights, self._weights_of_a_layer(), memory)
        apart = set(policy.cache_homes).isdisjoint(policy.decode_attention)
        return caches + weights if apart else max(caches, weights)

    def index_of(self, resource: str, phase: int) -> int:
        """Returns the index of an overlappable resource."""
        return self._resource.setdefault((resource, phase), len(self._resource))

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
            shared = tuple((n, self._owners[n] == pair.name) for n in op.params if n in self._owners)
            states = () if op.attention else op.states
            a = op.attention
            heads = a and (a.num_heads, a.num_kv_heads, a.head_size, a.cache_dtype)
            held = bool(self._held) and not a and not self._held.isdisjoint(op.params)
            rows.append((op.work, op.dtype, params, shared, states, heads, held))
        kept = self._kept.get(pair.name)
        return (*rows, kept and (kept.form, kept.homes))

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
        owned = [n for n in names if self._owners.get(n, pair.name) == pair.name]
        large = sum(self._param_bytes[n] for n in names) >= SMALL_WEIGHT_BYTES
        shared = any(n in self._owners for n in names)
        tiers = self._policy.compute if not states and not self._overlap else self._policy.compute[:1]
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
        owned_bytes = float(sum(self._param_bytes[n] for n in owned))
        for tier in {t for t in placed if t} if not large else {home}:
            memory[tier] += owned_bytes
        for tier in {t for t in placed if t}:
            memory[tier] += float(sum(self._state_bytes[s] for s in states))
        seconds = [0.0] * len(placed)
        working = dict.fromkeys(TIERS, 0.0)
        busy: dict[int, float] = {}
        for phase, (op, tier) in enumerate(zip(pair.ops, placed, strict=True)):
            if op is None or tier is None:
                continue
            seconds[phase] = self._run_s(phase, op, tier) * self._repeats(phase)
            working[tier] += seconds[phase]
            if large and home != tier:
                moved = float(sum(self._param_bytes[n] for n in names if n in op.params))
                self._largest_weights = max(self._largest_weights, moved)
                self._stream(busy, phase, moved, home, tier)
        return self._variant(placed, seconds, memory, busy, home, working)

    def _run_s(self, phase: int, op: Op, tier: str) -> float:
        """Returns the seconds of an op's own equations over the generation, for one micro-batch."""
        scale = self._scales[phase]
        weights = 0.0
        if scale != 1.0:
            read = [n for n in op.params if n in self._param_bytes and n not in op.gathered]
            weights = float(sum(self._param_bytes[n] for n in read))
        return self._steps[phase] * self._costing.run_cost(op, tier, scale, weights).seconds

    @cached_property
    def _ops_of_a_layer_s(self) -> float:
        """Returns what the GPU has to do for one micro-batch between one attention and the next, over the generation.

        Ops that come as often as attentions make up the layers; where none do, all ops are spread over the attentions.
        """
        decode, num_layers = len(self._graphs) - 1, self._num_layers
        others = [op for op in self._graphs[decode].ops if op.attention is None]
        repeated = self._ops_of_layers() or others
        return sum(self._run_s(decode, op, "gpu") for op in repeated) / max(1, num_layers)

    def _weights_of_a_layer(self) -> float:
        """Returns the bytes of the large weights between one attention and the next."""
        sizes = [sum(self._param_bytes.get(n, 0) for n in op.params) for op in self._ops_of_layers()]
        return sum(size for size in sizes if size >= SMALL_WEIGHT_BYTES) / max(1, self._num_layers)

    @property
    def _num_layers(self) -> int:
        return sum(op.attention is not None for op in self._graphs[-1].ops)

    def _ops_of_layers(self) -> list[Op]:
        """Returns the ops of a decode that come as often as attentions."""
        ops, num_layers = self._graphs[-1].ops, self._num_layers
        alike = Counter(folded(op.name) for op in ops)
        return [op for op in ops if op.attention is None and alike[folded(op.name)] == num_layers]

    def _layer_s(self, gpu_s: Sequence[float], others_s: Sequence[float], resume_s: float) -> float:
        """Returns the seconds an attention adds to its layer when micro-batches take turns, over the generation.

        Args:
            gpu_s: What the GPU does for the attention of one micro-batch, at each context length.
            others_s: What the slowest of the other tiers needs for it, from the operands to the output.
            resume_s: What the GPU needs to go on, over all contexts.
        """
        repeats, total_s = self._costing.micro_batches, 0.0
        steps = sum(weight for _, weight in self._contexts)
        for (_, weight), attend_s, away_s in zip(self._contexts, gpu_s, others_s, strict=True):
            ops_s = self._ops_of_a_layer_s * weight / steps
            own_s = attend_s + resume_s * weight / steps
            total_s += max(repeats * max(ops_s + own_s, away_s), ops_s + max(own_s, away_s))
        return total_s - repeats * self._ops_of_a_layer_s

    def _stream(self, busy: dict[int, float], phase: int, moved: float, src: str, dst: str) -> None:
        """Adds a stream for each execution to the load of links."""
        times = self._steps[phase] * self._repeats(phase) / STREAMS_SHARE
        for resource, seconds in self._costing.link_load(moved, src, dst).items():
            self._add(busy, phase, resource, seconds * times)

    def _repeats(self, phase: int) -> int:
        """Returns how many micro-batches execute a phase."""
        return self._costing.micro_batches if self._phases[phase] == "decode" else 1

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
        if pair.name in self._kept:
            variants += self._kept_variants(pair, self._kept[pair.name], options)
        if "kv" not in policy.cache_forms:
            return tuple(variants)
        if self._policy.split and pair.ops[-1] is not None and "gpu" in options[0]:
            variants += self._split_variants(pair, attention, allowed["decode"])
        for placed in itertools.product(*options):
            if self._overlap and placed[-1] != "gpu":
                continue
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
        costing = self._costing
        memory = dict.fromkeys(TIERS, 0.0)
        memory[home] = costing.cache_bytes(attention, home)
        seconds = [0.0] * len(placed)
        working = dict.fromkeys(TIERS, 0.0)
        busy: dict[int, float] = {}
        for phase, (op, tier) in enumerate(zip(pair.ops, placed, strict=True)):
            if op is None or tier is None:
                continue
            if self._phases[phase] == "prefill":
                seconds[phase] = self._run_s(phase, op, tier)
                working[tier] += seconds[phase]
                if home != tier:
                    working["csd"] += self._store(busy, phase, attention, tier, home, 1.0)
            elif tier == "csd":
                seconds[phase] = sum(
                    weight * costing.attend_cost(attention, context).seconds
                    for context, weight in self._contexts
                )
                working[tier] += drives_attend_s(costing, attention, self._contexts)
            else:
                seconds[phase] = self._run_s(phase, op, tier) * self._repeats(phase)
                working[tier] += seconds[phase]
                if home == "csd":
                    read_s = drives_read_s(costing, attention, self._contexts)
                    working[home] += self._repeats(phase) * read_s
                if home != tier:
                    seconds[phase] += self._repeats(phase) * self._stream_cache_s(attention, home, tier)
                    if self._kept:
                        self._fetch(busy, phase, attention, home, 0.0)
        return self._variant(placed, seconds, memory, busy, home, working)

    def _kept_variants(
        self, pair: PairedOp, kept: KeptInput, options: Sequence[Sequence[str | None]]
    ) -> Iterator[Variant]:
        """Yields the ways to attend on the GPU to K and V made again of stored inputs."""
        decode = len(pair.ops) - 1
        streamed = self._costing.kv_bytes(kept.attention, self._costing.workload.max_len)
        self._largest_cache = max(self._largest_cache, streamed)
        for placed, home in itertools.product(itertools.product(*options), kept.homes):
            if placed[decode] != "gpu":
                continue
            memory = dict.fromkeys(TIERS, 0.0)
            memory[home] = self._costing.cache_bytes(kept.attention, home)
            busy: dict[int, float] = {}
            seconds = [0.0] * len(placed)
            working = dict.fromkeys(TIERS, 0.0)
            if decode and pair.ops[0] and placed[0]:
                seconds[0] = self._run_s(0, pair.ops[0], placed[0])
                working[placed[0]] += seconds[0]
                if home != "gpu":
                    working["csd"] += self._store(busy, 0, kept.attention, "gpu", home, 1.0)
            run_s = self._run_s(decode, kept.op, "gpu") * self._repeats(decode)
            working["gpu"] += run_s
            if home == "csd":
                read_s = drives_read_s(self._costing, kept.attention, self._contexts)
                working[home] += self._repeats(decode) * read_s
            seconds[decode] = self._fetch(busy, decode, kept.attention, home, run_s)
            yield self._variant(placed, seconds, memory, busy, home, working, "input")

    def _fetch(
        self, busy: dict[int, float], phase: int, attention: Attention, home: str, run_s: float
    ) -> float:
        """Loads links and drives with the streams of a cache to the GPU, each under the ops of one layer.

        Returns:
            The seconds of an attention that runs for ``run_s`` over the generation: as many as its layer takes with the stream,
            less those of the layer's other ops, and its part of what the first layer waits.
        """
        cost = stream_cost(self._costing, attention, home, self._contexts)
        times = self._repeats(phase)
        for resource, seconds in cost.loads.items():
            self._add(busy, phase, resource, times * seconds)
        if cost.flash_s:
            self._add(busy, phase, FLASH, times * cost.flash_s)
        ops_s = self._ops_of_a_layer_s
        steps = sum(weight for _, weight in self._contexts) or 1.0
        layer_s = times * sum(
            weight * max((ops_s + run_s / times) / steps, fetch_s)
            for (_, weight), fetch_s in zip(self._contexts, cost.fetch_s, strict=True)
        )
        return max(run_s, layer_s - times * ops_s) + times * cost.first_s / max(1, self._num_attentions)

    def _split_variants(
        self, pair: PairedOp, attention: Attention, tiers: Sequence[str]
    ) -> Iterator[Variant]:
        """Yields the ways to share an attention; those that a single tier can do without commands are left to others."""
        costing, decode = self._costing, len(pair.ops) - 1
        op, prefill = pair.ops[decode], pair.ops[0] if decode else None
        assert op is not None
        num_rows = self._graphs[decode].phase.batch_size
        units = costing.grid(attention).num_units
        whole = {tier: costing.cache_bytes(attention, tier) if tier in tiers else 0.0 for tier in TIERS}
        prefill_s = self._run_s(0, prefill, "gpu") if prefill else 0.0
        stores: dict[tuple[str, int], tuple[dict[int, float], float]] = {}
        form = (costing, self._form(pair), tuple(tiers))
        if form not in self._known_splits:
            costs = split_costs(costing, op, attention, tiers, self._contexts, num_rows)
            self._known_splits[form] = tuple(costs)
        for cost in self._known_splits[form]:
            alone = cost.split[0][0] if len(cost.split) == 1 else ""
            if alone == "gpu" or (alone == "csd" and not self._overlap):
                continue
            busy: dict[int, float] = {}
            memory = dict.fromkeys(TIERS, 0.0)
            written_s = 0.0
            for tier, part in cost.split:
                memory[tier] = whole[tier] * part / units
                if prefill and tier != "gpu":
                    if (tier, part) not in stores:
                        load: dict[int, float] = {}
                        stores[tier, part] = load, self._store(load, 0, attention, "gpu", tier, part / units)
                    written_s += stores[tier, part][1]
                    for index, seconds in stores[tier, part][0].items():
                        busy[index] = busy.get(index, 0.0) + seconds
            if self._overlap:
                together_s = self._layer_s(cost.gpu_s, cost.others_s, cost.resume_s)
            else:
                together_s = sum(map(max, cost.gpu_s, cost.others_s)) + cost.resume_s
            seconds = [prefill_s, together_s] if decode else [together_s]
            yield Variant(
                tiers=((0 if prefill else None), 0) if decode else (0,),
                seconds=tuple(seconds),
                memory=tuple(memory[t] for t in TIERS),
                busy=tuple(sorted(busy.items())),
                key=(
                    *(("gpu" if prefill else "-",) if decode else ()),
                    SPLIT,
                    SPLIT,
                    *(f"{tier}={part}" for tier, part in cost.split),
                ),
                working=tuple(
                    self._repeats(decode) * s + {"gpu": prefill_s, "csd": written_s}.get(tier, 0.0)
                    for tier, s in zip(TIERS, cost.working_s, strict=True)
                ),
            )

    def _store(
        self, busy: dict[int, float], phase: int, attention: Attention, src: str, dst: str, fraction: float
    ) -> float:
        """Adds what it takes to bring a prefill's K and V to where they live; returns the seconds in which drives write."""
        costing = self._costing
        tokens = costing.workload.prompt_len
        stored = costing.kv_bytes(attention, tokens, fraction) * costing.micro_batches
        for resource, seconds in costing.link_load(stored, src, dst).items():
            self._add(busy, phase, resource, seconds)
        if dst != "csd":
            return 0.0
        once = costing.flash_write_s(stored / self._steps[phase])
        self._add(busy, phase, FLASH, self._steps[phase] * once)
        return self._steps[phase] * once * len(costing.drives)

    def _stream_cache_s(self, attention: Attention, home: str, tier: str) -> float:
        """Returns the time all decode steps take to ship a cache to where it is used, and the new entries back.

        It is on the critical path: what reads the cache at home is needed there for other shares and layers.
        """
        costing = self._costing
        self._largest_cache = max(self._largest_cache, costing.kv_bytes(attention, costing.workload.max_len))
        back_s = costing.transfer_s(costing.kv_bytes(attention, 1), tier, home)
        total = 0.0
        for context, weight in self._contexts:
            shipped = costing.transfer_s(costing.kv_bytes(attention, context - 1), home, tier)
            read = 0.0
            if home == "csd":
                read = costing.flash_read_s(costing.flash_bytes(attention, context - 1))
            total += weight * (max(shipped, read) + costing.latency_s(home, tier) + back_s)
        return total

    def _add(self, busy: dict[int, float], phase: int, resource: str, seconds: float) -> None:
        index = self.index_of(resource, phase)
        busy[index] = busy.get(index, 0.0) + seconds

    def _variant(
        self,
        placed: tuple[str | None, ...],
        seconds: Sequence[float],
        memory: dict[str, float],
        busy: dict[int, float],
        home: str,
        working: dict[str, float],
        *more: str,
    ) -> Variant:
        return Variant(
            tiers=tuple(None if t is None else TIERS.index(t) for t in placed),
            seconds=tuple(seconds),
            memory=tuple(memory[t] for t in TIERS),
            busy=tuple(sorted(busy.items())),
            key=(*(t or "-" for t in placed), home, *more),
            working=tuple(working[t] for t in TIERS),
        )
