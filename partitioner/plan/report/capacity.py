"""How full each device is when the context is longest."""

from __future__ import annotations

from partitioner.plan.names import device_span, tier_of
from partitioner.plan.plan import Plan
from partitioner.plan.report.cache_forms import cache_forms
from partitioner.plan.report.figures import Figures
from partitioner.plan.report.newest_tokens import newest_tokens
from partitioner.plan.report.numerals import counted, percent, size, size_unit
from partitioner.plan.report.table import Column, paragraph, table, title
from partitioner.plan.residency import drive_memory_bytes


def capacity(figures: Figures) -> list[str]:
    """Returns a table of bytes used and left."""
    plan = figures.plan
    resident = plan.resident_bytes()
    used = {d: row["weights"] + row["kv_cache"] + row["reserve"] for d, row in resident.items()}
    scale = size_unit(row["capacity"] for row in resident.values())
    groups: dict[tuple[str, ...], list[str]] = {}
    for device, row in resident.items():
        cells = [scale.of(row[k]) for k in ("weights", "kv_cache", "reserve")]
        left = row["capacity"] - used[device]
        cells += [scale.of(used[device]), scale.of(left), scale.of(row["capacity"])]
        full = percent(used[device] / row["capacity"]) if row["capacity"] else "0"
        groups.setdefault((tier_of(device), *cells, full), []).append(device)
    rows = [[device_span(found), *key[1:]] for key, found in groups.items()]
    columns = (
        Column("device", "left"),
        *(
            Column(f"{name}\n{scale.name}")
            for name in ("weights", "KV cache", "reserve", "used", "left", "capacity")
        ),
        Column("full\n%"),
    )
    caches = size(sum(row["kv_cache"] for row in resident.values()))
    note = (
        f"With the longest context, {counted(plan.workload.max_len, 'token')} in each of "
        f"{counted(plan.workload.batch_size, 'sequence')}, the KV cache takes {caches}. The reserve is for activations and for "
        "buffers of streamed weights and caches. Drives keep whole pages."
    )
    return [
        *title("Capacity"),
        *table(columns, rows),
        *paragraph(f"{note}{_drive_memory(plan)}"),
        *newest_tokens(figures),
        *cache_forms(figures),
    ]


def _drive_memory(plan: Plan) -> str:
    """Returns what drives need of their own memory; what is too much is said so, since a drive refuses it."""
    needed = drive_memory_bytes(plan)
    if not needed:
        return ""
    device = max(needed, key=lambda name: needed[name] / plan.hw.drive(name).dram_bytes)
    has = plan.hw.drive(device).dram_bytes
    used = size(needed[device])
    said = f" Tokens that fill a page and mapping tables take {used} of the {size(has)} of memory that {device} has"
    if needed[device] <= has:
        return f"{said}."
    return f"{said}, WHICH IS TOO MUCH: such a drive refuses the cache. Lower the batch, or spread it over more drives."
