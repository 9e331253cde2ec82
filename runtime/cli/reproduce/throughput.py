"""Throughput over the batch, every system and model on one drive."""

from __future__ import annotations

from runtime.cli.reproduce.cell import AUTO, BATCHES, PRESETS, PUBLISHED, Cell, System
from runtime.cli.reproduce.figure import Figure, FigureSource, Panel, Series, Value
from runtime.cli.reproduce.results import Find, rate_of

_AUTO_MODELS = ("opt-13b",)
"""Where ``auto`` is planned too; memory that is full on several tiers takes the solver seconds for each point."""


def cells() -> tuple[Cell, ...]:
    """Returns all models, batches and systems."""
    return tuple(Cell(s, b, model=m) for m in PRESETS for b in BATCHES for s in _systems(m))


def collect(find: Find) -> Figure:
    """Returns tokens per second."""
    rows: list[tuple[Value, ...]] = []
    panels: list[Panel] = []
    for model in PRESETS:
        rates = {
            system: tuple(rate_of(find, Cell(system, batch, model=model)) for batch in BATCHES)
            for system in _systems(model)
        }
        rows += [(model, system.name, *found) for system, found in rates.items()]
        lines = tuple(Series(system.name, found) for system, found in rates.items())
        batches = tuple(map(str, BATCHES))
        panels.append(Panel(model, "batch", "new tokens per second", batches, lines, log=True))
    return Figure(
        "throughput",
        "New tokens per second over the batch, one drive",
        ("model", "system", *(f"b {batch}" for batch in BATCHES)),
        tuple(rows),
        tuple(panels),
        "Where there is no value, nothing fits: FlexGen's whole prefill in GPU memory, or K and V of one layer that Recomp "
        "makes again. The published ratios of these rates are R1 to R6 and R16.",
    )


def _systems(model: str) -> tuple[System, ...]:
    return (*PUBLISHED, AUTO) if model in _AUTO_MODELS else PUBLISHED


SOURCE = FigureSource("throughput", cells, collect)
