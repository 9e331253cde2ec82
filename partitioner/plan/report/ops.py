"""Where each class of op runs, what bounds it, and what the next best device would cost."""

from __future__ import annotations

from collections.abc import Sequence

from cost_models import Cost, sequential
from partitioner.plan.alternatives import Alternative, PlacedOps
from partitioner.plan.report.figures import Figures, OpClass
from partitioner.plan.names import tier_span
from partitioner.plan.report.numerals import time_unit
from partitioner.plan.report.table import Column, paragraph, table, title
from partitioner.plan.steps import Run

_Row = tuple[OpClass, Cost, float, Alternative | None, str]


def ops(figures: Figures) -> list[str]:
    """Returns one table per phase, and the notes that its rows refer to."""
    lines: list[str] = []
    for phase in figures.phases:
        lines += [*_phase(figures, phase), ""]
    note = (
        '"alone" is the op\'s own time. "in all" adds the weights or caches it streams and the values that cross to it and from it, '
        'as if nothing overlapped; a value that crosses between two ops is counted for both. "elsewhere" is the same on the next best '
        "device, everything else staying where it is."
    )
    return [*lines, *paragraph(note)]


def _phase(figures: Figures, phase: str) -> list[str]:
    plan = figures.plan
    placed, times = figures.placed[phase], figures.times(phase)
    notes: dict[str, str] = {}
    rows = [_row(c, placed, times, notes) for c in figures.classes(phase)]
    launches, launched_s = _launches(figures, phase)
    seconds = [
        s for r in rows for s in (r[1].seconds, r[2], r[3].cost.seconds if r[3] and r[3].cost else 0.0)
    ]
    unit = time_unit([*seconds, launched_s])
    cells = [
        [
            group.name,
            str(len(group.ops)),
            tier_span(plan.hw, group.tier),
            unit.of(alone.seconds),
            alone.bound,
            unit.of(in_all),
            tier_span(plan.hw, other.tier) if other else "-",
            unit.of(other.cost.seconds) if other and other.cost else "-",
            note,
        ]
        for group, alone, in_all, other, note in rows
    ]
    if launches:
        cells.append(
            [f"(launches of {launches} segments)", "", "", unit.of(launched_s), "overhead", "", "", "", ""]
        )
    per = "prefill" if phase == "prefill" else "step"
    columns = (
        Column("op", "left"),
        Column("count"),
        Column("runs on", "left"),
        Column(f"alone\n{unit.name}/{per}"),
        Column("bound", "left"),
        Column(f"in all\n{unit.name}/{per}"),
        Column("next\nbest", "left"),
        Column(f"elsewhere\n{unit.name}/{per}"),
        Column("note", "left"),
    )
    lines = [*title(_heading(figures, phase)), *table(columns, cells)]
    for text, letter in notes.items():
        lines += paragraph(text, f"  {letter}  ")
    return lines


def _heading(figures: Figures, phase: str) -> str:
    if phase == "decode":
        return f"Ops of a decode step over {figures.contexts[1]} tokens"
    return f"Ops of the prefill ({figures.slices} x {figures.plan.phase(phase).rows} rows)"


def _row(group: OpClass, placed: PlacedOps, times: int, notes: dict[str, str]) -> _Row:
    alone = sequential(placed.alone(op) for op in group.ops) * times
    in_all = sum(placed.here(op).seconds for op in group.ops) * times
    found = [placed.elsewhere(op, len(group.ops)) for op in group.ops]
    possible = [tier for tier in _tiers(found) if all(_on(a, tier).cost for a in found)]
    if not possible:
        reason = "; ".join(f"{a.tier}: {a.reason}" for a in found[0])
        return group, alone, in_all, None, notes.setdefault(reason, _letter(notes))
    sums = [_summed([_on(a, tier) for a in found], times) for tier in possible]
    best = min(sums, key=lambda a: a.cost.seconds if a.cost else 0.0)
    return group, alone, in_all, best, notes.setdefault(best.reason, _letter(notes)) if best.reason else ""


def _tiers(found: Sequence[Sequence[Alternative]]) -> list[str]:
    return [a.tier for a in found[0]]


def _on(options: Sequence[Alternative], tier: str) -> Alternative:
    return next(a for a in options if a.tier == tier)


def _summed(options: Sequence[Alternative], times: int) -> Alternative:
    total = sequential(a.cost for a in options if a.cost) * times
    return Alternative(options[0].tier, total, options[0].reason)


def _letter(notes: dict[str, str]) -> str:
    return chr(ord("a") + len(notes))


def _launches(figures: Figures, phase: str) -> tuple[int, float]:
    """Returns how many segments processors launch, and the seconds that takes."""
    found = figures.plan.phase(phase)
    tiers = ["gpu" if s.device.startswith("gpu") else s.device for s in found.steps if isinstance(s, Run)]
    processors = [t for t in tiers if not t.startswith("csd")]
    times = figures.times(phase)
    return len(processors) * times, sum(figures.plan.costing.launch_s(t) for t in processors) * times
