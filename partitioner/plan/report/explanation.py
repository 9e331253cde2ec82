"""The printed form of an explanation."""

from __future__ import annotations

from partitioner.plan.explanation import Choice, ExplainedClass, Explanation
from partitioner.plan.report.numerals import Unit, counted, size, time_unit
from partitioner.plan.report.shared import SPLIT_NOTE, part_label
from partitioner.plan.report.shares import shares_text
from partitioner.plan.report.table import Column, pairs, paragraph, table, title

_NOTE = (
    '"alone" is the ops\' own time, and "bound" what limits it. "in all" adds what they stream and the values that cross '
    'to them and from them, as if nothing overlapped. "change" is what going there would add to {span}, everything else '
    "staying where it is."
)


def explanation(explained: Explanation) -> list[str]:
    """Returns a table per class of ops, and what its columns mean."""
    lines: list[str] = []
    for found in explained.classes:
        lines += [*_class(explained, found), ""]
    span = "a decode step" if explained.phase == "decode" else "the prefill"
    note = _NOTE.format(span=span)
    if any(choice.parts for found in explained.classes for choice in found.choices):
        note += f" {SPLIT_NOTE}"
    return [*lines, *paragraph(note)]


def _class(explained: Explanation, found: ExplainedClass) -> list[str]:
    tokens = counted(explained.context_len, "token")
    when = f"a decode step over {tokens}" if explained.phase == "decode" else f"a prefill of {tokens}"
    count = "" if len(found.ops) == 1 else f", {len(found.ops)} ops"
    facts = [("runs on", shares_text(found.runs_on))]
    if found.data:
        where = shares_text(found.lives_on)
        facts.append(("lives on", f"{where}: {size(sum(found.lives_on.values()))} of {found.data}"))
    heading = title(f"{found.name}{count} in {when}")
    return [*heading, *pairs(facts), "", *_choices(explained, found)]


def _choices(explained: Explanation, found: ExplainedClass) -> list[str]:
    shown = [*found.choices, *(part for choice in found.choices for part in choice.parts)]
    costs = [c for row in shown for c in (row.alone, row.in_all) if c]
    unit = time_unit(cost.seconds for cost in costs)
    notes: dict[str, str] = {}
    rows = [row for choice in found.choices for row in (_cells(choice, unit, notes), *_parts(choice, unit))]
    per = f"{unit.name}/{'step' if explained.phase == 'decode' else 'prefill'}"
    columns = (
        Column("device", "left"),
        Column(found.data or "data", "left"),
        Column(f"alone\n{per}"),
        Column("bound", "left"),
        Column(f"in all\n{per}"),
        Column(f"change\n{per}"),
        Column("", "left"),
    )
    lines = table(columns, rows)
    return lines + [line for text, letter in notes.items() for line in paragraph(text, f"  {letter}  ")]


def _cells(choice: Choice, unit: Unit, notes: dict[str, str]) -> list[str]:
    """Returns a row's cells; what forbids a choice goes to the notes, and letters for it into the row."""
    if choice.chosen:
        remark = "the plan"
    else:
        letters = [notes.setdefault(o, chr(ord("a") + len(notes))) for o in choice.obstacles]
        remark = " ".join(sorted(letters))
    if choice.alone is None or choice.in_all is None or choice.change_s is None:
        return [choice.devices, choice.data, "-", "-", "-", "-", remark]
    return [
        choice.devices,
        choice.data,
        unit.of(choice.alone.seconds),
        choice.alone.bound,
        unit.of(choice.in_all.seconds),
        "" if choice.chosen else _signed(choice.change_s, unit),
        remark,
    ]


def _parts(choice: Choice, unit: Unit) -> list[list[str]]:
    """Returns a row for what each tier does of attentions that several share."""
    return [
        [
            f"  {part_label(part)}",
            "",
            unit.of(part.alone.seconds),
            part.alone.bound,
            unit.of(part.in_all.seconds),
            "",
            "",
        ]
        for part in choice.parts
    ]


def _signed(seconds: float, unit: Unit) -> str:
    text = unit.of(abs(seconds))
    return text if seconds == 0 else f"{'+' if seconds > 0 else '-'}{text}"
