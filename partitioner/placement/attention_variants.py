"""Lists the ways to run an attention: on one tier with its cache there or elsewhere, on several, or of stored inputs."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from operator import add

from partitioner.ir.op import Attention
from partitioner.passes.fold_blocks import PairedOp
from partitioner.placement.drive_seconds import drives_attend_s, drives_read_s
from partitioner.placement.known_splits import KnownSplits
from partitioner.placement.mode_costs import FLASH, Loads, ModeCosts
from partitioner.placement.newest_variants import NewestVariants
from partitioner.placement.policies import Policy
from partitioner.placement.recompute import KeptInput, stream_cost
from partitioner.placement.shared_variants import SharedVariants
from partitioner.placement.variant_list import Variant, joined
from partitioner.tier_links import TIERS


class AttentionVariants:
    """Builds the variants of attentions.

    Streamed caches of K and V are waited for; streamed inputs run under the rest of their layer.

    Args:
        costs: Of the mode.
        policy: Which choices there are.
        streaming: Whether K and V may be used away from home.
        kept: Caches of inputs that are offered, by attention op.
        known: Ways to share attentions that any mode has asked for; filled here.

    Attributes:
        largest_stream: Bytes of the largest cache that a variant streams.
    """

    def __init__(
        self,
        costs: ModeCosts,
        policy: Policy,
        streaming: bool,
        kept: Mapping[str, KeptInput],
        known: KnownSplits,
    ) -> None:
        self._costs, self._policy, self._streaming = costs, policy, streaming
        self._kept, self._shared, self._newest = kept, SharedVariants(costs, known), NewestVariants(costs)
        self.largest_stream = 0.0

    def of(self, pair: PairedOp, number: int) -> Sequence[Variant]:
        """Returns the variants of an attention of the class of a number."""
        policy, costing = self._policy, self._costs.costing
        attention = next(op.attention for op in reversed(pair.ops) if op and op.attention)
        allowed = {
            "prefill": policy.prefill_attention,
            "decode": tuple(t for t in policy.decode_attention if t != "csd" or costing.can_attend()),
        }
        homes = tuple(h for h in policy.homes_of("kv") if h != "csd" or costing.links.drives)
        options = [allowed[p] if op else (None,) for p, op in zip(self._costs.phases, pair.ops, strict=True)]
        shareable = policy.split and pair.ops[-1] is not None and "gpu" in options[0]
        shareable = shareable and "kv" in policy.cache_forms
        shared = self._shared.of(pair, number, attention, allowed["decode"]) if shareable else ()
        again = self._kept_variants(pair, self._kept[pair.name], options) if pair.name in self._kept else ()
        if "kv" not in policy.cache_forms:
            return tuple(again)
        variants: list[Variant] = []
        everywhere = {"gpu", "host", "csd"}.issubset(allowed["decode"])
        # beside caches of inputs there are none, whose streams fill the links that windows need
        if shareable and policy.newest and everywhere and not self._kept:
            variants += self._newest.of(pair, attention)
        for placed in itertools.product(*options):
            if self._costs.overlap and placed[-1] != "gpu":
                continue
            for home in homes:
                if placed[-1] == "csd" and home != "csd":
                    continue
                if placed[-1] != home and not self._streaming:
                    continue
                if home == "gpu" and placed[-1] != "gpu":
                    continue
                if shareable and placed[-1] == home == "host" and placed[0] != "host":
                    continue  # the host's kernel, a share that is the whole, attends sooner than the model's equations do
                variants.append(self._attention_variant(pair, attention, placed, home))
        return joined([tuple(again), shared, tuple(variants)])

    def _attention_variant(
        self, pair: PairedOp, attention: Attention, placed: tuple[str | None, ...], home: str
    ) -> Variant:
        costing = self._costs.costing
        if placed[-1] != "csd":  # what is read elsewhere is read whole, and kept once
            attention = dataclasses.replace(attention, sparsity=None)
        memory = dict.fromkeys(TIERS, 0.0)
        memory[home] = costing.cache_bytes(attention, home)
        seconds = [0.0] * len(placed)
        working = dict.fromkeys(TIERS, 0.0)
        busy: Loads = {}
        for phase, (op, tier) in enumerate(zip(pair.ops, placed, strict=True)):
            if op is None or tier is None:
                continue
            if self._costs.phases[phase] == "prefill":
                seconds[phase] = self._costs.run_s(phase, op, tier)
                working[tier] += seconds[phase]
                if home != tier:
                    working["csd"] += self._costs.store(busy, phase, attention, tier, home, 1.0)
            elif tier == "csd":
                seconds[phase] = sum(
                    weight * costing.attend_cost(attention, context).seconds
                    for context, weight in self._costs.contexts
                )
                seconds[phase] += self._costs.layers_s(phase, op)
                working[tier] += drives_attend_s(costing, attention, self._costs.contexts)
            else:
                seconds[phase] = self._costs.run_s(phase, op, tier) * self._costs.repeats(phase)
                working[tier] += seconds[phase]
                seconds[phase] += self._costs.layers_s(phase, op)
                if home == "csd":
                    read_s = drives_read_s(costing, attention, self._costs.contexts)
                    working[home] += self._costs.repeats(phase) * read_s
                if home != tier:
                    seconds[phase] += self._costs.repeats(phase) * self._stream_cache_s(attention, home, tier)
                    if self._kept:
                        self._fetch(busy, phase, attention, home, 0.0)
        return self._costs.variant(placed, seconds, memory, busy, home, working)

    def _kept_variants(
        self, pair: PairedOp, kept: KeptInput, options: Sequence[Sequence[str | None]]
    ) -> Iterator[Variant]:
        """Yields the ways to attend on the GPU to K and V made again of stored inputs."""
        decode = len(pair.ops) - 1
        streamed = self._costs.costing.kv_bytes(kept.attention, self._costs.costing.workload.max_len)
        self.largest_stream = max(self.largest_stream, streamed)
        for placed, home in itertools.product(itertools.product(*options), kept.homes):
            if placed[decode] != "gpu":
                continue
            memory = dict.fromkeys(TIERS, 0.0)
            memory[home] = self._costs.costing.cache_bytes(kept.attention, home)
            busy: Loads = {}
            seconds = [0.0] * len(placed)
            working = dict.fromkeys(TIERS, 0.0)
            if decode and pair.ops[0] and placed[0]:
                seconds[0] = self._costs.run_s(0, pair.ops[0], placed[0])
                working[placed[0]] += seconds[0]
                if home != "gpu":
                    working["csd"] += self._costs.store(busy, 0, kept.attention, "gpu", home, 1.0)
            run_s = self._costs.run_s(decode, kept.op, "gpu") * self._costs.repeats(decode)
            working["gpu"] += run_s
            if home == "csd":
                read_s = drives_read_s(self._costs.costing, kept.attention, self._costs.contexts)
                working[home] += self._costs.repeats(decode) * read_s
            seconds[decode] = self._fetch(busy, decode, kept.attention, home, run_s)
            seconds[decode] += self._costs.layers_s(decode, kept.op)
            yield self._costs.variant(placed, seconds, memory, busy, home, working, "input")

    def _fetch(self, busy: Loads, phase: int, attention: Attention, home: str, run_s: float) -> float:
        """Loads links and drives with the streams of a cache to the GPU, each under the ops of one layer.

        Returns:
            The seconds of an attention that runs for ``run_s`` over the generation: as many as its layer takes with the stream,
            less those of the layer's other ops, and its part of what the first layer waits.
        """
        cost = stream_cost(self._costs.costing, attention, home, self._costs.contexts)
        times = self._costs.repeats(phase)
        for resource, seconds in cost.loads.items():
            self._costs.add(busy, phase, resource, times * seconds)
        if cost.flash_s:
            self._costs.add(busy, phase, FLASH, times * cost.flash_s)
        ops_s = self._costs.ops_of_a_layer_s
        steps = sum(weight for _, weight in self._costs.contexts) or 1.0
        together = (
            max if self._costs.costing.hw.software is None else add
        )  # published stacks do not copy ahead
        layer_s = times * sum(
            weight * together((ops_s + run_s / times) / steps, fetch_s)
            for (_, weight), fetch_s in zip(self._costs.contexts, cost.fetch_s, strict=True)
        )
        return max(run_s, layer_s - times * ops_s) + times * cost.first_s / max(1, self._costs.num_layers)

    def _stream_cache_s(self, attention: Attention, home: str, tier: str) -> float:
        """Returns the time all decode steps take to ship a cache to where it is used, and the new entries back.

        It is on the critical path: what reads the cache at home is needed there for other shares and layers.
        """
        costing = self._costs.costing
        self.largest_stream = max(self.largest_stream, costing.kv_bytes(attention, costing.workload.max_len))
        back_s = costing.links.transfer_s(costing.kv_bytes(attention, 1), tier, home)
        total = 0.0
        for context, weight in self._costs.contexts:
            fetch_s = costing.fetch_s(attention, context - 1, home, tier).seconds
            total += weight * (fetch_s + costing.links.latency_s(home, tier) + back_s)
        return total
