"""The printed form of a sweep, at most 100 columns wide."""

from __future__ import annotations

from collections.abc import Mapping

from partitioner.objective import TOKENS_PER_SECOND
from partitioner.plan.names import tier_of
from partitioner.plan.report.numerals import Unit, percent, significant, time_unit
from partitioner.plan.report.table import Column, paragraph, table
from partitioner.tier_links import TIERS
from runtime.cli.sweep.points import Point, Sweep


def sweep_table(found: Sweep) -> str:
    """Returns one row per value and policy, and below them why some do not fit."""
    plans = [point.found for point in found.points if point.found]
    unit = time_unit(plan.step_s for plan in plans)
    priced = any(plan.usd_per_million_tokens is not None for plan in plans)
    powered = found.objective == "joule"
    notes: dict[str, str] = {}
    rows = [_cells(point, unit, priced, powered, notes) for point in found.points]
    columns = [
        Column(found.axis.key.replace(".", ".\n"), "right"),
        Column("policy", "left"),
        Column("tokens/s"),
        Column(f"step\n{unit.name}"),
        Column("busiest", "left"),
        Column("use\n%"),
        Column("gap\n%"),
        *([Column("USD/M\ntokens")] if priced else []),
        *([Column("J per\ntoken")] if powered else []),
        *(Column(f"KV on\n{tier} %") for tier in TIERS),
    ]
    heading = f"Predicted for {found.model} on {found.hardware}: {found.constants}; {found.axis.key} varied."
    if found.objective != TOKENS_PER_SECOND:
        heading += f" Objective: {found.objective}."
    lines = [*paragraph(heading, ""), "", *table(columns, rows)]
    lines += [line for text, letter in notes.items() for line in paragraph(text, f"  {letter}  ")]
    return "\n".join(lines)


def _cells(point: Point, unit: Unit, priced: bool, powered: bool, notes: dict[str, str]) -> list[str]:
    """Returns a row's cells; a reason goes to the notes, and its number into the row."""
    plan = point.found
    if plan is None:
        number = notes.setdefault(point.reason, str(len(notes) + 1))
        return [point.value.text, point.policy, f"see {number}", *["-"] * (4 + priced + powered + len(TIERS))]
    dollars, joules = plan.usd_per_million_tokens, plan.joules_per_token
    return [
        point.value.text,
        point.policy,
        significant(plan.tokens_per_s),
        unit.of(plan.step_s),
        plan.busiest,
        percent(plan.busiest_use),
        percent(plan.gap),
        *(["-" if dollars is None else significant(dollars)] if priced else []),
        *(["-" if joules is None else significant(joules)] if powered else []),
        *_shares(plan.kv_cache_bytes),
    ]


def _shares(cache_bytes: Mapping[str, float]) -> list[str]:
    """Returns the share of each tier in the KV cache, in percent."""
    whole = sum(cache_bytes.values())
    held = (sum(size for d, size in cache_bytes.items() if tier_of(d) == tier) for tier in TIERS)
    return [percent(size / whole) if whole else "-" for size in held]
