"""A figure of the evaluation as data: a table, and panels of lines or stacked bars."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

from runtime.cli.reproduce.cell import Cell
from runtime.cli.reproduce.results import Find

Value = str | float | None
"""A cell of a table; None where nothing fits, or nothing is published."""


@dataclass(frozen=True)
class Series:
    """A line, or the bars of one part.

    Attributes:
        label: For the legend.
        values: One for each position on the axis; None leaves a gap.
        published: Whether these values are published and not predicted.
    """

    label: str
    values: tuple[float | None, ...]
    published: bool = False


@dataclass(frozen=True)
class Panel:
    """One set of axes.

    Attributes:
        title: Above it.
        x_label: Of the axis.
        y_label: Of the values.
        positions: Texts along the axis.
        series: What is drawn.
        form: ``lines``, or ``bars`` that are stacked.
        log: Whether values have a logarithmic axis.
    """

    title: str
    x_label: str
    y_label: str
    positions: tuple[str, ...]
    series: tuple[Series, ...]
    form: Literal["lines", "bars"] = "lines"
    log: bool = False


@dataclass(frozen=True)
class Figure:
    """A figure.

    Attributes:
        name: What users ask for.
        title: What it shows.
        columns: Headers of the table, the first ones of texts.
        rows: Of the table.
        panels: Of the plot.
        note: What to know when it is held against the published one.
    """

    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Value, ...], ...]
    panels: tuple[Panel, ...]
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Returns plain data."""
        return asdict(self)


@dataclass(frozen=True)
class FigureSource:
    """How a figure is made.

    Attributes:
        name: What users ask for.
        cells: Returns the points it needs.
        collect: Makes it of predictions.
    """

    name: str
    cells: Callable[[], tuple[Cell, ...]]
    collect: Callable[[Find], Figure]
