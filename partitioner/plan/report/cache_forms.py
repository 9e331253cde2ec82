"""What the caches keep of a token, where that is not K and V."""

from __future__ import annotations

from partitioner.plan.names import class_name, folded, tier_of, tier_span
from partitioner.plan.report.figures import Figures
from partitioner.plan.report.numerals import counted, size
from partitioner.plan.report.table import paragraph


def cache_forms(figures: Figures) -> list[str]:
    """Returns which attentions keep the inputs of their layers, where, and what K and V would take; nothing if none does."""
    plan, costing = figures.plan, figures.plan.costing
    every = [folded(op.name) for op in plan.ops("decode") if op.attention]
    groups: dict[tuple[str, str], list[str]] = {}
    taken: dict[tuple[str, str], float] = {}
    whole: dict[tuple[str, str], float] = {}
    for op in plan.ops("decode"):
        if op.attention is None or op.attention.source is None:
            continue
        tier = tier_of(plan.caches[op.name][0].device)
        key = folded(op.name), tier
        groups.setdefault(key, []).append(op.name)
        for amounts, kept in ((taken, op.attention), (whole, op.attention.source.attention)):
            amounts[key] = amounts.get(key, 0.0) + costing.cache_bytes(kept, tier)
    lines: list[str] = []
    for (pattern, tier), names in groups.items():
        key = pattern, tier
        lines += paragraph(
            f"On {tier_span(plan.hw, tier)}, {counted(len(names), 'cache')} of {class_name(names, every.count(pattern))} "
            f"{'keeps' if len(names) == 1 else 'keep'} the inputs of the layers, {size(taken[key])}, in place of K and V, "
            f"which would take {size(whole[key])}; K and V are made again of them for every use."
        )
    return lines
