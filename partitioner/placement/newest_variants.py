"""Lists the ways to share an attention of which host memory keeps the newest tokens, and drives the older ones.

A share of rows or heads in host memory reserves room for its longest context and reads as many tokens as there are. A window of
the newest tokens is full from early on, so the same bytes relieve drives of more. It is offered where GPU and host have no room
for all K and V, in a few sizes (``window_sizes``), of which layers choose their own.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from partitioner.cut_costs import hand_out_s, share_bytes
from partitioner.ir.op import Attention
from partitioner.passes.fold_blocks import PairedOp
from partitioner.placement.mode_costs import Loads, ModeCosts
from partitioner.placement.variant_list import Variant
from partitioner.placement.window_sizes import window_sizes
from partitioner.plan.decisions import SPLIT
from partitioner.shares import Share


@dataclass(frozen=True)
class _Part:
    """Holds what a tier's part of one attention costs in all decode steps of one micro-batch.

    Attributes:
        seconds: At each context, times the steps there, from the operands to the output.
        working_s: Seconds in which its devices work, added up.
        memory_bytes: What it keeps, of the whole batch.
    """

    seconds: tuple[float, ...]
    working_s: float
    memory_bytes: float


class NewestVariants:
    """Builds variants in which the drives' part of an attention is cut along tokens.

    Args:
        costs: Of the mode.
    """

    def __init__(self, costs: ModeCosts) -> None:
        self._costs = costs

    def of(self, pair: PairedOp, attention: Attention) -> tuple[Variant, ...]:
        """Returns the ways with a window; none where they cannot pay, or where drives choose the tokens they attend to."""
        if not self._can_pay(attention):
            return ()
        return tuple(self._variants(pair, attention))

    def _can_pay(self, attention: Attention) -> bool:
        """Tells whether drives have to hold some of K and V, and there is memory of the host to relieve them."""
        costing = self._costs.costing
        if attention.sparsity is not None or attention.source is not None or not costing.can_attend():
            return False
        caches = costing.cache_bytes(attention, "host") * self._costs.num_layers
        room = self._left_on_gpu() + costing.capacity_bytes("host")
        return caches > room and costing.capacity_bytes("host") > 0.0

    def _left_on_gpu(self) -> float:
        """Returns the bytes that the GPU has beside all weights and activations: below zero what it has no room for."""
        weights = float(sum(self._costs.param_bytes.values()))
        return self._costs.costing.capacity_bytes("gpu") - weights - self._costs.activation_bytes

    def _variants(self, pair: PairedOp, attention: Attention) -> Iterator[Variant]:
        costs, costing, decode = self._costs, self._costs.costing, len(pair.ops) - 1
        op, prefill = pair.ops[decode], pair.ops[0] if decode else None
        assert op is not None
        units = costing.grid(attention).num_units
        prefill_s = costs.run_s(0, prefill, "gpu") if prefill else 0.0
        resume_s = sum(weight for _, weight in costs.contexts) * costing.launch_s("gpu")
        gpu = {0: _Part((0.0,) * len(costs.contexts), 0.0, 0.0)}
        for part, newest in self._cuts(attention, units):
            rest = units - part
            if rest not in gpu:
                gpu[rest] = self._part(attention, costing.split_shares(attention, (("gpu", rest),)))
            *older, window = costing.split_shares(attention, (("csd", part),), newest)
            drives, host = self._part(attention, older), self._part(attention, [window])
            away_s = np.maximum(drives.seconds, host.seconds)[:, None]
            own_s = np.array(gpu[rest].seconds)[:, None]
            if costs.overlap:
                decode_s = float(costs.layer_s(own_s, away_s, resume_s)[0])
            else:
                decode_s = float(np.maximum(own_s, away_s).sum()) + resume_s
            decode_s += costs.layers_s(decode, op)
            busy: Loads = {}
            written_s = self._store(busy, attention, older, window) if prefill else 0.0
            self._page_out(busy, decode, attention, window)
            parts = (gpu[rest], host, drives)
            first_s = (prefill_s + costs.repeats(decode) * resume_s, 0.0, written_s)
            split = [f"gpu={rest}"] if rest else []
            yield Variant(
                tiers=((0 if prefill else None), 0) if decode else (0,),
                seconds=(prefill_s, decode_s) if decode else (decode_s,),
                memory=tuple(p.memory_bytes for p in parts),
                busy=tuple(sorted(busy.items())),
                key=(
                    *(("gpu" if prefill else "-",) if decode else ()),
                    SPLIT,
                    SPLIT,
                    *split,
                    f"csd={part}",
                    f"newest={newest}",
                ),
                working=tuple(
                    costs.repeats(decode) * p.working_s + s for p, s in zip(parts, first_s, strict=True)
                ),
            )

    def _cuts(self, attention: Attention, units: int) -> Iterator[tuple[int, int]]:
        """Yields the units that drives have with the tokens of a window."""
        costing = self._costs.costing
        longest, page = costing.workload.max_len, costing.drive_cache(attention).group_tokens
        room = costing.capacity_bytes("host") + min(0.0, self._left_on_gpu())
        token = costing.cache_bytes(attention, "host") * self._costs.num_layers / longest
        for part in range(units, 0, -1):
            takes_units = functools.partial(_takes_units, longest, units, part)
            longer = functools.partial(self._host_takes_longer, attention, part)
            for newest in window_sizes(longest, page, room * units / (part * token), takes_units, longer):
                yield part, newest

    def _host_takes_longer(self, attention: Attention, part: int, newest: int) -> bool:
        """Tells whether the host takes as long for a window as drives do for the older tokens of some units, or longer."""
        *older, window = self._costs.costing.split_shares(attention, (("csd", part),), newest)
        drives, host = self._part(attention, older), self._part(attention, [window])
        return sum(host.seconds) >= sum(drives.seconds)

    def _part(self, attention: Attention, shares: Sequence[Share]) -> _Part:
        """Returns what the shares of one tier cost, which attend at the same time."""
        costs, costing = self._costs, self._costs.costing
        tier = shares[0].device.rstrip("0123456789")
        kinds = {(s.num_rows, s.num_kv_heads): s for s in shares}
        number = {kind: sum((s.num_rows, s.num_kv_heads) == kind for s in shares) for kind in kinds}
        fraction = sum(s.fraction for s in shares)
        scale = costing.rows / costs.graphs[-1].phase.batch_size
        way_s = hand_out_s(costing, attention, shares[0], fraction * scale)
        seconds: list[float] = []
        working_s = 0.0
        for context, weight in costs.contexts:
            times = {
                kind: costing.share_attend_cost(attention, share, context).seconds + costing.launch_s(tier)
                for kind, share in kinds.items()
            }
            seconds.append(weight * (max(times.values()) + way_s))
            working_s += weight * sum(number[kind] * each for kind, each in times.items())
        memory = round(sum(share_bytes(costing, attention, share) for share in shares))
        return _Part(tuple(seconds), working_s, float(memory))

    def _store(self, busy: Loads, attention: Attention, older: Sequence[Share], window: Share) -> float:
        """Adds what it takes to bring a prefill's K and V home; returns the seconds in which drives write."""
        assert window.cut is not None
        prompt = self._costs.costing.workload.prompt_len
        newest = window.cut.stored(prompt)
        fraction = sum(share.fraction for share in older)
        self._costs.store(busy, 0, attention, "gpu", "host", fraction, newest)
        if newest == prompt:
            return 0.0
        return self._costs.store(busy, 0, attention, "gpu", "csd", fraction, prompt - newest)

    def _page_out(self, busy: Loads, decode: int, attention: Attention, window: Share) -> None:
        """Adds the pages that leave a window: as many tokens as come, once it is full."""
        assert window.cut is not None
        costing = self._costs.costing
        steps = sum(weight for context, weight in self._costs.contexts if context >= window.cut.room)
        moved = costing.kv_bytes(attention, 1, window.fraction) * steps * self._costs.repeats(decode)
        if moved:
            for resource, seconds in costing.links.link_load(moved, "host", "csd").items():
                self._costs.add(busy, decode, resource, seconds)


def _takes_units(longest: int, units: int, part: int, newest: int) -> bool:
    """Tells whether a window takes whole units of host memory, as other shares do, or does so for no number of units."""
    return newest * part % longest == 0 or all(newest * number % longest for number in range(1, units + 1))
