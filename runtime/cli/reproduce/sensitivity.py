"""Throughput over the compression of sparse attention."""

from __future__ import annotations

from dataclasses import replace

from runtime.cli.reproduce.cell import FLEXGEN_SPARQ, INSTA, INSTA_SPARF, Cell, System
from runtime.cli.reproduce.figure import Figure, FigureSource, Panel, Series, Value
from runtime.cli.reproduce.published import published_values
from runtime.cli.reproduce.results import Find, rate_of

RATIOS = (2, 4, 8, 16, 32)
"""Compressions by traffic."""

_LINES = ((FLEXGEN_SPARQ, 32), (INSTA_SPARF, 64), (INSTA_SPARF, 256))


def cells() -> tuple[Cell, ...]:
    """Returns sparse systems at all compressions, and InstA without."""
    sparse = tuple(Cell(_at(system, ratio), batch) for system, batch in _LINES for ratio in RATIOS)
    return (*sparse, Cell(INSTA, 64), Cell(INSTA, 256))


def collect(find: Find) -> Figure:
    """Returns tokens per second, and their factor over exact attention."""
    rows: list[tuple[Value, ...]] = []
    lines: list[Series] = []
    (known,) = published_values("R2")
    for system, batch in _LINES:
        rates = tuple(rate_of(find, Cell(_at(system, ratio), batch)) for ratio in RATIOS)
        exact, eighth = rate_of(find, Cell(INSTA, batch)) if system is INSTA_SPARF else None, rates[2]
        gain = None if exact is None or eighth is None else eighth / exact
        rows.append((system.name, str(batch), *rates, gain, known if batch == 256 else None))
        lines.append(Series(f"{system.name}, batch {batch}", rates))
    return Figure(
        "sensitivity",
        "New tokens per second over the compression of sparse attention, OPT-13B, one drive",
        ("system", "batch", *(f"1/{n}" for n in RATIOS), "1/8 over\nInstA", "paper"),
        tuple(rows),
        (
            Panel(
                "opt-13b",
                "part of K and V that is used",
                "new tokens per second",
                tuple(f"1/{n}" for n in RATIOS),
                tuple(lines),
            ),
        ),
        "Reads are whole pages: at 1/8 a drive reads about half of what exact attention reads.",
    )


def _at(system: System, ratio: float) -> System:
    return replace(system, compression=float(ratio))


SOURCE = FigureSource("sensitivity", cells, collect)
