"""Which newest tokens host memory keeps of what drives hold."""

from __future__ import annotations

from partitioner.cut_costs import share_bytes
from partitioner.plan.names import class_name, device_span, folded
from partitioner.plan.report.figures import Figures
from partitioner.plan.report.numerals import counted, size
from partitioner.plan.report.table import paragraph


def newest_tokens(figures: Figures) -> list[str]:
    """Returns how large the windows of newest tokens are, in which layers, and what they take; nothing if there are none."""
    plan = figures.plan
    every = [folded(op.name) for op in plan.ops("decode") if op.attention]
    groups: dict[tuple[str, int], list[str]] = {}
    taken: dict[tuple[str, int], float] = {}
    drives: dict[tuple[str, int], dict[str, None]] = {}
    pages: dict[tuple[str, int], int] = {}
    for op in plan.ops("decode"):
        for share in plan.caches.get(op.name, ()) if op.attention else ():
            if share.cut is None or op.attention is None:
                continue
            key = folded(op.name), share.cut.room
            pages[key] = share.cut.page_tokens
            if share.cut.side == "older":
                drives.setdefault(key, {})[share.device] = None
                continue
            groups.setdefault(key, []).append(op.name)
            taken[key] = taken.get(key, 0.0) + share_bytes(plan.costing, op.attention, share)
    lines: list[str] = []
    for (pattern, room), names in groups.items():
        key = pattern, room
        holders = device_span(drives[key])
        verb = "get" if len(drives[key]) > 1 else "gets"
        lines += paragraph(
            f"Of {counted(len(names), 'cache')} of {class_name(names, every.count(pattern))} on {holders}, the newest "
            f"{counted(room, 'token')} of each sequence live in host memory, {size(taken[key])}; {holders} {verb} "
            f"them later, {counted(pages[key], 'token')} at a time, as whole pages."
        )
    return lines
