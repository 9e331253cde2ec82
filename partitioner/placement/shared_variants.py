"""Lists the ways to share an attention of a decode among GPU, host and drives."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from partitioner.ir.op import Attention
from partitioner.passes.fold_blocks import PairedOp
from partitioner.placement.known_splits import KnownSplits
from partitioner.placement.mode_costs import Loads, ModeCosts
from partitioner.placement.problem import Variant
from partitioner.placement.split_variants import SplitCosts, split_costs
from partitioner.plan.decisions import SPLIT
from partitioner.tier_links import TIERS


class Store(NamedTuple):
    """Holds what bringing a part of a prefill's K and V to a tier loads, and the seconds in which drives write it."""

    loads: tuple[tuple[int, float], ...]
    written_s: float


class SharedVariants:
    """Builds variants in which several tiers attend at the same time, each to its part of the rows or KV heads.

    Args:
        costs: Of the mode.
        known: Those known from other modes; filled here.
    """

    def __init__(self, costs: ModeCosts, known: KnownSplits) -> None:
        self._costs, self._known = costs, known

    def of(
        self, pair: PairedOp, number: int, attention: Attention, tiers: Sequence[str]
    ) -> tuple[Variant, ...]:
        """Returns the ways to share an attention; those that a single tier can do without commands are left to others."""
        costing, decode = self._costs.costing, len(pair.ops) - 1
        known = (costing, number, tuple(tiers))
        if known not in self._known.costs:
            num_rows = self._costs.graphs[decode].phase.batch_size
            self._known.costs[known] = split_costs(costing, attention, tiers, self._costs.contexts, num_rows)
        costs, whole = self._known.costs[known], costing.grid(attention).num_units
        alone = ("gpu",) if self._costs.overlap else ("gpu", "csd")
        offered = ~(costs.units[:, [TIERS.index(tier) for tier in alone]] == whole).any(axis=1)
        stores: list[dict[int, Store]] = [{}, {}, {}]
        if pair.ops[0] and decode:
            first = (offered[:, None] & (costs.units > 0)).argmax(
                axis=0
            )  # in the order in which splits have them
            for tier in np.argsort(first, kind="stable").tolist():
                if tier and costs.units[offered, tier].any():
                    stores[tier] = self._stores(attention, TIERS[tier], whole)
        indices = tuple(tuple(index for index, _ in held[1].loads) if held else () for held in stores)
        if (known, indices) not in self._known.variants:
            made = self._variants(pair, attention, costs, offered, stores)
            self._known.variants[known, indices] = tuple(made)
        return self._known.variants[known, indices]

    def _variants(
        self,
        pair: PairedOp,
        attention: Attention,
        costs: SplitCosts,
        offered: NDArray[np.bool_],
        stores: Sequence[Mapping[int, Store]],
    ) -> Iterator[Variant]:
        """Yields a variant for each split that is offered."""
        costing, decode = self._costs.costing, len(pair.ops) - 1
        op, prefill = pair.ops[decode], pair.ops[0] if decode else None
        assert op is not None
        prefill_s = self._costs.run_s(0, prefill, "gpu") if prefill else 0.0
        if self._costs.overlap:
            together_s = self._costs.layer_s(costs.gpu_s, costs.others_s, costs.resume_s)
        else:
            slowest = np.maximum(costs.gpu_s, costs.others_s)
            together_s = sum(slowest, np.zeros(len(costs.units))) + costs.resume_s
        together_s = together_s + self._costs.layers_s(decode, op)
        used = [bool(held.any()) for held in costs.units.T]
        room = [costing.cache_bytes(attention, t) if u else 0.0 for t, u in zip(TIERS, used, strict=True)]
        num_units = int(costs.units[0].sum())
        memory = np.array(room) * costs.units / num_units
        working_s = self._costs.repeats(decode) * costs.working_s
        working_s[:, 0] += prefill_s
        tiers = ((0 if prefill else None), 0) if decode else (0,)
        way = (*(("gpu" if prefill else "-",) if decode else ()), SPLIT, SPLIT)
        names = [[f"{tier}={part}" for part in range(num_units + 1)] for tier in TIERS]
        numbers = (costs.units, together_s, memory, working_s)
        rows = zip(*(each[offered].tolist() for each in numbers), _loads(costs, offered, stores), strict=True)
        for units, decode_s, held, (gpu_s, host_s, csd_s), busy in rows:
            away = [stores[tier][part] for tier, part in enumerate(units) if part and stores[tier]]
            yield Variant(
                tiers=tiers,
                seconds=(prefill_s, decode_s) if decode else (decode_s,),
                memory=tuple(held),
                busy=busy,
                key=(*way, *[names[tier][part] for tier, part in enumerate(units) if part]),
                working=(gpu_s, host_s, csd_s + sum([store.written_s for store in away])),
            )

    def _stores(self, attention: Attention, tier: str, num_units: int) -> dict[int, Store]:
        """Returns what it takes to bring any number of units of a prefill's K and V from the GPU to a tier."""
        found: dict[int, Store] = {}
        for part in range(1, num_units + 1):
            busy: Loads = {}
            written_s = self._costs.store(busy, 0, attention, "gpu", tier, part / num_units)
            found[part] = Store(tuple(sorted(busy.items())), written_s)
        return found


def _loads(
    costs: SplitCosts, offered: NDArray[np.bool_], stores: Sequence[Mapping[int, Store]]
) -> list[tuple[tuple[int, float], ...]]:
    """Returns what bringing K and V of a prefill to the tiers of each split that is offered loads."""
    units = costs.units[offered]
    held = [(tier, _table(known)) for tier, known in enumerate(stores) if known]
    found: list[tuple[tuple[int, float], ...]] = [()] * len(units)
    for count in range(1, len(held) + 1):
        for tables in itertools.combinations(held, count):
            there = {tier for tier, _ in tables}
            rows = np.flatnonzero(
                np.all([(units[:, tier] > 0) == (tier in there) for tier, _ in held], axis=0)
            )
            indices = sorted({index for _, (own, _) in tables for index in own})
            total = np.zeros((len(rows), len(indices)))
            for tier, (own, seconds) in tables:
                total[:, [indices.index(index) for index in own]] += seconds[units[rows, tier]]
            for row, loads in zip(rows.tolist(), total.tolist(), strict=True):
                found[row] = tuple(zip(indices, loads, strict=True))
    return found


def _table(stores: Mapping[int, Store]) -> tuple[list[int], NDArray[np.float64]]:
    """Returns the indices of what any number of units loads, and the seconds, ``[units, resources]``."""
    indices = [index for index, _ in stores[1].loads]
    rows = [[seconds for _, seconds in stores[part].loads] for part in sorted(stores)]
    return indices, np.array([[0.0] * len(indices), *rows])
