"""What moves between devices, how, and for how long."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cost_models import flash_read_cost, flash_write_cost, route
from partitioner.plan.report.figures import Figures
from partitioner.plan.names import device_span, folded
from partitioner.plan.report.numerals import size_unit, time_unit
from partitioner.plan.report.table import Column, paragraph, table, title
from partitioner.plan.steps import Move

_UNDER_COMPUTE = {
    "stream_weights": "ahead",
    "stream_cache": "ahead",
    "append_cache": "behind",
    "store_cache": "behind",
}


@dataclass(frozen=True)
class _MoveClass:
    """Sums up moves that are alike."""

    what: str
    src: str
    dst: str
    path: str
    overlaps: str
    count: int
    num_bytes: float
    seconds: float


def moves(figures: Figures) -> list[str]:
    """Returns one table per phase."""
    lines: list[str] = []
    for phase in figures.phases:
        lines += [*_phase(figures, phase), ""]
    note = (
        '"busy" is the time of the slowest link of the way (or of the flash at its end, if that is slower) with the latency of the way. '
        'Moves that are "ahead" or "behind" run under compute where the links are free; others hold up what waits for them.'
    )
    return [*lines, *paragraph(note)]


def _phase(figures: Figures, phase: str) -> list[str]:
    context = figures.contexts[1]
    heading = f"Moves of a decode step over {context} tokens" if phase == "decode" else "Moves of the prefill"
    steps = [s for s in figures.plan.phase(phase).steps if isinstance(s, Move)]
    local = sum(s.path == "local" for s in steps)
    classes = _classes(figures, phase, [s for s in steps if s.path != "local"])
    lines = title(heading)
    if classes:
        scale, unit = size_unit(c.num_bytes for c in classes), time_unit(c.seconds for c in classes)
        per = "prefill" if phase == "prefill" else "step"
        columns = (
            Column("what", "left"),
            Column("from", "left"),
            Column("to", "left"),
            Column("path", "left"),
            Column("overlap", "left"),
            Column(f"count\n/{per}"),
            Column(f"moved\n{scale.name}/{per}"),
            Column(f"busy\n{unit.name}/{per}"),
        )
        rows = [
            [
                c.what,
                c.src,
                c.dst,
                c.path,
                c.overlaps,
                str(c.count),
                scale.of(c.num_bytes),
                unit.of(c.seconds),
            ]
            for c in classes
        ]
        lines += table(columns, rows)
    elif not local:
        lines += ["  None: everything is where it is used."]
    if local:
        lines += paragraph(
            f"{local * figures.times(phase)} caches are made where they live; nothing moves for them."
        )
    return lines


def _classes(figures: Figures, phase: str, steps: Sequence[Move]) -> list[_MoveClass]:
    """Groups moves by what they carry and between which devices."""
    transfers: dict[tuple[object, ...], list[Move]] = {}
    for s in steps:
        whose = s.attention or s.id
        transfers.setdefault((s.kind, whose, s.values, s.names, s.src[:3], s.dst[:3]), []).append(s)
    groups: dict[tuple[str, str, str, str, str], list[list[Move]]] = {}
    for members in transfers.values():
        first = members[0]
        src, dst = device_span(m.src for m in members), device_span(m.dst for m in members)
        overlaps = _UNDER_COMPUTE.get(first.kind, "no")
        groups.setdefault((_what(figures, phase, first), src, dst, first.path, overlaps), []).append(members)
    times = figures.times(phase)
    context = figures.contexts[1]
    costs = figures.plan.step_costs(phase)
    return [
        _MoveClass(
            *key,
            count=sum(map(len, found)) * times,
            num_bytes=sum(costs.move_bytes(m, context) for members in found for m in members) * times,
            seconds=sum(_seconds(figures, phase, members) for members in found) * times,
        )
        for key, found in groups.items()
    ]


def _seconds(figures: Figures, phase: str, members: Sequence[Move]) -> float:
    """Returns the time in which moves that start together end, on links and drives that are otherwise idle."""
    hw, costs, context = figures.plan.hw, figures.plan.step_costs(phase), figures.contexts[1]
    loads: dict[object, float] = {}
    latency_s = 0.0
    for m in members:
        num_bytes = costs.move_bytes(m, context)
        hops = route(hw, m.src, m.dst, m.path) if m.path != "local" else ()
        for hop in hops:
            loads[hop] = loads.get(hop, 0.0) + num_bytes / hw.link(hop[0]).bytes_per_s
        latency_s = max(latency_s, sum(hw.link(name).latency_s for name, _ in hops))
        if m.kind == "stream_cache" and m.src.startswith("csd"):
            loads[m.src] = loads.get(m.src, 0.0) + flash_read_cost(hw.drive(m.src), num_bytes).seconds
        elif m.kind == "store_cache" and m.dst.startswith("csd"):
            loads[m.dst] = loads.get(m.dst, 0.0) + flash_write_cost(hw.drive(m.dst), num_bytes).seconds
    return max(loads.values(), default=0.0) + latency_s


def _what(figures: Figures, phase: str, move: Move) -> str:
    """Returns what a move carries, for people."""
    if move.attention is None:
        if move.kind == "stream_weights":
            return f"weights of {_listed(n.rpartition('.')[0] for n in move.names)}"
        graph = figures.plan.phase(phase).graph
        return f"output of {_listed(graph.ops[graph.producer[v]].name for v in move.values)}"
    name = figures.attention_class(phase, move.attention)
    if move.kind != "hand_over":
        kinds = {"stream_cache": "KV cache", "append_cache": "new k, v", "store_cache": "KV cache"}
        return f"{kinds[move.kind]} of {name}"
    attention = figures.plan.phase(phase).op[move.attention].attention
    if attention is None or attention.output in move.values:
        return f"output of {name}"
    operands = (("q", attention.query), ("k", attention.new_key), ("v", attention.new_value))
    return f"{', '.join(letter for letter, v in operands if v in move.values)} of {name}"


def _listed(names: object) -> str:
    unique = list(dict.fromkeys(folded(n) for n in names))  # type: ignore[attr-defined]
    return unique[0] if len(unique) == 1 else f"{unique[0]} and {len(unique) - 1} more"
