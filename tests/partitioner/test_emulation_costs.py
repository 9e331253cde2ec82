"""Predictions for drives that are emulated: the longer of described and emulated time, and what lies between commands."""

import dataclasses
from pathlib import Path

import pytest

from cost_models import EmulationSpec, HardwareSpec
from models import abstract
from partitioner import Plan, Workload, partition

WORKLOAD = Workload(batch_size=7, prompt_len=64, decode_len=9)
CONTEXT = 64
NUM_LAYERS, NUM_HEADS, HEAD_SIZE = 4, 4, 64
WAYS = {"to_share_s": 3e-4, "from_share_s": 4e-4, "step_s": 5e-4}
FAST = EmulationSpec(bytes_per_s=1e18, command_s=0.0, **WAYS)
SLOW = EmulationSpec(bytes_per_s=1e9, command_s=50e-3, **WAYS)


def planned(emulation: EmulationSpec | None, policy: str = "instinfer") -> Plan:
    hw = dataclasses.replace(HardwareSpec.load("h200-csd4"), emulation=emulation)
    return partition(abstract("tiny"), hw, WORKLOAD, policy)


def test_the_model_is_what_the_numbers_below_are_for() -> None:
    attentions = [op.attention for op in planned(None).decode.graph.ops if op.attention is not None]
    assert len(attentions) == NUM_LAYERS
    assert {(a.num_kv_heads, a.head_size, a.cache_dtype) for a in attentions} == {
        (NUM_HEADS, HEAD_SIZE, "float16")
    }


def test_drives_that_are_emulated_fast_enough_take_what_they_are_described_to_take() -> None:
    described, emulated = planned(None), planned(FAST)
    added_s = NUM_LAYERS * (FAST.to_share_s + FAST.from_share_s) + FAST.step_s
    assert emulated.decode_seconds(CONTEXT) == pytest.approx(described.decode_seconds(CONTEXT) + added_s)
    assert emulated.prefill_seconds == described.prefill_seconds


def test_drives_that_are_emulated_slowly_take_what_that_takes() -> None:
    num_bytes = 2 * 7 * NUM_HEADS * HEAD_SIZE * 2 * CONTEXT
    for event in planned(SLOW).predicted_timeline("decode", CONTEXT).events:
        if event.resource.startswith("csd") and "." not in event.resource:
            assert event.end_s - event.start_s == pytest.approx(SLOW.attend_s(num_bytes))


def test_the_solver_knows_what_the_schedule_does_but_for_the_time_between_steps() -> None:
    plan, described = planned(SLOW), planned(None)
    steps = WORKLOAD.decode_len - 1
    between = described.bound - described.prefill_seconds - sum_of_steps(described)
    ours = plan.bound - plan.prefill_seconds - sum_of_steps(plan)
    assert ours == pytest.approx(between - steps * SLOW.step_s, abs=1e-4)


def sum_of_steps(plan: Plan) -> float:
    return sum(plan.decode_seconds(WORKLOAD.prompt_len + n) for n in range(1, WORKLOAD.decode_len))


def test_reports_and_files_know_the_table(tmp_path: Path) -> None:
    plan = planned(SLOW)
    assert "csd0-3" in plan.report()
    assert plan.report() != planned(None).report()
    plan.explain("blocks.*.attention")
    plan.save(tmp_path / "plan.json")
    loaded = Plan.load(tmp_path / "plan.json", abstract("tiny"))
    assert loaded.hw.emulation == SLOW
    assert loaded.decode_seconds(CONTEXT) == plan.decode_seconds(CONTEXT)


def test_a_plan_that_leaves_the_drives_alone_costs_the_same() -> None:
    emulated, described = planned(SLOW, "gpu-only"), planned(None, "gpu-only")
    assert emulated.decode_seconds(CONTEXT) == described.decode_seconds(CONTEXT)


def test_emulated_drives_are_avoided_where_they_are_slow() -> None:
    """The best plan knows: with room on the GPU nothing goes to drives, and its prediction stays what it was."""
    assert planned(SLOW, "auto").decode_seconds(CONTEXT) <= planned(SLOW).decode_seconds(CONTEXT)
