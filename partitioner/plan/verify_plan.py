"""Checks a finished plan: what is read is there, what fits fits, and steps can run in their order."""

from __future__ import annotations

from partitioner.errors import PlanError
from partitioner.jaxpr import Var
from partitioner.plan.plan import PhasePlan, Plan
from partitioner.plan.segment_ops import streams_cache
from partitioner.plan.steps import Move, Run


def verify_plan(plan: Plan) -> None:
    """Checks every phase of a plan.

    Raises:
        PlanError: With the phase, the step and the rule it breaks.
    """
    for phase in (plan.prefill, plan.decode):
        if phase is not None:
            _verify_order(phase)
            _verify_coverage(phase)
            _verify_residency(plan, phase)
    _verify_shares(plan)
    _verify_capacity(plan)


def _verify_order(phase: PhasePlan) -> None:
    for position, step in enumerate(phase.steps):
        if step.id != position:
            raise PlanError(f"{phase.graph.phase.name}: step {position} is numbered {step.id}")
        late = [i for i in step.after if i >= position]
        if late:
            raise PlanError(
                f"{phase.graph.phase.name}: step {position} waits for step {late[0]}, which comes later"
            )


def _verify_coverage(phase: PhasePlan) -> None:
    run = [op for s in phase.segments for op in s.ops]
    wanted = [op.name for op in phase.graph.ops]
    if sorted(run) != sorted(wanted):
        different = set(run) ^ set(wanted) or {n for n in run if run.count(n) > 1}
        raise PlanError(f"{phase.graph.phase.name}: not every op runs exactly once: {sorted(different)[:3]}")
    started = {s.segment for s in phase.steps if isinstance(s, Run)}
    idle = [s.name for s in phase.segments if s.index not in started]
    if idle:
        raise PlanError(f"{phase.graph.phase.name}: segment {idle[0]!r} is never run")


def _verify_residency(plan: Plan, phase: PhasePlan) -> None:
    """Walks the steps in order and checks that every read finds its value on the device, and that a step waits for its maker."""
    name = phase.graph.phase.name
    roles = phase.graph.input_of
    made_by: dict[tuple[Var, str], set[int]] = {}
    waits: list[set[int]] = []
    streamed: dict[tuple[str, str], int] = {}
    for step in phase.steps:
        reach = set(step.after)
        for i in step.after:
            reach |= waits[i]
        waits.append(reach)
        if isinstance(step, Move):
            _check_move(step, roles, made_by, reach, name)
            if step.kind in ("stream_weights", "stream_cache"):
                streamed.update(((n, step.dst), step.id) for n in step.names)
            elif step.kind == "hand_over":
                for v in step.values:
                    made_by.setdefault((v, step.dst), set()).add(step.id)
            continue
        segment = phase.segments[step.segment]
        if segment.attention is None:
            for v in segment.inputs:
                described = roles.get(v)
                if described is None:
                    found = made_by.get((v, step.device))
                    if not found or not found <= reach:
                        raise PlanError(
                            f"{name}: {segment.name!r} reads a value that is not on {step.device} by then"
                        )
                elif described.role == "param":
                    homes = {plan.homes[described.name], *plan.copies.get(described.name, ())}
                    if step.device not in homes and streamed.get((described.name, step.device)) not in reach:
                        raise PlanError(
                            f"{name}: {segment.name!r} reads {described.name!r}, which lives on {sorted(homes)} and is not "
                            f"streamed to {step.device}"
                        )
            _check_caches(plan, phase, step, reach, streamed)
        for v in segment.outputs:
            made_by.setdefault((v, step.device), set()).add(step.id)


def _check_move(
    step: Move, roles: object, made_by: dict[tuple[Var, str], set[int]], reach: set[int], phase: str
) -> None:
    for v in step.values:
        makers = made_by.get((v, step.src))
        if makers is None or not (makers & reach):
            raise PlanError(
                f"{phase}: move {step.id} ({step.kind}) takes a value from {step.src} that is not there by then"
            )


def _check_caches(
    plan: Plan, phase: PhasePlan, step: Run, reach: set[int], streamed: dict[tuple[str, str], int]
) -> None:
    for op_name in phase.segments[step.segment].ops:
        op = phase.op[op_name]
        if op.attention is None or phase.graph.phase.name != "decode":
            continue
        if streams_cache(op, plan.decisions.ops[op_name], "decode"):
            missing = streamed.get((op.attention.key_cache, step.device)) not in reach
        else:
            missing = all(s.device != step.device for s in plan.caches[op_name])
        if missing:
            raise PlanError(
                f"decode: {op_name!r} runs on {step.device} and its cache is neither there nor streamed"
            )


def _verify_shares(plan: Plan) -> None:
    for name, shares in plan.caches.items():
        total = sum(s.fraction for s in shares)
        if abs(total - 1) > 1e-9:
            raise PlanError(f"the cache shares of {name!r} sum to {total:.6f}, not to 1")


def _verify_capacity(plan: Plan) -> None:
    for device, row in plan.resident_bytes().items():
        used = row["weights"] + row["kv_cache"] + row["reserve"]
        if used > row["capacity"] * (1 + 1e-9):
            raise PlanError(
                f"{device} would hold {used:.0f} bytes of {row['capacity']:.0f}; lower the batch or the lengths"
            )
