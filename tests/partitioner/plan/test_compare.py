"""Differences between plans of one model, by plans that are known to differ."""

import json
from dataclasses import replace

import pytest

from cost_models import HardwareSpec
from models import abstract
from partitioner import Plan, PlanError, Workload, partition
from partitioner.plan.plan_diff import PlanDiff, Prediction
from partitioner.plan.report.shares import shares_text
from partitioner.plan.settings import settings
from tests.partitioner.plan.plans import (
    WIDE,
    forced_plan,
    mixed_plan,
    one_token_plan,
    priced,
    tiny_plan,
    ways,
    wide_plan,
)

GPU = ways("gpu", "gpu", "gpu")
HOST = ways("host", "host", "host")
CSD = ways("gpu", "csd", "csd")


def changed(diff: PlanDiff) -> dict[str, tuple[object, object]]:
    return {s.key: (s.before, s.after) for s in diff.settings}


def test_a_plan_does_not_differ_from_itself() -> None:
    diff = mixed_plan().diff(mixed_plan())
    assert (diff.settings, diff.ops, diff.data) == ((), (), ())
    assert {p.ratio for p in diff.predictions if p.before is not None} == {1.0}


def test_ops_that_run_elsewhere_are_folded() -> None:
    diff = forced_plan(CSD, GPU).diff(forced_plan(GPU, GPU, up=HOST))
    moved = {(m.phase, m.name): (dict(m.before), dict(m.after), len(m.ops)) for m in diff.ops}
    assert moved == {
        ("decode", "blocks.*.attention"): ({"csd0": 1.0}, {"gpu0": 1.0}, 2),
        ("decode", "blocks.*.mlp.up"): ({"gpu0": 1.0}, {"host": 1.0}, 2),
        ("prefill", "blocks.*.mlp.up"): ({"gpu0": 1.0}, {"host": 1.0}, 2),
    }


def test_layers_that_move_apart_are_told_apart() -> None:
    plan = mixed_plan()
    shares = {name: shares_text(plan.device_of("decode", name)) for name in plan.caches}
    assert shares["blocks.0.attention"] == "gpu0"
    assert shares["blocks.2.attention"].startswith("csd0 ")
    assert "host " in shares["blocks.2.attention"]
    assert shares["blocks.3.attention"] == "host"
    ops = tiny_plan("instinfer").diff(plan).ops
    moved = [m for m in ops if m.phase == "decode" and set(m.ops) <= set(shares)]
    assert {name: shares_text(m.after) for m in moved for name in m.ops} == shares
    assert [len(m.ops) for m in moved] == [list(shares.values()).count(shares_text(m.after)) for m in moved]


def test_data_that_lives_elsewhere_has_its_bytes() -> None:
    before, after = forced_plan(CSD, GPU), forced_plan(GPU, GPU, up=HOST)
    data = {m.name: m for m in before.diff(after).data}
    cache = 2 * 2 * 2 * 8 * 128 * 64 * 2  # layers, K and V, rows, heads, tokens, head size, float16
    assert dict(data["blocks.*.attention"].before) == {"csd0": cache}
    assert dict(data["blocks.*.attention"].after) == {"gpu0": cache}
    kernel = data["blocks.*.mlp.up.kernel"]
    assert (kernel.kind, kernel.members) == ("weights", ("blocks.0.mlp.up.kernel", "blocks.1.mlp.up.kernel"))
    assert dict(kernel.after) == {"host": 2 * 4 * 512 * 1024}
    held = [plan.resident_bytes()["gpu0"]["weights"] for plan in (before, after)]
    there = sum(sum(m.before.values()) for m in data.values() if m.kind == "weights")
    assert held[0] - held[1] == pytest.approx(there)


def test_predictions_stand_side_by_side() -> None:
    before, after = wide_plan("flexgen-ssd"), wide_plan("instinfer", 4)
    found = {p.name: p for p in before.diff(after).predictions}
    assert found["tokens_per_s"].before == before.tokens_per_second
    assert found["tokens_per_s"].after == after.tokens_per_second
    assert found["tokens_per_s"].ratio == after.tokens_per_second / before.tokens_per_second
    assert found["decode_step_s"].after == after.decode_seconds(after.middle_context)
    assert found["joules_per_token"].before is None
    assert before.diff(priced(after)).predictions[4].after == priced(after).joules_per_token


def test_a_ratio_to_nothing_is_none() -> None:
    assert Prediction("prefill_s", 0.0, 1.0).ratio is None
    assert Prediction("prefill_s", 1.0, None).ratio is None


def test_policy_workload_and_hardware_are_compared() -> None:
    small = partition(abstract(WIDE), "demo", Workload(1, 96, 16), "gpu-only")
    hw = HardwareSpec.load("demo").with_drives(2).replace("link.drive.bytes_per_s", 70e6).slowed(2)
    other = partition(abstract(WIDE), hw.replace("csd1.dram_bytes", 64e6), Workload(1, 96, 32), "instinfer")
    found = changed(small.diff(other))
    assert found["policy"] == ("gpu-only", "instinfer")
    assert found["decode-len"] == (16, 32)
    assert found["drives"] == (1, 2)
    assert found["gpu.peak_flops.float32"] == (40e9, 20e9)
    assert "link.drive.bytes_per_s" not in found  # twice the rate at half the speed
    assert found["csd1.dram_bytes"] == (None, 64e6)
    assert "batch" not in found


def test_an_engine_that_one_lacks_shows_as_nothing() -> None:
    with_engine = settings(wide_plan("gpu-only"))
    plan = wide_plan("gpu-only")
    plain = replace(plan, hw=replace(plan.hw, drives=(replace(plan.hw.drives[0], engine=None),)))
    assert with_engine["drive.engine.flops"] == 3.25e9
    assert changed(plan.diff(plain))["drive.engine.flops"] == (3.25e9, None)


def test_plain_data_holds_the_same() -> None:
    diff = tiny_plan("instinfer").diff(mixed_plan())
    data = json.loads(json.dumps(diff.to_dict()))
    assert data["settings"]["prompt-len"] == [32, 480]
    assert len(data["ops"]) == len(diff.ops)
    assert data["predictions"]["tokens_per_s"]["ratio"] == pytest.approx(
        mixed_plan().tokens_per_second / tiny_plan("instinfer").tokens_per_second
    )


def other_system() -> Plan:
    return partition(abstract(WIDE), "smartssd-16", Workload(64, 64, 8), "instinfer")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (mixed_plan, lambda: tiny_plan("auto")),
        (lambda: wide_plan("instinfer"), other_system),
        (lambda: wide_plan("instinfer"), one_token_plan),
    ],
)
def test_lines_fit_the_width(before, after) -> None:
    text = str(before().diff(after()))
    assert max(map(len, text.splitlines())) <= 100
    assert text.isascii()
    assert not [line for line in text.splitlines() if line != line.rstrip()]


def test_plans_of_different_models_are_refused() -> None:
    with pytest.raises(
        PlanError, match=r"different models.*'tiny' has the op 'blocks\.0\.mlp\.gate', which 'wide' lacks"
    ):
        mixed_plan().diff(wide_plan("instinfer"))
    with pytest.raises(PlanError, match="different models"):
        wide_plan("instinfer").diff(mixed_plan())


class TestShares:
    def test_one_kind_of_device_needs_no_share(self) -> None:
        assert shares_text({"csd0": 0.25, "csd1": 0.25, "csd2": 0.5}) == "csd0-2"

    def test_kinds_have_their_shares(self) -> None:
        assert shares_text({"host": 0.6, "csd0": 0.2, "csd1": 0.2}) == "host 60 %, csd0-1 40 %"

    def test_amounts_become_shares(self) -> None:
        assert shares_text({"gpu0": 30.0, "host": 10.0, "csd0": 0.0}) == "gpu0 75 %, host 25 %"
