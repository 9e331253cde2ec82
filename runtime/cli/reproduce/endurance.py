"""How many tokens drives live for, and what read retries cost."""

from __future__ import annotations

from cost_models import RELAXED_RETENTION
from runtime.cli.reproduce.cell import INSTA, Cell
from runtime.cli.reproduce.figure import Figure, FigureSource, Panel, Series, Value
from runtime.cli.reproduce.published import READ_RETRIES_LOSS, published_values
from runtime.cli.reproduce.results import Find

DRIVES = (1, 2, 4, 8, 16, 20)
_BATCH = 64
_RETRIES_MEAN, _RETRIES_MOST = 0.003, 5
"""Worst statistics of reads that are repeated, per page (InstInfer, arXiv 2409.04992, endurance)."""


def cells() -> tuple[Cell, ...]:
    """Returns InstA on all numbers of drives."""
    return tuple(Cell(INSTA, _BATCH, drives) for drives in DRIVES)


def collect(find: Find) -> Figure:
    """Returns tokens, and the loss by read retries."""
    (known,) = published_values("R14")
    rows: list[tuple[Value, ...]] = []
    lives: list[float | None] = []
    for drives in DRIVES:
        found = find(Cell(INSTA, _BATCH, drives))
        life = None if isinstance(found, str) else found.lifetime_tokens / 1e9
        paper = known / 1e9 if drives == 4 else None
        error = None if life is None or paper is None else 100 * (life / paper - 1)
        rows.append((f"tokens, {drives} drives, 1e9", paper, life, error))
        lives.append(life)
    relaxed = tuple(None if life is None else RELAXED_RETENTION * life for life in lives)
    loss = retries_loss(find)
    rows.append(("read retries, per mille, at most", 1e3 * READ_RETRIES_LOSS, loss and 1e3 * loss, None))
    positions = tuple(map(str, DRIVES))
    dots = tuple(known / 1e9 if drives == 4 else None for drives in DRIVES)
    lines = (
        Series("data kept for years", tuple(lives)),
        Series(f"for weeks, x {RELAXED_RETENTION}", relaxed),
        Series("published", dots, published=True),
    )
    return Figure(
        "endurance",
        "Tokens of OPT-13B in the life of drives of 2 TB, and repeated reads",
        ("what", "paper", "ours", "error\n%"),
        tuple(rows),
        (Panel("opt-13b", "drives", "tokens, billions", positions, lines, log=True),),
        "K and V are programmed once each, as published; with the second copy of K it is two thirds of that.",
    )


def retries_loss(find: Find) -> float | None:
    """Returns the share by which the worst read retries lengthen a decode step of InstA.

    A page that is read again is sensed and transferred once more. Transfers add up; of senses, the
    last of a command show, in the worst case of one page that is read as often as any.
    """
    cell = Cell(INSTA, _BATCH)
    found = find(cell)
    if isinstance(found, str):
        return None
    flash = cell.hardware.drives[0].flash
    page_s = flash.page_bytes / flash.channel_bytes_per_s
    tail_s = found.num_layers * _RETRIES_MOST * (flash.t_read_s + page_s)
    return (_RETRIES_MEAN * found.parts_s["KV access"] + tail_s) / found.step_s


SOURCE = FigureSource("endurance", cells, collect)
