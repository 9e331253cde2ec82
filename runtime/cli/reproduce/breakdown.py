"""Where the time of a decode step goes, at batch 64."""

from __future__ import annotations

from runtime.cli.reproduce.cell import FLEXGEN, FLEXGEN_SPARQ, INSTA, INSTA_SPARF, Cell, System
from runtime.cli.reproduce.figure import Figure, FigureSource, Panel, Series, Value
from runtime.cli.reproduce.prediction import PARTS
from runtime.cli.reproduce.published import published_values
from runtime.cli.reproduce.results import Find

_SYSTEMS = (FLEXGEN, INSTA, FLEXGEN_SPARQ, INSTA_SPARF)
_BATCH = 64


def cells() -> tuple[Cell, ...]:
    """Returns the systems of R9 and R10."""
    return tuple(Cell(system, _BATCH) for system in _SYSTEMS)


def collect(find: Find) -> Figure:
    """Returns seconds by part, and the share of KV access."""
    known = (*published_values("R9"), *published_values("R10"))
    shares = dict(zip(_SYSTEMS, known, strict=True))
    rows: list[tuple[Value, ...]] = []
    kept: list[tuple[System, dict[str, float]]] = []
    for system in _SYSTEMS:
        found = find(Cell(system, _BATCH))
        if isinstance(found, str):
            rows.append((system.name, *(None,) * (len(PARTS) + 3)))
            continue
        parts = [found.parts_s[part] for part in PARTS]
        ours = 100 * found.kv_share
        rows.append((system.name, *parts, shares[system], ours, ours - shares[system]))
        kept.append((system, {part: 100 * found.parts_s[part] / found.step_s for part in PARTS}))
    bars = tuple(Series(part, tuple(split[part] for _, split in kept)) for part in PARTS)
    names = tuple(system.name for system, _ in kept)
    dots = Series("KV access, published", tuple(shares[system] for system, _ in kept), published=True)
    return Figure(
        "breakdown",
        "Seconds of a decode step by part, OPT-13B, batch 64, one drive",
        ("system", *PARTS, "KV %\npaper", "KV %\nours", "error\npoints"),
        tuple(rows),
        (Panel("opt-13b, batch 64", "system", "share of a decode step, %", names, (*bars, dots), "bars"),),
        "KV access is reading flash in a drive, or bringing K and V to the GPU.",
    )


SOURCE = FigureSource("breakdown", cells, collect)
