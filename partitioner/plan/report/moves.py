"""What moves between devices, how, and for how long."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from cost_models import Hop, route
from partitioner.ir.op import Op
from partitioner.jaxpr import Var
from partitioner.plan.names import class_name, device_span, folded, tier_of
from partitioner.plan.predict import schedule
from partitioner.plan.report.figures import Figures
from partitioner.plan.report.numerals import counted, size_unit, time_unit
from partitioner.plan.report.table import Column, paragraph, table, title
from partitioner.plan.step_demands import StepDemands
from partitioner.plan.steps import Move

_OVERLAPS = {
    "stream_weights": "ahead",
    "stream_cache": "ahead",
    "append_cache": "behind",
    "store_cache": "behind",
    "page_out": "behind",
}
_CACHES = {
    "stream_cache": "KV cache",
    "append_cache": "new k, v",
    "store_cache": "KV cache",
    "page_out": "full pages",
}
_INPUTS = {"stream_cache": "layer inputs", "append_cache": "new layer input", "store_cache": "layer inputs"}


@dataclass(frozen=True)
class _Route:
    """Says which moves make up one row.

    Attributes:
        what: What is carried: ``KV cache``, ``q, k, v``, ``weights``, ``output``.
        pattern: The op it belongs to, its numbers folded.
        src: Devices of origin.
        dst: Devices of arrival.
        path: For people.
        overlap: Whether compute goes on meanwhile.
    """

    what: str
    pattern: str
    src: str
    dst: str
    path: str
    overlap: str


def moves(figures: Figures) -> list[str]:
    """Returns one table per phase."""
    lines = [line for phase in figures.phases for line in (*_phase(figures, phase), "")]
    steps = [s for phase in figures.phases for s in figures.plan.phase(phase).steps]
    if not any(isinstance(s, Move) and s.path != "local" for s in steps):
        return lines[:-1]
    note = (
        '"busy" is the time of the slowest link on the way, or of the flash at its end if that is slower, plus the latency. '
        '"p2p" goes from device to device, "via host" through host memory, "direct" to or from it. Moves with overlap "ahead" '
        'or "behind" run under compute where the links are free; with "no", the next op waits.'
    )
    return [*lines, *paragraph(note)]


def _phase(figures: Figures, phase: str) -> list[str]:
    heading = "Moves of the prefill"
    if phase == "decode":
        heading = f"Moves of a decode step over {counted(figures.contexts[1], 'token')}"
    steps = [s for s in figures.plan.phase(phase).steps if isinstance(s, Move)]
    local = [s for s in steps if s.path == "local"]
    moving = [s for s in steps if s.path != "local"]
    lines = [*title(heading), *_table(figures, phase, moving)]
    if local:
        lines += paragraph(f"{_made_at_home(local)}; nothing moves for that.")
    elif not moving:
        lines += ["  None: everything is where it is used."]
    return lines


def _made_at_home(local: Sequence[Move]) -> str:
    """Returns which caches are made where they live, whole ones and parts of others."""
    whole = sum(s.share is None or s.share.fraction == 1.0 for s in local)
    parts = len(local) - whole
    made = "is made where it lives" if len(local) == 1 else "are made where they live"
    if not parts:
        return f"{counted(whole, 'KV cache')} {made}"
    if not whole:
        return f"{'A part of 1 KV cache' if parts == 1 else f'Parts of {parts} KV caches'} {made}"
    more = f"a part of {parts} more" if parts == 1 else f"parts of {parts} more"
    return f"{counted(whole, 'KV cache')} and {more} are made where they live"


def _table(figures: Figures, phase: str, steps: Sequence[Move]) -> list[str]:
    if not steps:
        return []
    groups = _groups(figures, phase, steps)
    context, times = figures.context(phase), figures.times(phase)
    costs = figures.plan.step_costs(phase)
    num_bytes = {
        r: times * sum(costs.move_bytes(m, context) for ms in found for m in ms)
        for r, found in groups.items()
    }
    seconds = {r: times * sum(_seconds(figures, phase, ms) for ms in found) for r, found in groups.items()}
    scale, unit = size_unit(num_bytes.values()), time_unit(seconds.values())
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
            f"{r.what} of {_owner(figures, phase, r.pattern, [m for ms in found for m in ms])}",
            r.src,
            r.dst,
            r.path,
            r.overlap,
            str(times * sum(map(len, found))),
            scale.of(num_bytes[r]),
            unit.of(seconds[r]),
        ]
        for r, found in groups.items()
    ]
    return table(columns, rows)


def _groups(figures: Figures, phase: str, steps: Sequence[Move]) -> dict[_Route, list[list[Move]]]:
    """Groups moves by what they carry and between which devices; moves that start together, to or from drives, are one list."""
    together: dict[tuple[object, ...], list[Move]] = {}
    for s in steps:
        key = (s.kind, s.attention or s.id, s.values, s.names, tier_of(s.src), tier_of(s.dst))
        together.setdefault(key, []).append(s)
    groups: dict[_Route, list[list[Move]]] = {}
    for members in together.values():
        first = members[0]
        what, ops = _carried(figures, phase, first)
        src, dst = device_span(m.src for m in members), device_span(m.dst for m in members)
        overlap = _OVERLAPS.get(first.kind, "no")
        found = _Route(what, folded(ops[0]), src, dst, _path(first), overlap)
        groups.setdefault(found, []).append(members)
    return groups


def _path(move: Move) -> str:
    if "host" in (move.src, move.dst):
        return "direct"
    return "p2p" if move.path == "p2p" else "via host"


def _seconds(figures: Figures, phase: str, members: Sequence[Move]) -> float:
    """Returns the time in which moves that start together end, on links and drives that are otherwise idle."""
    hw, costs = figures.plan.hw, figures.plan.step_costs(phase)
    at_once = [replace(m, after=()) for m in members]
    busy = schedule(StepDemands(costs, at_once), figures.context(phase)).busy_s()
    latencies = [sum(hw.link(link).latency_s for link, _ in _hops(figures, m)) for m in members]
    return max(busy.values(), default=0.0) + max(latencies)


def _hops(figures: Figures, move: Move) -> tuple[Hop, ...]:
    return () if move.path == "local" else route(figures.plan.hw, move.src, move.dst, move.path)


def _owner(figures: Figures, phase: str, pattern: str, members: Iterable[Move]) -> str:
    """Returns a name for the ops that some moves belong to: ``blocks.0-9.attention``."""
    found = [name for m in members for name in _carried(figures, phase, m)[1]]
    names = list(dict.fromkeys(n for n in found if folded(n) == pattern))
    every = sum(folded(op.name) == pattern for op in figures.plan.ops(phase))
    return class_name(names, every)


def _carried(figures: Figures, phase: str, move: Move) -> tuple[str, list[str]]:
    """Returns what a move carries, for people, and the ops that it belongs to."""
    if move.attention is not None and move.kind in _CACHES:
        kept = figures.plan.decisions.ops[move.attention].form == "input"
        return (_INPUTS if kept else _CACHES)[move.kind], [move.attention]
    graph = figures.plan.phase(phase).graph
    if move.kind == "stream_weights":
        users = [op.name for op in graph.ops if set(op.params) & set(move.names)]
        return "weights", users
    read_by = [graph.ops[c] for v in move.values for c in graph.consumers.get(v, ())]
    attends = next((op for op in read_by if _operands(op, move.values)), None)
    if attends is not None:
        return ", ".join(_operands(attends, move.values)), [attends.name]
    makers = list(dict.fromkeys(graph.ops[graph.producer[v]].name for v in move.values))
    return "output" if len(makers) == 1 else f"output (and {len(makers) - 1} more)", makers


def _operands(op: Op, values: Sequence[Var]) -> list[str]:
    """Returns the letters of the values if all of them are operands of an attention, else nothing."""
    if op.attention is None:
        return []
    operands = {op.attention.query: "q", op.attention.new_key: "k", op.attention.new_value: "v"}
    return [letter for v, letter in operands.items() if v in values] if set(values) <= set(operands) else []
