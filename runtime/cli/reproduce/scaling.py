"""Throughput over the number of drives."""

from __future__ import annotations

from runtime.cli.reproduce.cell import AUTO, FLEXGEN, INSTA, INSTA_SPARF, Cell, System
from runtime.cli.reproduce.figure import Figure, FigureSource, Panel, Series, Value
from runtime.cli.reproduce.results import Find, rate_of

DRIVES = (1, 2, 4, 8, 12, 16, 20)
"""Numbers of drives; InstInfer (arXiv 2409.04992) goes to 20."""

_LINES = ((FLEXGEN, 32), (INSTA, 256), (INSTA_SPARF, 256), (AUTO, 256))
"""Systems at their best batch."""

_AUTO_DRIVES = (1, 4, 20)
"""Where ``auto`` is planned too."""


def cells() -> tuple[Cell, ...]:
    """Returns the systems at their best batch on all numbers of drives."""
    return tuple(Cell(s, batch, drives) for s, batch in _LINES for drives in DRIVES if _planned(s, drives))


def collect(find: Find) -> Figure:
    """Returns tokens per second, and their factor over one drive."""
    rows: list[tuple[Value, ...]] = []
    lines: list[Series] = []
    for system, batch in _LINES:
        rates = tuple(
            rate_of(find, Cell(system, batch, drives)) if _planned(system, drives) else None
            for drives in DRIVES
        )
        factor = None if rates[0] is None or rates[-1] is None else rates[-1] / rates[0]
        rows.append((system.name, str(batch), *rates, factor))
        lines.append(Series(f"{system.name}, batch {batch}", rates))
    return Figure(
        "scaling",
        "New tokens per second over the number of drives, OPT-13B",
        ("system", "batch", *(f"{n} dr." for n in DRIVES), f"{DRIVES[-1]} over\n1"),
        tuple(rows),
        (
            Panel(
                "opt-13b", "drives", "new tokens per second", tuple(map(str, DRIVES)), tuple(lines), log=True
            ),
        ),
        "The published ratios on two drives are R7 and R8, that FlexGen gains little from a second drive is R15.",
    )


def _planned(system: System, drives: int) -> bool:
    return system is not AUTO or drives in _AUTO_DRIVES


SOURCE = FigureSource("scaling", cells, collect)
