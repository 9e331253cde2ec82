"""One contract for all objectives: the bound holds, and ``auto`` is never worse than a policy or another objective."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from cost_models import HardwareSpec
from models import abstract
from partitioner import PlacementError, Plan, PlanError, Workload, partition
from partitioner.objective import OBJECTIVES, TOKENS_PER_SECOND, missing_figures
from partitioner.placement.policies import POLICIES
from partitioner.plan.plan_data import decisions_from_dict
from partitioner.plan.predicted_value import predicted_value
from partitioner.plan.report import SECTIONS
from partitioner.plan.report.figures import Figures
from tests.partitioner.plan.plans import WIDE, wide_plan
from tests.partitioner.small_models import LLAMA, OPT, plain_function


def _hardware(preset: str, gpu_bytes: float, host_bytes: float, drives: int = 1) -> HardwareSpec:
    hw = HardwareSpec.load(preset).replace("gpu.memory_bytes", gpu_bytes)
    return hw.replace("host.memory_bytes", host_bytes).with_drives(drives)


CASES = {
    "all fits": (WIDE, HardwareSpec.load("a6000-csd"), Workload(2, 96, 32)),
    "the GPU is almost full": (WIDE, _hardware("a6000-csd", 24e6, 8e6), Workload(2, 96, 32)),
    "weights are more than the GPU holds": (WIDE, _hardware("a6000-csd", 20e6, 2e8), Workload(2, 96, 32)),
    "Llama on an H200": (LLAMA, HardwareSpec.load("h200-csd4"), Workload(4, 24, 16)),
    "OPT with a plain drive": (OPT, HardwareSpec.load("a6000-ssd"), Workload(4, 24, 16)),
}
HELD = [(case, objective) for case in CASES for objective in OBJECTIVES]
ROUNDING = 1 + 1e-9
TIED = 1 + 3e-3
"""A latency's prefill counts a thousandth of the steps, so its steps may be so much slower than the fastest."""


@cache
def planned(case: str, policy: str, objective: str) -> Plan | None:
    """Returns a plan, or None where nothing fits or the hardware lacks what the policy needs."""
    config, hw, workload = CASES[case]
    try:
        return partition(abstract(config), hw, workload, policy, objective=objective)
    except PlacementError:
        return None


def value(plan: Plan, objective: str) -> float:
    found = predicted_value(plan, objective)
    assert found is not None
    return found


@pytest.mark.parametrize(("case", "objective"), HELD)
def test_the_bound_is_below_the_objective(case: str, objective: str) -> None:
    for policy in POLICIES:
        plan = planned(case, policy, objective)
        assert policy != "auto" or plan is not None
        if plan is not None:
            assert plan.objective.name == objective
            assert 0 < plan.bound <= plan.decisions.certificate.objective
            assert plan.gap < 0.01


@pytest.mark.parametrize(("case", "objective"), HELD)
def test_auto_is_never_worse_than_a_policy(case: str, objective: str) -> None:
    """Neither by the solver's account nor by the schedule of the finished plans."""
    best, others = planned(case, "auto", objective), [planned(case, p, objective) for p in POLICIES]
    assert best is not None
    for other in filter(None, others):
        assert best.decisions.certificate.objective <= other.decisions.certificate.objective * ROUNDING
        allowed = TIED if objective == "latency" else ROUNDING
        assert value(best, objective) <= value(other, objective) * allowed, other.policy


@pytest.mark.parametrize(("case", "objective"), HELD)
def test_no_other_objective_does_better_by_this_one(case: str, objective: str) -> None:
    best = planned(case, "auto", objective)
    assert best is not None
    for name in OBJECTIVES:
        other = planned(case, "auto", name)
        assert other is not None
        if objective in ("latency", "tokens-per-second") or other.micro_batches == best.micro_batches:
            assert value(best, objective) <= value(other, objective) * TIED, name


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_account_is_the_schedule_where_everything_is_on_the_gpu(objective: str) -> None:
    plan = planned("all fits", "gpu-only", objective)
    assert plan is not None
    rel = 2e-3 if objective == "latency" else 1e-9
    assert plan.decisions.certificate.account == pytest.approx(value(plan, objective), rel=rel)


@pytest.mark.parametrize("objective", ["dollar", "joule"])
def test_the_account_is_near_the_schedule_where_drives_attend(objective: str) -> None:
    plan = planned("all fits", "instinfer", objective)
    assert plan is not None
    assert plan.decisions.certificate.account == pytest.approx(value(plan, objective), rel=0.01)


def test_latency_has_no_micro_batches() -> None:
    for case in CASES:
        plan = planned(case, "auto", "latency")
        assert plan is not None
        assert plan.micro_batches == 1


def test_latency_is_that_of_a_step_and_the_first_token_comes_before() -> None:
    plan = planned("all fits", "auto", "latency")
    assert plan is not None
    assert plan.latency_s == pytest.approx(plan.total_decode_seconds / 31)
    assert plan.first_token_s == plan.prefill_seconds


def test_a_prompt_taken_token_by_token_delays_the_first_token() -> None:
    function = plain_function()
    plan = partition(replace(function, max_chunk=1), "a6000-csd", Workload(2, 6, 4), objective="latency")
    assert plan.prefill is None
    assert plan.first_token_s == pytest.approx(6 * plan.decode_seconds(3))


def test_a_host_that_needs_much_power_is_left_alone() -> None:
    """What the host takes over saves time; with a working host at a kilowatt more it costs energy."""
    config, hw, workload = CASES["weights are more than the GPU holds"]
    hw = hw.replace("gpu.active_w", 5000.0)
    by_time = partition(abstract(config), hw, workload)
    by_energy = partition(abstract(config), hw, workload, objective="joule")
    assert value(by_energy, "joule") <= value(by_time, "joule") * ROUNDING
    assert by_energy.total_seconds >= by_time.total_seconds / ROUNDING
    assert by_energy.decisions.ops != by_time.decisions.ops


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_objective_is_in_the_file_and_in_the_report(objective: str, tmp_path: Path) -> None:
    plan = planned("Llama on an H200", "auto", objective)
    assert plan is not None
    plan.save(tmp_path / "plan.json")
    loaded = Plan.load(tmp_path / "plan.json", abstract(LLAMA))
    assert loaded.objective is OBJECTIVES[objective]
    assert loaded.to_dict() == plan.to_dict()
    proof = plan.to_dict()["decisions"]["certificate"]
    assert (proof["minimised"], proof["unit"]) == (objective, OBJECTIVES[objective].unit)
    lines = SECTIONS["certificate"](Figures(plan))
    assert any(f"(objective {objective!r}), in {OBJECTIVES[objective].unit}" in line for line in lines)
    marked = [line for line in SECTIONS["totals"](Figures(plan)) if line.endswith("(objective)")]
    assert len(marked) == 1


def test_totals_leave_out_what_the_hardware_does_not_tell() -> None:
    text = "\n".join(SECTIONS["totals"](Figures(wide_plan("instinfer"))))
    assert "tokens/s" in text
    assert "J/token" not in text
    assert "USD" not in text


def test_plans_by_other_objectives_differ_in_a_setting() -> None:
    plans = [planned("all fits", "auto", name) for name in ("joule", TOKENS_PER_SECOND)]
    assert plans[0] is not None
    assert plans[1] is not None
    changed = {s.key: (s.before, s.after) for s in plans[0].diff(plans[1]).settings}
    assert changed["objective"] == ("joule", TOKENS_PER_SECOND)


class TestErrors:
    def test_an_unknown_objective(self) -> None:
        with pytest.raises(
            PlacementError, match="unknown objective 'watt'; known are tokens-per-second, latency"
        ):
            partition(abstract(OPT), "demo", objective="watt")

    def test_powers_that_are_missing(self) -> None:
        message = (
            "objective 'joule' needs the power of every device, and demo lacks gpu.idle_w, gpu.active_w, host.idle_w, "
            "host.active_w, drive.idle_w, drive.active_w; add them to its description, each as "
            r"\{ value = NUMBER, source = \"TEXT\" \}, or choose objective 'tokens-per-second' or 'latency'"
        )
        with pytest.raises(PlacementError, match=message):
            partition(abstract(OPT), "demo", objective="joule")

    def test_a_price_that_is_missing(self) -> None:
        hw = replace(HardwareSpec.load("a6000-csd"), service_life_s=None)
        assert missing_figures(hw, "powers") == ()
        with pytest.raises(PlacementError, match="and a6000-csd lacks service_life_s; add it to"):
            partition(abstract(OPT), hw, objective="dollar")

    def test_a_file_with_an_unknown_objective_or_unit(self) -> None:
        plan = planned("all fits", "auto", "joule")
        assert plan is not None
        for field, wrong, message in (
            (
                "minimised",
                "watt",
                "certificate.minimised must be one of tokens-per-second, latency, dollar, joule",
            ),
            ("unit", "s", "certificate.unit must be 'J/token' for 'joule', got 's'"),
        ):
            data = plan.to_dict()["decisions"]
            data["certificate"][field] = wrong
            with pytest.raises(PlanError, match=message):
                decisions_from_dict(data)
