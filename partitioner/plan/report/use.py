"""Seconds and bytes of each resource over the whole generation, predicted, and measured if there was a run."""

from __future__ import annotations

from collections.abc import Mapping

from partitioner.plan.report.figures import Figures
from partitioner.plan.names import tier_of
from partitioner.plan.report.numerals import percent, size_unit, time_unit
from partitioner.plan.report.predicted_use import sum_over
from partitioner.plan.report.table import Column, paragraph, table, title


def use(figures: Figures) -> list[str]:
    """Returns a table with a row per device and link direction, and one for the whole."""
    lines = [*title("Timeline of the whole generation"), *_table(figures)]
    if figures.measured is None:
        return [
            *lines,
            *paragraph(
                "Busy seconds; a resource's bytes cross a link, or are read from or written to flash."
            ),
        ]
    note = "Busy seconds, predicted and measured on the same workload. The error is predicted / measured - 1."
    return [*lines, *paragraph(note)]


def _table(figures: Figures) -> list[str]:
    plan, measured = figures.plan, figures.measured
    split = 1 if figures.prefill else 0
    prefill = sum_over(figures.weighted[:split], bytes_wanted=False)
    decode = sum_over(figures.weighted[split:], bytes_wanted=False)
    moved = sum_over(figures.weighted, bytes_wanted=True)
    seen = measured.busy_s() if measured else {}
    names = sorted({*prefill, *decode, *seen}, key=_order)
    ends = {"(end)": plan.prefill_seconds}, {"(end)": plan.total_decode_seconds}
    unit = time_unit([plan.total_seconds, measured.end_s if measured else 0.0])
    scale = size_unit(moved.values())
    columns = [
        Column("resource", "left"),
        Column(f"prefill\n{unit.name}"),
        Column(f"decode\n{unit.name}"),
        Column(f"predicted\n{unit.name}"),
        Column("use\n%"),
        Column(f"bytes\n{scale.name}"),
    ]
    rows: list[list[str]] = []
    for name in names:
        total = prefill.get(name, 0.0) + decode.get(name, 0.0)
        row = [name, *(unit.of(part.get(name, 0.0)) for part in (prefill, decode)), unit.of(total)]
        row += [percent(total / plan.total_seconds), scale.of(moved[name]) if moved.get(name) else "-"]
        rows.append(row)
    rows.append(["whole time", *(unit.of(e["(end)"]) for e in ends), unit.of(plan.total_seconds), "", ""])
    if measured is not None:
        columns[5:] = [Column(f"measured\n{unit.name}"), Column("error\n%"), columns[5]]
        totals = {n: prefill.get(n, 0.0) + decode.get(n, 0.0) for n in names} | {
            "whole time": plan.total_seconds
        }
        real = {**seen, "whole time": measured.end_s}
        for row in rows:
            row[5:5] = [unit.of(real.get(row[0], 0.0)), _error(row[0], totals, real)]
    return table(columns, rows)


def _error(name: str, predicted: Mapping[str, float], measured: Mapping[str, float]) -> str:
    if not measured.get(name):
        return "-"
    error = predicted.get(name, 0.0) / measured[name] - 1
    return f"{100 * error:+.1f}"


def _order(resource: str) -> tuple[bool, str, str, int]:
    """Sorts devices before links, and each by kind, direction and number."""
    name, _, direction = resource.partition(".")
    kind = tier_of(name)
    number = name.removeprefix(kind)
    return bool(direction), kind, direction, int(number or 0)
