"""Checks a finished plan: what is read is there, what fits fits, and steps can run in their order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from partitioner.errors import PlanError
from partitioner.plan.phase_plan import PhasePlan
from partitioner.plan.plan import Plan
from partitioner.plan.steps import Run, Share
from partitioner.plan.verify_steps import verify_steps


def verify_plan(plan: Plan) -> None:
    """Checks every phase of a plan.

    Raises:
        PlanError: With the phase, the step and the rule it breaks.
    """
    _verify_homes(plan)
    _verify_shares(plan)
    for phase in (plan.prefill, plan.decode):
        if phase is not None:
            _verify_order(phase)
            _verify_coverage(phase)
            verify_steps(plan, phase)
    _verify_capacity(plan)


def _verify_homes(plan: Plan) -> None:
    """Checks that every parameter lives somewhere."""
    known = set(plan.hw.device_names)
    for described in plan.decode.graph.phase.inputs:
        if described.role not in ("param", "rng"):
            continue
        home = plan.homes.get(described.name)
        if home is None:
            raise PlanError(f"parameter {described.name!r} has no home; give it one of {sorted(known)}")
        missing = {home, *plan.copies.get(described.name, ())} - known
        if missing:
            raise PlanError(
                f"parameter {described.name!r} lives on {sorted(missing)[0]}, and {plan.hw.name} has {sorted(known)}"
            )


def _verify_shares(plan: Plan) -> None:
    """Checks that the shares of every cache hold each of its rows and KV heads exactly once."""
    rows = plan.decode.rows
    complete: set[tuple[tuple[Share, ...], int]] = set()
    for op in plan.decode.graph.ops:
        if op.attention is None:
            continue
        shares, heads = plan.caches.get(op.name, ()), op.attention.num_kv_heads
        if (shares, heads) in complete:
            continue
        held = _times_held([s for s in shares if not _is_newest(s)], rows, heads)
        if held is None or (held != 1).any():
            raise PlanError(
                f"the cache shares of {op.name!r} do not hold each of {rows} rows x {heads} KV heads exactly once"
            )
        for s in shares:
            part = s.num_rows * s.num_kv_heads / (rows * heads)
            if abs(s.fraction - part) > 1e-9:
                raise PlanError(
                    f"the cache share of {op.name!r} on {s.device} says {s.fraction:.6f} of it and holds {part:.6f}"
                )
        _verify_newest(op.name, shares, rows, heads)
        complete.add((shares, heads))


def _verify_newest(op: str, shares: tuple[Share, ...], rows: int, heads: int) -> None:
    """Checks that the newest tokens of what is cut along tokens live in one window, of whole pages."""
    cut = [s for s in shares if s.cut is not None]
    older = [s for s in cut if not _is_newest(s)]
    windows = [s for s in cut if _is_newest(s)]
    if not cut:
        return
    held, kept = (_times_held(part, rows, heads) for part in (older, windows))
    if len(windows) != 1 or held is None or kept is None or (held != kept).any():
        raise PlanError(
            f"the cache of {op!r} is cut along tokens, and the window of the newest ones does not have the rows and KV "
            "heads of the older ones exactly once"
        )
    cuts = {(s.cut.room, s.cut.page_tokens) for s in cut if s.cut is not None}
    room, page = next(iter(cuts))
    if len(cuts) > 1 or room < 1 or room % page or any(not s.device.startswith("csd") for s in older):
        raise PlanError(
            f"the cache of {op!r} is cut along tokens at {sorted(cuts)} (room, tokens of a page); give one room of whole pages "
            "for all, the older tokens on drives"
        )


def _is_newest(share: Share) -> bool:
    return share.cut is not None and share.cut.side == "newest"


def _times_held(shares: Iterable[Share], rows: int, heads: int) -> NDArray[np.int64] | None:
    """Returns [rows, KV heads] in how many shares each is; None where one has others."""
    held = np.zeros((rows, heads), np.int64)
    for s in shares:
        if not (0 <= s.rows[0] <= s.rows[1] <= rows and 0 <= s.kv_heads[0] <= s.kv_heads[1] <= heads):
            return None
        held[slice(*s.rows), slice(*s.kv_heads)] += 1
    return held


def _verify_order(phase: PhasePlan) -> None:
    name = phase.graph.phase.name
    for position, step in enumerate(phase.steps):
        if step.id != position:
            raise PlanError(f"{name}: step {position} is numbered {step.id}")
        late = [i for i in step.after if not 0 <= i < position]
        if late:
            raise PlanError(
                f"{name}: step {position} waits for step {late[0]}, which does not come before it"
            )


def _verify_coverage(phase: PhasePlan) -> None:
    name = phase.graph.phase.name
    run = [op for s in phase.segments for op in s.ops]
    wanted = [op.name for op in phase.graph.ops]
    if sorted(run) != sorted(wanted):
        different = set(run) ^ set(wanted) or {n for n in run if run.count(n) > 1}
        raise PlanError(f"{name}: not every op is in exactly one segment: {sorted(different)[:3]}")
    started = Counter(s.segment for s in phase.steps if isinstance(s, Run))
    for number, segment in enumerate(phase.segments):
        if segment.index != number:
            raise PlanError(f"{name}: segment {number} is numbered {segment.index}")
        times = started[number]
        if not times:
            raise PlanError(f"{name}: segment {segment.name!r} is never run")
        if times > 1 and segment.attention is None:
            raise PlanError(f"{name}: segment {segment.name!r} is run {times} times")
    unknown = sorted(set(started) - set(range(len(phase.segments))))
    if unknown:
        raise PlanError(f"{name}: there is no segment {unknown[0]} to run")


def _verify_capacity(plan: Plan) -> None:
    for device, row in plan.resident_bytes().items():
        used = row["weights"] + row["kv_cache"] + row["reserve"]
        if used > row["capacity"] * (1 + 1e-9):
            raise PlanError(
                f"{device} would hold {used:.0f} bytes of {row['capacity']:.0f}; lower the batch or the lengths"
            )
