"""Checks a finished plan: what is read is there, what fits fits, and steps can run in their order."""

from __future__ import annotations

from partitioner.errors import PlanError
from partitioner.plan.plan import PhasePlan, Plan
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
        held = [(r, h) for s in shares for r in range(*s.rows) for h in range(*s.kv_heads)]
        if sorted(held) != [(r, h) for r in range(rows) for h in range(heads)]:
            raise PlanError(
                f"the cache shares of {op.name!r} do not hold each of {rows} rows x {heads} KV heads exactly once"
            )
        for s in shares:
            part = s.num_rows * s.num_kv_heads / (rows * heads)
            if abs(s.fraction - part) > 1e-9:
                raise PlanError(
                    f"the cache share of {op.name!r} on {s.device} says {s.fraction:.6f} of it and holds {part:.6f}"
                )
        complete.add((shares, heads))


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
    started = [s.segment for s in phase.steps if isinstance(s, Run)]
    for number, segment in enumerate(phase.segments):
        if segment.index != number:
            raise PlanError(f"{name}: segment {number} is numbered {segment.index}")
        times = started.count(number)
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
