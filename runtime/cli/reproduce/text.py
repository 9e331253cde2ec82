"""The printed form of results and figures, at most 100 columns wide."""

from __future__ import annotations

import math
from collections.abc import Sequence

from partitioner.plan.report.numerals import significant
from partitioner.plan.report.table import Column, paragraph, table, title
from runtime.cli.reproduce.figure import Figure, Value
from runtime.cli.reproduce.results import Result, mean_error


def summary_text(found: tuple[Result, ...]) -> str:
    """Returns every published figure beside its prediction, and the mean error of R1 to R8."""
    mean = f"Mean absolute error of R1 to R8: {100 * mean_error(found):.1f} %."
    heading = "Published figures of InstInfer and their predictions; OPT-13B and one drive unless said."
    return "\n".join([*title("Results"), *paragraph(heading, ""), "", *results_table(found), "", mean])


def results_table(found: tuple[Result, ...]) -> list[str]:
    """Returns one line for each published value."""
    columns = (
        Column("", "left"),
        Column("figure", "left"),
        Column("paper"),
        Column("ours"),
        Column("error", "right"),
        Column("holds", "left"),
    )
    rows: list[list[str]] = []
    for result in found:
        for number, (paper, ours, error) in enumerate(_lines(result)):
            label = (result.figure.id, result.figure.what) if number == 0 else ("", "")
            holds = ("yes" if result.holds else "NO") if number == 0 else ""
            rows.append([*label, paper, ours, error, holds])
    return table(columns, rows)


def figure_text(figure: Figure) -> str:
    """Returns a figure's table."""
    texts = [all(isinstance(row[i], str) for row in figure.rows) for i in range(len(figure.columns))]
    columns = [
        Column(name, "left" if is_text else "point")
        for name, is_text in zip(figure.columns, texts, strict=True)
    ]
    rows = [[_cell(value) for value in row] for row in figure.rows]
    note = ["", *paragraph(figure.note, "")] if figure.note else []
    return "\n".join([*title(figure.title), *table(columns, rows), *note])


def _cell(value: Value) -> str:
    if value is None:
        return "-"
    return value if isinstance(value, str) else significant(value)


def _lines(result: Result) -> Sequence[tuple[str, str, str]]:
    """Returns published value, prediction and error, one line for each value."""
    if isinstance(result.ours, bool) or isinstance(result.figure.values, bool):
        return [("yes", "yes" if result.ours else "no", "")]
    unit = {"points": "points"}.get(result.figure.kind, "%")
    scale = 1 if unit == "points" else 100
    lines: list[tuple[str, str, str]] = []
    for paper, ours, error in zip(result.figure.values, result.ours, result.errors, strict=True):
        ours_text = "-" if ours is None else _number(ours)
        lines.append(
            (_number(paper), ours_text, f"{scale * error:+.1f} {unit}" if math.isfinite(error) else "-")
        )
    return lines


def _number(value: float) -> str:
    return f"{value:.4g}"
