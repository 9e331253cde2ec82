"""What each device runs and holds, and how busy it and the links are."""

from __future__ import annotations

from cost_models import ComputeSpec
from partitioner.plan.names import tier_of
from partitioner.plan.plan import Plan
from partitioner.plan.report.figures import Figures
from partitioner.plan.report.numerals import counted, percent, size_unit, time_unit
from partitioner.plan.report.rows import merged, split_resource
from partitioner.plan.report.several_gpus import several_gpus
from partitioner.plan.report.table import Column, paragraph, table, title
from partitioner.plan.timeline import Timeline


def devices(figures: Figures) -> list[str]:
    """Returns a table of devices and one of link directions; rows of equal devices are one row."""
    lines = [*title("Devices"), *_device_table(figures), ""]
    links = _link_table(figures)
    if links:
        lines += [*links, ""]
    covered = {"decode": "the step", "prefill": "the prefill"}
    note = f"Use is the share of {' or of '.join(covered[p] for p in figures.phases)} in which a device or link is busy. "
    if "decode" in figures.phases:
        note = f"A step is a decode step over {counted(figures.contexts[1], 'token')}. {note}"
    note += "A row that stands for several gives the numbers of each."
    if links:
        note += " Up is towards host memory, down away from it."
    split = several_gpus(figures)
    return [*lines, *paragraph(note), *(["", *split] if split else ())]


def _device_table(figures: Figures) -> list[str]:
    plan = figures.plan
    resident = plan.resident_bytes()
    scale = size_unit(row[k] for row in resident.values() for k in ("weights", "kv_cache"))
    columns = [
        Column("device", "left"),
        Column("what", "left"),
        Column(f"weights\n{scale.name}"),
        Column(f"KV cache\n{scale.name}"),
    ]
    cells = {
        device: [_kind(plan, device), scale.of(row["weights"]), scale.of(row["kv_cache"])]
        for device, row in resident.items()
    }
    for phase, timeline, label in _parts(figures):
        busy = timeline.busy_s()
        unit = time_unit(busy.get(_resource(d), 0.0) for d in resident)
        columns += [Column(f"ops in\n{phase}"), Column(f"busy\n{unit.name}/{label}"), Column("use\n%")]
        for device, row in cells.items():
            seconds = busy.get(_resource(device), 0.0)
            row += [str(_num_ops(plan, phase, device)), unit.of(seconds), percent(seconds / timeline.end_s)]
    return table(columns, merged(list(cells.items())))


def _link_table(figures: Figures) -> list[str]:
    parts = _parts(figures)
    positions = {link.name: i for i, link in enumerate(figures.plan.hw.links)}
    used = {r for _, t, _ in parts for r, moved in t.moved_bytes().items() if "." in r and moved}
    names = sorted(used, key=lambda r: (split_resource(r)[1], positions[split_resource(r)[0]]))
    if not names:
        return []
    cells: dict[str, list[str]] = {name: [] for name in names}
    columns = [Column("link", "left")]
    for _, timeline, label in parts:
        moved, busy = timeline.moved_bytes(), timeline.busy_s()
        scale = size_unit(moved.get(n, 0.0) for n in names)
        unit = time_unit(busy.get(n, 0.0) for n in names)
        columns += [
            Column(f"moved\n{scale.name}/{label}"),
            Column(f"busy\n{unit.name}/{label}"),
            Column("use\n%"),
        ]
        for n in names:
            use = percent(busy.get(n, 0.0) / timeline.end_s)
            cells[n] += [scale.of(moved.get(n, 0.0)), unit.of(busy.get(n, 0.0)), use]
    ordered = sorted(names, key=lambda n: (tier_of(split_resource(n)[0]), split_resource(n)[1]))
    return table(columns, merged([(n, cells[n]) for n in ordered]))


def _parts(figures: Figures) -> list[tuple[str, Timeline, str]]:
    """Returns (phase, timeline, what it covers) of the decode step and of the prefill, where there is one."""
    labels = {"decode": "step", "prefill": "prefill"}
    return [(p, figures.timeline(p), labels[p]) for p in figures.phases]


def _num_ops(plan: Plan, phase: str, device: str) -> int:
    return sum(device in plan.device_of(phase, op.name) for op in plan.ops(phase))


def _kind(plan: Plan, device: str) -> str:
    spec = plan.hw.device(device)
    if isinstance(spec, ComputeSpec):
        return spec.name
    return "drive with engine" if spec.engine else "drive"


def _resource(device: str) -> str:
    """Returns the resource of a timeline that stands for a device; GPUs of a host act as one."""
    return "gpu0" if device.startswith("gpu") else device
