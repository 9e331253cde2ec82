"""What crosses and is programmed for one layer of InstA-SparF, and at which rates."""

from __future__ import annotations

from dataclasses import astuple

from runtime.cli.reproduce.cell import INSTA_SPARF, Cell
from runtime.cli.reproduce.figure import Figure, FigureSource, Panel, Series, Value
from runtime.cli.reproduce.io_rates import layer_rates, layer_volumes
from runtime.cli.reproduce.published import published_values
from runtime.cli.reproduce.results import Find

_CELL = Cell(INSTA_SPARF, 64)
_WAYS = ("decode read", "prefill write", "decode write")


def cells() -> tuple[Cell, ...]:
    """Returns InstA-SparF at batch 64."""
    return (_CELL,)


def collect(find: Find) -> Figure:
    """Returns volumes of one layer, and rates."""
    found = find(_CELL)
    assert not isinstance(found, str), found
    volumes = layer_volumes(found, _CELL.workload)
    rates = layer_rates(found, volumes)
    moved = (volumes.decode_read, volumes.prefill_write, volumes.decode_write)
    (prefill_write, decode_read, decode_write), paper_rates = published_values("R12"), published_values("R13")
    in_order = (decode_read, prefill_write, decode_write)
    rows = [_row(f"{w}, GB", p, v / 1e9) for w, p, v in zip(_WAYS, in_order, moved, strict=True)]
    speeds = tuple(v / 1e9 for v in astuple(rates))
    rows += [_row(f"{w}, GB/s", p, v) for w, p, v in zip(_WAYS, paper_rates, speeds, strict=True)]
    lines = (Series("ours", tuple(v / 1e9 for v in moved)), Series("published", in_order, published=True))
    fast = (Series("ours", speeds), Series("published", paper_rates, published=True))
    return Figure(
        "io",
        "One layer of OPT-13B under InstA-SparF, batch 64, 1024 tokens after prompts of 1024, one drive",
        ("what", "paper", "ours", "error\n%"),
        tuple(rows),
        (
            Panel("one layer, a whole generation", "", "GB", _WAYS, lines, "bars", log=True),
            Panel("rates", "", "GB/s", _WAYS, fast, "bars"),
        ),
        "The prompt's K and V count once, as they cross the link; new ones as programmed, K twice. The decode's read rate is "
        "over all of its time, the prefill's write rate over the prefill, under whose compute it hides.",
    )


def _row(what: str, paper: float, ours: float) -> tuple[Value, ...]:
    return (what, paper, ours, 100 * (ours / paper - 1))


SOURCE = FigureSource("io", cells, collect)
