"""Lists the ways to share an attention of a decode among GPU, host and drives."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from partitioner.ir.op import Attention
from partitioner.passes.fold_blocks import PairedOp
from partitioner.placement.known_splits import KnownSplits
from partitioner.placement.mode_costs import Loads, ModeCosts
from partitioner.placement.split_costs import SplitCosts, split_costs
from partitioner.placement.split_variants import SplitVariants, StoreTable
from partitioner.placement.variant_list import Variant
from partitioner.plan.decisions import SPLIT
from partitioner.tier_links import TIERS


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
    ) -> Sequence[Variant]:
        """Returns the ways to share an attention; those that a single tier can do without commands are left to others."""
        costing, decode = self._costs.costing, len(pair.ops) - 1
        known = (costing, number, tuple(tiers))
        costs, whole = self._known.costs.get(known), costing.grid(attention).num_units
        if costs is None:
            num_rows = self._costs.graphs[decode].phase.batch_size
            costs = split_costs(costing, attention, tiers, self._costs.contexts, num_rows)
            self._known.costs[known] = costs
        alone = ("gpu",) if self._costs.overlap else ("gpu", "csd")
        offered = ~(costs.units[:, [TIERS.index(tier) for tier in alone]] == whole).any(axis=1)
        stores: list[StoreTable | None] = [None, None, None]
        if pair.ops[0] and decode:
            # in the order in which splits have them
            first = (offered[:, None] & (costs.units > 0)).argmax(axis=0)
            for tier in np.argsort(first, kind="stable").tolist():
                if tier and costs.units[offered, tier].any():
                    stores[tier] = self._stores(attention, TIERS[tier], whole)
        brought = (*known, *[store.indices if store else () for store in stores])
        variants = self._known.variants.get(brought)
        if variants is None:
            variants = self._variants(pair, attention, costs, offered, stores)
            self._known.variants[brought] = variants
        return variants

    def _variants(
        self,
        pair: PairedOp,
        attention: Attention,
        costs: SplitCosts,
        offered: NDArray[np.bool_],
        stores: Sequence[StoreTable | None],
    ) -> SplitVariants:
        """Returns a variant for each split that is offered."""
        costing, decode = self._costs.costing, len(pair.ops) - 1
        op, prefill = pair.ops[decode], pair.ops[0] if decode else None
        assert op is not None
        prefill_s = self._costs.run_s(0, prefill, "gpu") if prefill else 0.0
        if self._costs.overlap:
            together_s = self._costs.layer_s(costs.gpu_s, costs.others_s, costs.resume_s)
        else:
            slowest = np.maximum(costs.gpu_s, costs.others_s)
            together_s = sum(slowest, np.zeros(len(costs.units))) + costs.resume_s
        together_s = (together_s + self._costs.layers_s(decode, op))[offered]
        used = [bool(held.any()) for held in costs.units.T]
        room = [costing.cache_bytes(attention, t) if u else 0.0 for t, u in zip(TIERS, used, strict=True)]
        memory = np.array(room) * costs.units / int(costs.units[0].sum())
        working_s = self._costs.repeats(decode) * costs.working_s[offered]
        working_s[:, 0] += prefill_s
        prefills_s = np.full((len(together_s), 1 if decode else 0), prefill_s)
        return SplitVariants(
            tiers=((0 if prefill else None), 0) if decode else (0,),
            way=(*(("gpu" if prefill else "-",) if decode else ()), SPLIT, SPLIT),
            units=costs.units[offered],
            seconds=np.concatenate([prefills_s, together_s[:, None]], axis=1),
            memory=memory[offered],
            working_s=working_s,
            stores=stores,
        )

    def _stores(self, attention: Attention, tier: str, num_units: int) -> StoreTable:
        """Returns what it takes to bring any number of units of a prefill's K and V from the GPU to a tier."""
        rows: list[Loads] = [{}]
        written_s = [0.0]
        for part in range(1, num_units + 1):
            rows.append({})
            written_s.append(self._costs.store(rows[-1], 0, attention, "gpu", tier, part / num_units))
        indices = tuple(sorted(rows[-1]))
        load_s = np.array([[row.get(index, 0.0) for index in indices] for row in rows])
        return StoreTable(indices, load_s.reshape(len(rows), len(indices)), np.array(written_s))
