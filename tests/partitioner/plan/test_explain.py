"""Explanations, held against plans that do what they weigh."""

import json
from dataclasses import replace

import pytest

from cost_models import HardwareSpec
from models import abstract
from partitioner import Plan, PlanError, Workload, partition
from partitioner.plan.explanation import Choice
from partitioner.plan.op_costs import OpCosts
from tests.partitioner.plan.plans import (
    WIDE,
    forced_plan,
    mixed_plan,
    one_token_plan,
    roomy,
    tiny_plan,
    unraised_plan,
    ways,
    wide_plan,
)

GPU = ways("gpu", "gpu", "gpu")
HOST = ways("host", "host", "host")
CSD = ways("gpu", "csd", "csd")


def choice(plan: Plan, op: str, devices: str, data: str, phase: str = "decode") -> Choice:
    (found,) = plan.explain(op, phase).classes
    return next(c for c in found.choices if (c.devices, c.data) == (devices, data))


def in_all_s(plan: Plan, ops: tuple[str, ...]) -> float:
    costs = OpCosts(plan, "decode", plan.middle_context)
    return sum(costs.here(plan.decode.op[name]).seconds for name in ops)


def test_one_op_says_where_it_runs_and_lives() -> None:
    plan = forced_plan(CSD, GPU, num_drives=4)
    (found,) = plan.explain("blocks.1.attention").classes
    assert found.ops == ("blocks.1.attention",)
    assert found.runs_on == {f"csd{n}": 0.25 for n in range(4)}
    assert sum(found.lives_on.values()) == 2 * 2 * 8 * 128 * 64 * 2
    assert found.data == "KV cache"
    first, *others = found.choices
    assert (first.chosen, first.change_s, first.devices) == (True, 0.0, "csd0-3")
    assert not any(other.chosen for other in others)


def test_the_change_is_that_of_a_plan_that_moves_them_all() -> None:
    drive, gpu = roomy(forced_plan(CSD, GPU)), roomy(forced_plan(GPU, GPU))
    attentions = ("blocks.0.attention", "blocks.1.attention")
    moved = choice(drive, "blocks.*.attention", "gpu0", "moved")
    assert moved.obstacles == ()
    assert moved.in_all is not None
    assert moved.in_all.seconds == pytest.approx(in_all_s(gpu, attentions))
    assert moved.change_s == pytest.approx(in_all_s(gpu, attentions) - in_all_s(drive, attentions))
    back = choice(gpu, "blocks.*.attention", "csd0", "moved")
    assert back.change_s == pytest.approx(-moved.change_s)


def test_streaming_and_moving_are_two_choices() -> None:
    plan = forced_plan(ways("gpu", "gpu", "csd"), GPU)
    streamed = choice(plan, "blocks.0.attention", "gpu0", "streamed")
    kept = choice(plan, "blocks.0.attention", "gpu0", "moved")
    drive = choice(plan, "blocks.0.attention", "csd0", "here")
    assert streamed.chosen
    assert kept.change_s is not None
    assert kept.change_s < 0
    assert drive.alone is not None
    assert drive.alone.bound == "flash"


def test_missing_memory_is_told_in_bytes() -> None:
    plan = mixed_plan()
    found = choice(plan, "blocks.3.attention", "gpu0", "moved")
    row = plan.resident_bytes()["gpu0"]
    free = row["capacity"] - row["weights"] - row["kv_cache"] - row["reserve"]
    attention = plan.decode.op["blocks.3.attention"].attention
    assert attention is not None
    here = plan.device_of("decode", "blocks.3.attention").get("gpu0", 0.0)
    short = plan.costing.cache_bytes(attention, "gpu") * (1 - here) - free
    assert found.short_bytes == pytest.approx(short)
    assert f"({short:.0f} bytes) on gpu0" in found.obstacles[0]


def test_a_class_goes_elsewhere_as_a_whole() -> None:
    plan = forced_plan(GPU, GPU)
    plan = replace(plan, hw=plan.hw.with_memory("host", 0.1e6))
    one = choice(plan, "blocks.1.attention", "host", "moved")
    two = choice(plan, "blocks.*.attention", "host", "moved")
    assert one.in_all is not None
    assert two.in_all is not None
    assert two.in_all.seconds == pytest.approx(2 * one.in_all.seconds)
    assert two.short_bytes > one.short_bytes


@pytest.mark.parametrize(
    ("plan", "op", "phase", "devices", "obstacle"),
    [
        (lambda: wide_plan("instinfer"), "blocks.0.attention", "decode", "gpu0", "not allowed by policy 'instinfer'"),
        (lambda: wide_plan("instinfer"), "blocks.0.mlp.up", "decode", "csd0", "drives run attention only"),
        (lambda: wide_plan("instinfer"), "blocks.0.attention", "prefill", "csd0", "drives attend in decode only"),
        (one_token_plan, "blocks.0.norm1", "prefill", "host", "not allowed by policy 'instinfer'"),
        (
            lambda: partition(abstract(WIDE), "a6000-ssd", Workload(1, 8, 4)),
            "blocks.0.attention",
            "decode",
            "csd0",
            "the drives have no engine",
        ),
        (
            lambda: partition(abstract(WIDE), HardwareSpec.load("demo").with_drives(0), Workload(1, 8, 4)),
            "blocks.0.attention",
            "decode",
            "csd",
            "there is no drive",
        ),
    ],
)  # fmt: skip
def test_what_forbids_a_device(plan, op: str, phase: str, devices: str, obstacle: str) -> None:
    (found,) = plan().explain(op, phase).classes
    assert any(obstacle in c.obstacles for c in found.choices if c.devices == devices)


def test_every_kind_of_device_has_a_row() -> None:
    for op in tiny_plan("instinfer").ops("decode"):
        (found,) = tiny_plan("instinfer").explain(op.name).classes
        assert {c.devices for c in found.choices} == {"gpu0", "host", "csd0-3"}


def test_a_prefill_is_counted_with_all_its_slices() -> None:
    plan = partition(abstract(WIDE), "demo", Workload(32, 96, 4), "instinfer")
    slices = 32 // plan.phase("prefill").rows
    costs = OpCosts(plan, "prefill", plan.middle_context)
    (found,) = plan.explain("blocks.0.mlp.up", "prefill").classes
    here = found.choices[0].in_all
    assert slices > 1
    assert here is not None
    assert here.seconds == pytest.approx(
        slices * costs.here(plan.phase("prefill").op["blocks.0.mlp.up"]).seconds
    )


def test_plain_data_holds_the_same() -> None:
    found = mixed_plan().explain("blocks.*.attention")
    data = json.loads(json.dumps(found.to_dict()))
    assert [c["name"] for c in data["classes"]] == [c.name for c in found.classes]
    assert data["classes"][0]["choices"][0]["change_s"] == 0
    assert {c["devices"] for c in data["classes"][0]["choices"]} == {"gpu0", "host", "csd0"}


@pytest.mark.parametrize("plan", [mixed_plan, unraised_plan, lambda: wide_plan("deepspeed-host", 4)])
def test_every_op_prints_within_the_width(plan) -> None:
    made: Plan = plan()
    for op in made.ops("decode"):
        text = str(made.explain(op.name))
        assert max(map(len, text.splitlines())) <= 100
        assert text.isascii()


@pytest.mark.parametrize(
    ("op", "phase", "message"),
    [
        (
            "blocks.*.attn",
            "decode",
            r"decode has no op 'blocks\.\*\.attn' among its \d+; did you mean 'blocks",
        ),
        ("zzz", "prefill", r"prefill has no op 'zzz'.*it has embed\.token, "),
        ("blocks.0.attention", "train", r"no phase 'train'; it has prefill and decode"),
    ],
)
def test_an_unknown_op_or_phase(op: str, phase: str, message: str) -> None:
    with pytest.raises(PlanError, match=message):
        mixed_plan().explain(op, phase)
