"""How weights and caches are cut over several GPUs, and what these exchange."""

from __future__ import annotations

from collections import Counter

from partitioner.jaxpr import num_bytes
from partitioner.plan.names import class_name, folded, tier_span
from partitioner.plan.report.figures import Figures
from partitioner.plan.report.numerals import counted, duration, size, size_unit
from partitioner.plan.report.table import Column, paragraph, table

_SMALL_SHARE = 1e-3
"""Equal arrays of all layers that take less of all than this together are not listed by name."""


def several_gpus(figures: Figures) -> list[str]:
    """Returns a table of what is cut how, and a sentence on exchanges; nothing where there is one GPU."""
    parallel = figures.plan.decode.graph.parallel
    if parallel is None:
        return []
    arrays = [i for i in figures.plan.decode.graph.phase.inputs if i.role in ("param", "cache")]
    sizes = {i.name: num_bytes(i.var) for i in arrays}
    every = Counter(folded(name) for name in sizes)
    least = _SMALL_SHARE * sum(sizes.values())
    groups: dict[tuple[str, str], list[str]] = {}
    for name in sizes:
        axis = parallel.axes.get(name)
        how = f"along axis {axis}" if axis is not None else f"whole: {parallel.reason(name)}"
        groups.setdefault((folded(name), how), []).append(name)
    small = {key for key, names in groups.items() if sum(sizes[n] for n in names) < least}
    unit = size_unit(sum(sizes[n] for n in names) for key, names in groups.items() if key not in small)
    rows = [
        [
            class_name(names, every[pattern]),
            str(len(names)),
            unit.of(float(sum(sizes[n] for n in names))),
            how,
        ]
        for (pattern, how), names in groups.items()
        if (pattern, how) not in small
    ]
    for is_whole, what in ((False, "cut with those"), (True, "whole: small, or not to be cut")):
        names = [n for key in small for n in groups[key] if parallel.is_whole(n) == is_whole]
        if names:
            held = unit.of(float(sum(sizes[n] for n in names)))
            rows.append(["small ones", str(len(names)), held, what])
    columns = (
        Column("array", "left"), Column("arrays"), Column(f"in all\n{unit.name}"), Column("on each GPU", "left")
    )  # fmt: skip
    return [*paragraph(_lead(figures, parallel.num_gpus)), "", *table(columns, rows)]


def _lead(figures: Figures, num_gpus: int) -> str:
    """Returns who works together, and what is exchanged for it."""
    plan = figures.plan
    span = tier_span(plan.hw, "gpu")
    text = f"{span} compute together, as a mesh of {num_gpus}: each has one part of what is cut."
    exchanged = [
        c
        for op in plan.ops("decode")
        if plan.decisions.ops[op.name].anchor("decode") == "gpu"
        for c in op.collectives
    ]
    if not exchanged:
        return text
    seconds = plan.costing.exchange_s(exchanged)
    moved = size(sum(c.num_bytes for c in exchanged))
    kinds = Counter(c.kind.replace("_", "-") for c in exchanged)
    named = " and ".join(counted(count, kind) for kind, count in kinds.items())
    return f"{text} A step has {named}, of {moved}, which take {duration(seconds)}."
