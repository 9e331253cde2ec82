"""One contract for all policies: plans keep to their constraints, bounds hold, and ``auto`` is never worse than any."""

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest

from cost_models import HardwareSpec
from models import abstract, load_pretrained
from partitioner import PlacementError, Plan, Workload, partition
from partitioner.front import Traced, trace_model
from partitioner.frontend import adapt
from partitioner.objective import OBJECTIVES, TOKENS_PER_SECOND
from partitioner.placement.policies import POLICIES
from partitioner.plan.assemble import assemble_plan
from partitioner.plan.names import tier_of
from partitioner.plan.steps import Move
from partitioner.plan.verify_plan import verify_plan
from partitioner.planner import Planner

MODELS: dict[str, Callable[[], Any]] = {
    "tiny": lambda: load_pretrained("tiny"),
    "opt-1.3b": lambda: abstract("opt-1.3b"),
}
CASES = {
    "tiny, one row": ("tiny", "demo", Workload(1, 64, 32)),
    "tiny, eight rows": ("tiny", "demo", Workload(8, 128, 32)),
    "tiny, more than the GPU holds": ("tiny", "demo", Workload(8, 480, 32)),
    "opt-1.3b, four rows": ("opt-1.3b", "a6000-csd", Workload(4, 512, 512)),
    "opt-1.3b, more than the GPU holds": ("opt-1.3b", "a6000-csd", Workload(256, 512, 512)),
}
HOLDS_NOT = {
    ("tiny, more than the GPU holds", "gpu-only"),
    ("tiny, more than the GPU holds", "deepspeed-host"),
    ("tiny, more than the GPU holds", "flexgen-ssd"),  # the buffers of streamed caches
    ("tiny, more than the GPU holds", "flexgen-gds"),
    ("tiny, more than the GPU holds", "flexgen-sparq"),
    ("tiny, more than the GPU holds", "vllm-recompute"),
    ("tiny, more than the GPU holds", "host-attention"),
    ("opt-1.3b, more than the GPU holds", "gpu-only"),
}
"""What does not fit; everything else has to."""

GROUPED = {("tiny", "recompute")}
"""Models whose K and V take no more than the inputs of their layers, so that a policy has nothing to keep in their place."""

HELD = [
    (case, policy)
    for case in CASES
    for policy in POLICIES
    if (case, policy) not in HOLDS_NOT and (CASES[case][0], policy) not in GROUPED
]


@cache
def traced(case: str) -> Traced:
    """Returns the op graphs of a case, which are the same for all policies."""
    model, hw, workload = CASES[case]
    return trace_model(adapt(MODELS[model]()), HardwareSpec.load(hw), workload)


@cache
def planned(case: str, policy: str) -> Plan:
    """Returns what ``partition`` does for a case, and checks it."""
    _, name, workload = CASES[case]
    hw = HardwareSpec.load(name)
    found = Planner(traced(case), hw, workload, policy, OBJECTIVES[TOKENS_PER_SECOND]).solve()
    decisions = found[0].decisions
    plan = assemble_plan(traced(case), hw, workload, policy, decisions)
    verify_plan(plan)
    return plan


@pytest.mark.parametrize(("case", "policy"), HELD)
def test_ops_run_where_the_policy_lets_them(case: str, policy: str) -> None:
    plan, rules = planned(case, policy), POLICIES[policy]
    attention = {"prefill": rules.prefill_attention, "decode": rules.decode_attention}
    for phase in ("prefill", "decode"):
        for op in plan.ops(phase):
            devices = plan.device_of(phase, op.name)
            allowed = attention[phase] if op.attention else rules.compute
            assert {tier_of(d) for d in devices} <= set(allowed), op.name
            assert sum(devices.values()) == pytest.approx(1)


@pytest.mark.parametrize(("case", "policy"), HELD)
def test_weights_and_caches_live_where_the_policy_lets_them(case: str, policy: str) -> None:
    plan, rules = planned(case, policy), POLICIES[policy]
    for device, row in plan.resident_bytes().items():
        if row["kv_cache"]:
            assert tier_of(device) in rules.cache_homes
        if row["weights"]:
            assert tier_of(device) in rules.weight_homes
    for op in plan.ops("decode"):
        if op.attention:
            assert {tier_of(s.device) for s in plan.caches[op.name]} <= set(rules.cache_homes)
        elif plan.decisions.ops[op.name].home != "-":
            assert plan.decisions.ops[op.name].home in rules.weight_homes


@pytest.mark.parametrize(("case", "policy"), HELD)
def test_transfers_take_the_path_of_the_policy(case: str, policy: str) -> None:
    plan = planned(case, policy)
    moves = [s for p in (plan.phase("prefill"), plan.decode) for s in p.steps if isinstance(s, Move)]
    between = {m.path for m in moves if "host" not in (m.src, m.dst) and m.src != m.dst}
    assert between <= ({"via_host"} if POLICIES[policy].via_host else {"p2p"})
    if POLICIES[policy].cache_homes == ("csd",):
        assert between


@pytest.mark.parametrize(("case", "policy"), HELD)
def test_the_bound_is_below_the_objective(case: str, policy: str) -> None:
    plan = planned(case, policy)
    assert 0 < plan.bound <= plan.decisions.certificate.objective
    assert 0 <= plan.gap < 1e-6


@pytest.mark.parametrize(("case", "policy"), HELD)
def test_auto_is_never_worse(case: str, policy: str) -> None:
    best, other = planned(case, "auto"), planned(case, policy)
    rounding = 1 + 1e-9
    assert best.decisions.certificate.objective <= other.decisions.certificate.objective * rounding
    assert best.bound <= other.decisions.certificate.objective * rounding


def test_auto_finds_what_no_policy_does() -> None:
    case = "opt-1.3b, more than the GPU holds"
    others = [planned(c, p).decisions.certificate.objective for c, p in HELD if c == case and p != "auto"]
    assert planned(case, "auto").decisions.certificate.objective < 0.5 * min(others)
    assert len({tier_of(s.device) for shares in planned(case, "auto").caches.values() for s in shares}) > 1


@pytest.mark.parametrize("case", CASES)
def test_a_policy_is_what_its_system_does(case: str) -> None:
    """The same generation is placed as InstInfer, FlexGen and DeepSpeed would."""
    for policy, decode, home in (
        ("instinfer", "csd", "csd"),
        ("flexgen-ssd", "gpu", "csd"),
        ("deepspeed-host", "gpu", "host"),
        ("gpu-only", "gpu", "gpu"),
    ):
        if (case, policy) in HOLDS_NOT:
            continue
        plan = planned(case, policy)
        decided = {plan.decisions.ops[op.name] for op in plan.ops("decode") if op.attention}
        assert {(d.tier("prefill"), d.tier("decode"), d.home) for d in decided} == {("gpu", decode, home)}


@pytest.mark.parametrize(("case", "policy"), sorted(HOLDS_NOT))
def test_what_does_not_fit_is_refused_with_the_bytes(case: str, policy: str) -> None:
    device = "host" if policy in ("deepspeed-host", "host-attention") else "gpu0"
    message = rf"nothing fits under policy '{policy}': weights need .*{device} is short of [\d.]+ [GM]B \(\d+ bytes: wants"
    with pytest.raises(PlacementError, match=message):
        planned(case, policy)


class TestErrors:
    def test_an_unknown_policy(self) -> None:
        names = ", ".join(POLICIES)
        with pytest.raises(PlacementError, match=f"unknown policy 'magic'; known are {names}"):
            partition(abstract("opt-125m"), "demo", policy="magic")

    @pytest.mark.parametrize("policy", ["instinfer", "flexgen-ssd"])
    def test_no_drive(self, policy: str) -> None:
        hw = HardwareSpec.load("a6000-csd").with_drives(0)
        message = rf"policy '{policy}' needs a drive and a6000-csd.* has none; try with_drives\(1\)"
        with pytest.raises(PlacementError, match=message):
            partition(abstract("opt-125m"), hw, policy=policy)

    def test_no_engine(self) -> None:
        message = "policy 'instinfer' runs attention inside the drive, and the drives of a6000-ssd have no engine; use a preset"
        with pytest.raises(PlacementError, match=message):
            partition(abstract("opt-125m"), "a6000-ssd", policy="instinfer")

    @pytest.mark.parametrize("policy", ["auto", "flexgen-ssd"])
    def test_a_plain_drive_stores_and_does_not_attend(self, policy: str) -> None:
        plan = partition(abstract("opt-125m"), "a6000-ssd", Workload(2, 32, 32), policy)
        assert not any(d.tier("decode") == "csd" for d in plan.decisions.ops.values())
