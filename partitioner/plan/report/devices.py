"""What each device runs and holds, and how busy it and the links are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby

from cost_models import ComputeSpec
from partitioner.plan.plan import Plan
from partitioner.plan.report.figures import Figures
from partitioner.plan.names import device_span, tier_of
from partitioner.plan.report.numerals import Unit, percent, size_unit, time_unit
from partitioner.plan.report.table import Column, paragraph, table, title

_GB = Unit("GB", 1e9)


def devices(figures: Figures) -> list[str]:
    """Returns a table of devices and one of link directions; rows of equal devices are one row."""
    context = figures.contexts[1]
    lines = [*title("Devices"), *_device_table(figures), ""]
    links = _link_table(figures)
    if links:
        lines += [*links, ""]
    note = (
        f"A step is a decode step over {context} tokens. Use is the share of the step, or of the prefill, in which a device or "
        "link is busy. Where one row stands for several devices or links, its numbers are those of each."
    )
    return [*lines, *paragraph(note)]


def _device_table(figures: Figures) -> list[str]:
    plan, step = figures.plan, figures.step
    step_s = step.busy_s()
    resident = plan.resident_bytes()
    ms = time_unit(step_s.values())
    scale = _scale([row["capacity"] for row in resident.values()])
    rows: list[tuple[str, list[str]]] = []
    for device, row in resident.items():
        busy = step_s.get(_resource(device), 0.0)
        counts = [
            str(_num_ops(plan, p, device)) if p in figures.phases else "-" for p in ("prefill", "decode")
        ]
        held = [scale.of(row[k]) for k in ("weights", "kv_cache", "reserve", "capacity")]
        use = percent(busy / step.end_s) if step.end_s else "0"
        rows.append((device, [_kind(plan, device), *counts, *held, ms.of(busy), use]))
    columns = (
        Column("device", "left"),
        Column("what", "left"),
        Column("ops in\nprefill"),
        Column("ops in\ndecode"),
        Column(f"weights\n{scale.name}"),
        Column(f"KV cache\n{scale.name}"),
        Column(f"reserve\n{scale.name}"),
        Column(f"capacity\n{scale.name}"),
        Column(f"busy\n{ms.name}/step"),
        Column("use\n%"),
    )
    return table(columns, _merged(rows))


def _link_table(figures: Figures) -> list[str]:
    step, prefill = figures.step, figures.timeline("prefill")
    names = sorted(
        {r for t in (step, prefill) for r, moved in t.moved_bytes().items() if "." in r and moved},
        key=lambda r: [link.name for link in figures.plan.hw.links].index(r.rpartition(".")[0]),
    )
    if not names:
        return []
    parts = ((step, "step"), (prefill, "prefill")) if figures.prefill else ((step, "step"),)
    cells: dict[str, list[str]] = {name: [] for name in names}
    columns = [Column("link and\ndirection", "left")]
    for timeline, label in parts:
        moved, busy = timeline.moved_bytes(), timeline.busy_s()
        scale = size_unit(moved.get(n, 0.0) for n in names)
        unit = time_unit(busy.get(n, 0.0) for n in names)
        columns += [
            Column(f"moved\n{scale.name}/{label}"),
            Column(f"busy\n{unit.name}/{label}"),
            Column("use\n%"),
        ]
        for n in names:
            use = busy.get(n, 0.0) / timeline.end_s if timeline.end_s else 0.0
            cells[n] += [scale.of(moved.get(n, 0.0)), unit.of(busy.get(n, 0.0)), percent(use)]
    ordered = sorted(names, key=lambda n: (tier_of(n.rpartition(".")[0]), n.rpartition(".")[2]))
    return table(columns, _merged([(n, cells[n]) for n in ordered]))


def _merged(rows: Sequence[tuple[str, list[str]]]) -> list[list[str]]:
    """Returns rows with neighbours of one kind and equal numbers made one."""

    def alike(row: tuple[str, list[str]]) -> tuple[str, str, list[str]]:
        name, dot, direction = row[0].rpartition(".")
        return tier_of(name if dot else row[0]), direction if dot else "", row[1]

    return [[device_span(r[0] for r in group), *key[2]] for key, group in _grouped(rows, alike)]


def _grouped(
    rows: Sequence[tuple[str, list[str]]], key: object
) -> list[tuple[tuple[str, str, list[str]], list[tuple[str, list[str]]]]]:
    return [(k, list(g)) for k, g in groupby(rows, key)]  # type: ignore[call-overload]


def _scale(capacities: Sequence[float]) -> Unit:
    return _GB if max(capacities) >= 1e10 else size_unit(capacities)


def _num_ops(plan: Plan, phase: str, device: str) -> int:
    shares: list[Mapping[str, float]] = [plan.device_of(phase, op.name) for op in plan.ops(phase)]
    return sum(device in share for share in shares)


def _kind(plan: Plan, device: str) -> str:
    spec = plan.hw.device(device)
    if isinstance(spec, ComputeSpec):
        return spec.name
    return "flash drive with engine" if spec.engine else "flash drive"


def _resource(device: str) -> str:
    """Returns the resource of a timeline that stands for a device; GPUs of a host act as one."""
    return "gpu0" if device.startswith("gpu") else device
