"""Where each class of op runs, what bounds it, and what the next best device would cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cost_models import Cost, sequential
from partitioner.plan.alternatives import Alternative, Alternatives
from partitioner.plan.explanation import SharedPart
from partitioner.plan.names import tier_span
from partitioner.plan.report.figures import Figures, OpClass
from partitioner.plan.report.numerals import Unit, counted, time_unit
from partitioner.plan.report.shared import SPLIT_NOTE, group_span, part_label, shared_parts
from partitioner.plan.report.table import Column, paragraph, table, title
from partitioner.plan.steps import Run


@dataclass(frozen=True)
class _Row:
    """Holds what a table says about one class of ops.

    Attributes:
        ops: The class.
        alone: Time of its ops, moves left aside.
        in_all: Time of its ops with what moves for them.
        elsewhere: The same on the next best tier; None where there is none.
        note: What comes with that, or why there is none.
        parts: What each tier does, where several share the ops.
    """

    ops: OpClass
    alone: Cost
    in_all: Cost
    elsewhere: Alternative | None
    note: str
    parts: tuple[SharedPart, ...]

    @property
    def costs(self) -> tuple[Cost, ...]:
        """Returns the costs shown."""
        other = self.elsewhere.cost if self.elsewhere else None
        own = (self.alone, self.in_all, *(c for part in self.parts for c in (part.alone, part.in_all)))
        return (*own, other) if other else own


def ops(figures: Figures) -> list[str]:
    """Returns one table per phase, and the notes that its rows refer to."""
    lines = [line for phase in figures.phases for line in (*_phase(figures, phase), "")]
    note = (
        '"alone" is the ops\' own time, and "bound" what limits it. "in all" adds the weights or caches that they stream and '
        "the values that cross to them and from them, as if nothing overlapped; a value that crosses between two ops is "
        'counted for both. "elsewhere" is the same on the next best device, everything else staying where it is.'
    )
    if any(group.is_shared for phase in figures.phases for group in figures.classes(phase)):
        note += f" {SPLIT_NOTE}"
    return [*lines, *paragraph(note)]


def _phase(figures: Figures, phase: str) -> list[str]:
    rows = [_row(c, figures.alternatives[phase], figures.times(phase)) for c in figures.classes(phase)]
    launches, launches_s = _launches(figures, phase)
    unit = time_unit([*(cost.seconds for row in rows for cost in row.costs), launches_s])
    notes: dict[str, str] = {}
    cells = [line for row in rows for line in (_cells(figures, row, unit, notes), *_parts(row, unit))]
    if launches:
        cells.append(["(launches)", str(launches), "", unit.of(launches_s), "overhead", *["", "", "", ""]])
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
    return lines + [line for text, letter in notes.items() for line in paragraph(text, f"  {letter}  ")]


def _heading(figures: Figures, phase: str) -> str:
    rows = counted(figures.plan.phase(phase).rows, "row")
    if phase == "decode":
        heading = f"Ops of a decode step over {counted(figures.contexts[1], 'token')}"
        return (
            f"{heading}, {figures.plan.micro_batches} x {rows}" if figures.plan.micro_batches > 1 else heading
        )
    return f"Ops of the prefill, {figures.slices} x {rows}" if figures.slices > 1 else "Ops of the prefill"


def _cells(figures: Figures, row: _Row, unit: Unit, notes: dict[str, str]) -> list[str]:
    """Returns a row's cells; its note goes to the notes, and a letter for it into the row."""
    hw, other = figures.plan.hw, row.elsewhere
    letter = notes.setdefault(row.note, chr(ord("a") + len(notes))) if row.note else ""
    return [
        row.ops.name,
        str(len(row.ops.ops)),
        group_span(hw, row.ops),
        unit.of(row.alone.seconds),
        row.alone.bound,
        unit.of(row.in_all.seconds),
        tier_span(hw, other.tier) if other else "-",
        unit.of(other.cost.seconds) if other and other.cost else "-",
        letter,
    ]


def _parts(row: _Row, unit: Unit) -> list[list[str]]:
    """Returns the cells of a row for each part of what several tiers share."""
    return [
        [
            "",
            "",
            f"  {part_label(part)}",
            unit.of(part.alone.seconds),
            part.alone.bound,
            unit.of(part.in_all.seconds),
            *[""] * 3,
        ]
        for part in row.parts
    ]


def _row(group: OpClass, elsewhere: Alternatives, times: int) -> _Row:
    """Returns the sums over a class; it could only go elsewhere as a whole."""
    costs = elsewhere.costs
    alone = sequential(costs.alone(op) for op in group.ops) * times
    in_all = sequential(costs.here(op) for op in group.ops) * times
    options = [elsewhere.of(op, len(group.ops)) for op in group.ops]
    by_tier = [[a for found in options for a in found if a.tier == tier.tier] for tier in options[0]]
    sums = sorted((_summed(alike, times) for alike in by_tier), key=lambda a: a.rank)
    parts = shared_parts(costs, group, times)
    if sums[0].cost:
        return _Row(group, alone, in_all, sums[0], sums[0].reason, parts)
    reasons = "; ".join(f"{tier_span(costs.plan.hw, a.tier)}: {a.reason}" for a in sums)
    return _Row(group, alone, in_all, None, reasons, parts)


def _summed(alike: Sequence[Alternative], times: int) -> Alternative:
    """Returns what a whole class would cost on a tier, or why one of its ops cannot run there."""
    hardest = max(alike, key=lambda a: (a.cost is None, not a.fits))
    if hardest.cost is None:
        return hardest
    total = sequential(a.cost for a in alike if a.cost) * times
    return Alternative(hardest.tier, total, hardest.reason, hardest.fits)


def _launches(figures: Figures, phase: str) -> tuple[int, float]:
    """Returns how many segments processors launch in one run of a phase, and the seconds of all its runs."""
    costing, steps = figures.plan.costing, figures.plan.phase(phase).steps
    tiers = ["gpu" if s.device.startswith("gpu") else s.device for s in steps if isinstance(s, Run)]
    processors = [t for t in tiers if not t.startswith("csd")]
    return len(processors), sum(costing.launch_s(t) for t in processors) * figures.times(phase)
