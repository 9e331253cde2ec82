"""Plans with one thing changed, such as a step left out, for tests of what a plan must keep to."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from partitioner import Plan
from partitioner.plan.steps import Move, Step


def changed(plan: Plan, phase: str, **changes: Any) -> Plan:
    """Returns the plan with fields of a phase replaced."""
    return replace(plan, **{phase: replace(plan.phase(phase), **changes)})


def with_step(plan: Plan, phase: str, number: int, **changes: Any) -> Plan:
    steps = list(plan.phase(phase).steps)
    steps[number] = replace(steps[number], **changes)
    return changed(plan, phase, steps=tuple(steps))


def without(plan: Plan, phase: str, dropped: Callable[[Step], bool]) -> Plan:
    """Returns the plan without some steps of a phase, the others renumbered and waiting for what is left."""
    kept = [s for s in plan.phase(phase).steps if not dropped(s)]
    number = {s.id: i for i, s in enumerate(kept)}
    steps = [
        replace(s, id=number[s.id], after=tuple(number[i] for i in s.after if i in number)) for s in kept
    ]
    return changed(plan, phase, steps=tuple(steps))


def with_segment(plan: Plan, phase: str, number: int, **changes: Any) -> Plan:
    segments = list(plan.phase(phase).segments)
    segments[number] = replace(segments[number], **changes)
    return changed(plan, phase, segments=tuple(segments))


def number_of(steps: Sequence[Step], kind: str, *, last: bool = False) -> int:
    """Returns the number of the first or last step of a kind; a run is of kind ``run``."""
    found = [s.id for s in steps if (s.kind if isinstance(s, Move) else "run") == kind]
    return found[-1 if last else 0]


def is_kind(kind: str, *, src: str = "", dst: str = "") -> Callable[[Step], bool]:
    return lambda s: (
        isinstance(s, Move) and s.kind == kind and s.src.startswith(src) and s.dst.startswith(dst)
    )
