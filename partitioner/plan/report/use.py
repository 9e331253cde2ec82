"""Seconds and bytes of each resource over the whole generation, predicted, and measured if there was a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from partitioner.plan.names import tier_of
from partitioner.plan.report.figures import Figures
from partitioner.plan.report.numerals import Unit, percent, size_unit, time_unit
from partitioner.plan.report.predicted_use import sum_over
from partitioner.plan.report.rows import merged, split_resource
from partitioner.plan.report.table import Column, paragraph, table, title

_WHOLE = "whole time"


@dataclass(frozen=True)
class _Use:
    """Holds what was asked of each resource, the whole time among them.

    Attributes:
        prefill_s: Predicted seconds of the prefill.
        decode_s: Predicted seconds of all decode steps.
        num_bytes: Predicted bytes.
        measured_s: Measured seconds.
        measured_bytes: Measured bytes.
    """

    prefill_s: Mapping[str, float]
    decode_s: Mapping[str, float]
    num_bytes: Mapping[str, float]
    measured_s: Mapping[str, float]
    measured_bytes: Mapping[str, float]

    @classmethod
    def of(cls, figures: Figures) -> _Use:
        """Sums up a plan's timelines, and the measured one."""
        plan, measured = figures.plan, figures.measured
        split = 1 if figures.prefill else 0
        prefill = sum_over(figures.weighted[:split], bytes_wanted=False)
        decode = sum_over(figures.weighted[split:], bytes_wanted=False)
        return cls(
            prefill | {_WHOLE: plan.prefill_seconds},
            decode | {_WHOLE: plan.total_decode_seconds},
            sum_over(figures.weighted, bytes_wanted=True),
            {**measured.busy_s(), _WHOLE: measured.end_s} if measured else {},
            measured.moved_bytes() if measured else {},
        )

    def predicted_s(self, resource: str) -> float:
        """Returns the predicted seconds of the whole generation."""
        return self.prefill_s.get(resource, 0.0) + self.decode_s.get(resource, 0.0)


def use(figures: Figures) -> list[str]:
    """Returns a table with a row per device and link direction, and one for the whole."""
    note = "Seconds in which a device or link is busy. Bytes cross a link, or are read from a drive's flash or written to it."
    if figures.measured is not None:
        note += " The error is predicted / measured - 1."
    return [*title("Timeline of the whole generation"), *_table(figures), *paragraph(note)]


def _table(figures: Figures) -> list[str]:
    found, measured = _Use.of(figures), figures.measured is not None
    resources = sorted({*found.prefill_s, *found.decode_s, *found.measured_s} - {_WHOLE}, key=_order)
    seconds = time_unit([found.predicted_s(_WHOLE), found.measured_s.get(_WHOLE, 0.0)])
    scale = size_unit([*found.num_bytes.values(), *found.measured_bytes.values()])
    heads = [f"{name}\n{seconds.name}" for name in ("prefill", "decode", "predicted")]
    heads += [f"measured\n{seconds.name}", "error\n%"] if measured else []
    heads += ["use\n%", f"moved\n{scale.name}"]
    heads += [f"measured\n{scale.name}", "error\n%"] if measured else []
    rows = [(r, _cells(found, r, seconds, scale, measured)) for r in (*resources, _WHOLE)]
    return table([Column("resource", "left"), *map(Column, heads)], merged(rows))


def _cells(found: _Use, resource: str, seconds: Unit, scale: Unit, measured: bool) -> list[str]:
    total, whole = found.predicted_s(resource), found.predicted_s(_WHOLE)
    cells = [seconds.of(s.get(resource, 0.0)) for s in (found.prefill_s, found.decode_s)]
    cells.append(seconds.of(total))
    if measured:
        cells += _beside(total, found.measured_s.get(resource, 0.0), seconds)
    if resource == _WHOLE:
        return cells + [""] * (4 if measured else 2)
    moved = found.num_bytes.get(resource, 0.0)
    cells += [percent(total / whole), scale.of(moved) if moved else "-"]
    if measured:
        cells += _beside(moved, found.measured_bytes.get(resource, 0.0), scale)
    return cells


def _beside(predicted: float, measured: float, unit: Unit) -> list[str]:
    """Returns what was measured, and the error of the prediction in percent."""
    if not measured:
        return ["-", "-"]
    return [unit.of(measured), f"{100 * (predicted / measured - 1):+.1f}"]


def _order(resource: str) -> tuple[bool, str, str, int]:
    """Sorts devices before links, and each by kind, direction and number."""
    name, direction = split_resource(resource)
    kind = tier_of(name)
    return bool(direction), kind, direction, int(name.removeprefix(kind) or 0)
