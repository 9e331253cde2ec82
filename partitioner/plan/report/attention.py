"""Which attentions were recognised, and why others were not."""

from __future__ import annotations

from partitioner.plan.report.figures import Figures
from partitioner.plan.names import class_name, folded
from partitioner.plan.report.table import Column, paragraph, table, title


def attention(figures: Figures) -> list[str]:
    """Returns raised attentions by shape, then the caches without one, with the reason."""
    graph = figures.plan.decode.graph
    raised = [op for op in graph.ops if op.attention]
    count = len(raised) + len(graph.unraised)
    lines = title("Attention")
    if not count:
        return [*lines, "  The model has no KV cache."]
    lines += [f"  {len(raised)} of {count} raised: found in the traced code and confirmed on numbers."]
    if raised:
        lines += _table(figures)
    reasons: dict[tuple[str, str], list[str]] = {}
    for u in graph.unraised:
        reasons.setdefault((folded(u.name), u.reason), []).append(u.name)
    every: dict[str, int] = {}
    for u in graph.unraised:
        every[folded(u.name)] = every.get(folded(u.name), 0) + 1
    for (pattern, reason), names in reasons.items():
        times = f" x {len(names)}" if len(names) > 1 else ""
        lines += paragraph(f"{class_name(names, every[pattern])}{times}: {reason}", "  not raised: ")
    if graph.unraised:
        lines += paragraph("What is not raised runs as plain ops on the GPU, with its cache.")
    return lines


def _table(figures: Figures) -> list[str]:
    groups: dict[tuple[str, ...], list[str]] = {}
    every: dict[str, int] = {}
    for op in figures.plan.decode.graph.ops:
        a = op.attention
        if a is not None:
            shape = (a.num_heads, a.num_kv_heads, a.head_size, f"{a.scale:.6g}", a.cache_dtype)
            groups.setdefault((folded(op.name), *map(str, shape)), []).append(op.name)
            every[folded(op.name)] = every.get(folded(op.name), 0) + 1
    columns = (
        Column("name", "left"),
        Column("count"),
        Column("query\nheads"),
        Column("KV\nheads"),
        Column("head\nsize"),
        Column("scale"),
        Column("cache\ndtype", "left"),
    )
    rows = [[class_name(names, every[key[0]]), str(len(names)), *key[1:]] for key, names in groups.items()]
    return table(columns, rows)
