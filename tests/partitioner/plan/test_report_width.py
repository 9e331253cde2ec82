"""Every line of a report fits into 100 columns, whatever the model, the hardware and the policy."""

import dataclasses

import pytest

from cost_models import HardwareSpec
from models import abstract
from partitioner import Plan, Workload, partition
from partitioner.placement.policies import POLICIES
from partitioner.plan.report.table import WIDTH
from tests.partitioner.plan.plans import (
    WIDE,
    made_up_run,
    mixed_plan,
    tiny_plan,
    turns_plan,
    unraised_plan,
    wide_plan,
)

LONG = "Vendor Professional 9999 Max-Q Workstation Edition with 96 GB of Memory"


def renamed(hw: HardwareSpec) -> HardwareSpec:
    """Returns the same hardware with names and a description as long as vendors make them."""
    gpus = tuple(dataclasses.replace(gpu, name=LONG) for gpu in hw.gpus)
    host = dataclasses.replace(hw.host, name=LONG)
    return dataclasses.replace(
        hw, name="a-system-in-the-basement", description=LONG * 3, gpus=gpus, host=host
    )


def check(plan: Plan) -> None:
    for report in (plan.report(), plan.report(made_up_run(plan))):
        lines = report.splitlines()
        assert not [line for line in lines if len(line) > WIDTH]
        assert not [line for line in lines if line != line.rstrip()]
        assert report.isascii()


@pytest.mark.parametrize("policy", ["instinfer", "flexgen-ssd", "gpu-only"])
def test_shipped_model(policy: str) -> None:
    check(tiny_plan(policy))


def test_a_plan_over_three_tiers() -> None:
    check(mixed_plan())


def test_micro_batches() -> None:
    check(turns_plan())


def test_a_model_without_raised_attention() -> None:
    check(unraised_plan())


def test_streamed_caches() -> None:
    check(wide_plan("deepspeed-host"))


@pytest.mark.parametrize("policy", sorted(POLICIES))
@pytest.mark.parametrize("preset", ["2xa6000-csd", "smartssd-16"])
def test_other_systems_with_long_names(preset: str, policy: str) -> None:
    config = WIDE.replace(param_dtype="float16", compute_dtype="float16", num_layers=12)
    hw = renamed(HardwareSpec.load(preset)).slowed(123)
    check(partition(abstract(config), hw, Workload(256, 100, 28), policy))


@pytest.mark.parametrize("policy", ["auto", "instinfer"])
def test_many_layers_and_large_numbers(policy: str) -> None:
    hw = renamed(HardwareSpec.load("a6000-csd").with_drives(3))
    check(partition(abstract("opt-1.3b"), hw, Workload(32, 4000, 60), policy))
