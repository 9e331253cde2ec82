"""What is written to flash, and how long the drives last."""

from __future__ import annotations

from cost_models import RELAXED_RETENTION
from partitioner.drive_cache import WITH_SECOND_K
from partitioner.plan.endurance import DriveWear
from partitioner.plan.report.figures import Figures
from partitioner.plan.report.numerals import significant, size, size_unit
from partitioner.plan.report.rows import merged
from partitioner.plan.report.table import Column, paragraph, table, title


def endurance(figures: Figures) -> list[str]:
    """Returns a table with a row per drive that keeps a KV cache; nothing where none does."""
    found = figures.plan.endurance
    if found is None:
        return []
    unit = size_unit(amount for d in found.drives for amount in (d.prefill_bytes, d.decode_bytes))
    rows = [
        (
            drive.device,
            [
                unit.of(drive.prefill_bytes),
                unit.of(drive.decode_bytes),
                significant(drive.writes_per_day),
                str(drive.spec.flash.rated_pe_cycles),
                *_lives(drive),
            ],
        )
        for drive in found.drives
    ]
    columns = (
        Column("device", "left"),
        Column(f"prefill\n{unit.name}"),
        Column(f"decode\n{unit.name}"),
        Column("writes of the\nwhole drive/day"),
        Column("rated\nP/E cycles"),
        Column("life\nyears"),
        Column("life, weeks\nof retention"),
    )
    once, twice = (_exponent(found.lifetime_kv_tokens(copies=copies)) for copies in (1.0, WITH_SECOND_K))
    if found.copied:
        written = "whole pages of V once and of K twice, by token and by channel"
        wear = f"{twice} tokens, of prompts or new; {once} if K were kept once, for exact attention"
    else:
        written = "whole pages of K and V, each once"
        wear = (
            f"{once} tokens, of prompts or new; {twice} if K were kept by channel too, for sparse attention"
        )
    waits = (
        "what a window of newest tokens holds is in host memory"
        if any(share.cut is not None for shares in figures.plan.caches.values() for share in shares)
        else "tokens that do not fill a page stay in drive memory"
    )
    text = (
        f"One generation writes {size(found.generation_bytes)} to flash, {size(found.bytes_per_new_token)} per new token: "
        f"{written}; {waits}. The first drive is worn out after {wear}. Life "
        "is capacity x rated P/E cycles over the rate of writes while one generation follows the other at the predicted speed, "
        f"day and night. Where data has to last for weeks and not for years, it is {RELAXED_RETENTION} times as long "
        "(InstInfer, arXiv 2409.04992)."
    )
    return [*title("Endurance"), *table(columns, merged(rows)), *paragraph(text)]


def _lives(drive: DriveWear) -> list[str]:
    lives = (drive.years(), drive.years(RELAXED_RETENTION))
    return ["-" if years is None else significant(years) for years in lives]


def _exponent(value: float) -> str:
    """Returns a large number with four digits: ``3.221e10``."""
    digits, exponent = f"{value:.3e}".split("e")
    return f"{digits}e{int(exponent)}"
