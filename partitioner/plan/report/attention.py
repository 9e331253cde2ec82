"""Which attentions were recognised, and why others were not."""

from __future__ import annotations

from partitioner.ir.op import Attention
from partitioner.plan.names import class_name, folded
from partitioner.plan.report.figures import Figures
from partitioner.plan.report.table import Column, paragraph, table, title


def attention(figures: Figures) -> list[str]:
    """Returns raised attentions by shape, then the caches whose attention is not, with the reason."""
    graph = figures.plan.decode.graph
    raised = [op for op in graph.ops if op.attention]
    count = len(raised) + len(graph.unraised)
    lines = title("Attention")
    if not count:
        return [*lines, "  The model has no KV cache."]
    how = (
        ": found in the traced code, and confirmed against reference attention on random numbers"
        if raised
        else ""
    )
    lines += paragraph(f"{len(raised)} of {count} raised{how}.")
    if raised:
        lines += _table(figures)
    caches = [folded(i.name) for i in graph.phase.inputs if i.role == "cache"]
    reasons: dict[tuple[str, str], list[str]] = {}
    for u in graph.unraised:
        reasons.setdefault((folded(u.name), u.reason), []).append(u.name)
    for (pattern, reason), names in reasons.items():
        what = "cache" if len(names) == 1 else f"{len(names)} caches"
        lines += paragraph(f"{what} {class_name(names, caches.count(pattern))}: {reason}", "  not raised: ")
    if graph.unraised:
        lines += paragraph(
            "Attention that is not raised runs as plain ops on the GPU, where its cache lives too."
        )
    return lines


def _table(figures: Figures) -> list[str]:
    groups: dict[tuple[str, ...], list[str]] = {}
    every: dict[str, int] = {}
    for op in figures.plan.decode.graph.ops:
        a = op.attention and (op.attention.source.attention if op.attention.source else op.attention)
        if a is not None:
            shape = (a.num_heads, a.num_kv_heads, a.head_size, f"{a.scale:.6g}", a.cache_dtype, *_rule(a))
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
    optional = (Column("soft\ncap"), Column("window"), Column("slopes", "left"))
    rows = [[class_name(names, every[key[0]]), str(len(names)), *key[1:]] for key, names in groups.items()]
    first = len(columns)
    shown = [n for n in range(len(optional)) if any(row[first + n] != "-" for row in rows)]
    rows = [[*row[:first], *(row[first + n] for n in shown)] for row in rows]
    return table((*columns, *(optional[n] for n in shown)), rows)


def _rule(attention: Attention) -> tuple[str, str, str]:
    """Returns what of an attention goes beyond softmax over all tokens; ``-`` for what does not."""
    cap = "-" if attention.soft_cap is None else f"{attention.soft_cap:g}"
    window = "-" if attention.window is None else f"{attention.window}"
    slopes = "-"
    if attention.slopes is not None:
        slopes = f"{min(attention.slopes):.3g} to {max(attention.slopes):.3g}"
    return cap, window, slopes
