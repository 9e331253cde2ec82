"""What is written to flash, and how long the drives last."""

from __future__ import annotations

from cost_models import RELAXED_RETENTION
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
    text = (
        f"One generation writes {size(found.generation_bytes)} to flash, {size(found.bytes_per_new_token)} per new token: "
        "whole pages of K and V, each once; tokens that do not fill a page stay in drive memory. Life is capacity x rated "
        "P/E cycles over the rate of writes while one generation follows the other at the predicted speed, day and night. "
        f"Where data has to last for weeks and not for years, it is {RELAXED_RETENTION} times as long (InstInfer, arXiv "
        "2409.04992)."
    )
    return [*title("Endurance"), *table(columns, merged(rows)), *paragraph(text)]


def _lives(drive: DriveWear) -> list[str]:
    lives = (drive.years(), drive.years(RELAXED_RETENTION))
    return ["-" if years is None else significant(years) for years in lives]
