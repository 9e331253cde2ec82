"""Whatever is decided, the plan for it is sound, and moves nothing that is not used."""

from hypothesis import given, settings
from hypothesis import strategies as st

from partitioner import Plan
from partitioner.plan.decisions import Decision
from partitioner.plan.steps import Move, Run
from partitioner.plan.verify_plan import verify_plan
from tests.partitioner.plan.plans import plan_of, roomy, traced_wide, ways

PROCESSORS = st.sampled_from(["gpu", "host"])
ATTENTIONS = st.sampled_from(
    [
        ("gpu", "gpu"),
        ("gpu", "host"),
        ("gpu", "csd"),
        ("host", "gpu"),
        ("host", "host"),
        ("host", "csd"),
        ("csd", "csd"),
    ]
)


@st.composite
def placements(draw: st.DrawFn) -> dict[str, Decision]:
    """Returns a decision for every op of the wide model."""
    return {
        op.name: ways(draw(PROCESSORS), *draw(ATTENTIONS))
        if op.attention
        else ways(draw(PROCESSORS), draw(PROCESSORS), draw(PROCESSORS))
        for op in traced_wide().graphs[-1].ops
    }


@settings(max_examples=60)
@given(placements(), st.sampled_from([1, 3, 11]))
def test_a_plan_is_sound_and_lean(decisions: dict[str, Decision], num_drives: int) -> None:
    plan = roomy(plan_of(decisions, num_drives))
    verify_plan(plan)
    for phase in ("prefill", "decode"):
        check_every_op_runs_where_it_was_decided(plan, phase)
        check_every_move_is_needed(plan, phase)


def check_every_op_runs_where_it_was_decided(plan: Plan, phase: str) -> None:
    ran: dict[str, set[str]] = {}
    for step in plan.phase(phase).steps:
        if isinstance(step, Run):
            for op in plan.phase(phase).segments[step.segment].ops:
                ran.setdefault(op, set()).add(step.device)
    assert ran == {op.name: set(plan.device_of(phase, op.name)) for op in plan.ops(phase)}


def check_every_move_is_needed(plan: Plan, phase: str) -> None:
    """Checks that moves cross devices, none twice, and that something that waits for them reads what they bring."""
    steps = plan.phase(phase).steps
    brought: list[tuple[object, str, object]] = []
    for step in steps:
        if not isinstance(step, Move):
            continue
        assert (step.src == step.dst) == (step.path == "local")
        if step.kind in ("append_cache", "store_cache"):
            continue
        brought += [(what, step.dst, step.share) for what in (*step.values, *step.names)]
        waiting = [s for s in steps if step.id in s.after]
        assert any(set((*step.values, *step.names)) & reads(plan, phase, s, step.dst) for s in waiting)
    assert len(brought) == len(set(brought))


def reads(plan: Plan, phase: str, step: Run | Move, device: str) -> set[object]:
    """Returns the values, parameters and caches that a step takes from a device."""
    if isinstance(step, Move):
        return set(step.values) if step.src == device else set()
    if step.device != device:
        return set()
    found = plan.phase(phase)
    segment = found.segments[step.segment]
    if segment.attention is not None:
        attention = found.op[segment.attention].attention
        assert attention is not None
        return {attention.query, attention.new_key, attention.new_value}
    return {found.graph.input_of[v].name if v in found.graph.input_of else v for v in segment.inputs}
