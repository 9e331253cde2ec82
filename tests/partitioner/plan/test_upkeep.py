"""Joules and dollars of plans, held against the sums worked out here."""

from dataclasses import replace

import pytest

from cost_models import HardwareSpec
from models import abstract
from partitioner import Workload, partition
from partitioner.plan.report import SECTIONS
from partitioner.plan.report.figures import Figures
from tests.partitioner.plan.plans import WIDE, priced, wide_plan


def test_energy_and_dollars_of_a_token() -> None:
    plan = priced(wide_plan("instinfer"))
    tokens = 2 * 32
    busy = dict.fromkeys(("gpu0", "host", "csd0"), 0.0)
    for timeline, weight in (*plan.decode_timelines, (plan.prefill_timeline, 1.0)):
        for resource, seconds in timeline.busy_s().items():
            if resource in busy:
                busy[resource] += weight * seconds
    joules = 125 * plan.total_seconds + 280 * busy["gpu0"] + 100 * busy["host"] + 20 * busy["csd0"]
    assert plan.joules_per_token == pytest.approx(joules / tokens)
    dollars = 9000 / 1e8 * plan.total_seconds + 2e-8 * joules
    assert plan.dollars_per_million_tokens == pytest.approx(1e6 * dollars / tokens)
    predicted = plan.to_dict()["predicted"]
    assert predicted["joules_per_token"] == plan.joules_per_token
    assert predicted["dollars_per_million_tokens"] == plan.dollars_per_million_tokens


def test_a_second_gpu_is_as_busy_as_the_first() -> None:
    config = WIDE.replace(param_dtype="float16", compute_dtype="float16")
    plan = partition(abstract(config), "2xa6000-csd", Workload(2, 64, 16), "gpu-only")
    busy = plan.prefill_timeline.busy_s()["gpu0"]
    busy += sum(weight * t.busy_s()["gpu0"] for t, weight in plan.decode_timelines)
    idle = 2 * 25 + 90 + 10
    expected = (idle * plan.total_seconds + 2 * 275 * busy) / 32
    assert plan.joules_per_token == pytest.approx(expected)


def test_hardware_without_figures_has_no_price() -> None:
    plan = wide_plan("instinfer")
    assert plan.joules_per_token is None
    assert plan.dollars_per_million_tokens is None
    assert len(SECTIONS["summary"](Figures(plan))) < len(SECTIONS["summary"](Figures(priced(plan))))


def test_powers_alone_give_energy_alone() -> None:
    plan = priced(wide_plan("instinfer"))
    unpriced = replace(plan, hw=replace(plan.hw, service_life_s=None))
    assert unpriced.dollars_per_million_tokens is None
    assert unpriced.joules_per_token == plan.joules_per_token
    assert SECTIONS["summary"](Figures(unpriced))[-1].startswith("Energy: ")


def test_a_preset_of_a_real_system_has_a_price() -> None:
    hw = HardwareSpec.load("a6000-csd")
    plan = partition(abstract(WIDE), hw, Workload(2, 96, 32), "instinfer")
    assert plan.joules_per_token is not None
    watts = plan.joules_per_token * plan.tokens_per_second
    assert 25 + 90 + 10 < watts < 300 + 185 + 25
