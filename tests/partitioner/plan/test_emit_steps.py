"""Steps: their order, the moves between them, and what waits for what."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from cost_models import HardwareSpec
from models import abstract
from partitioner import Plan, Workload, partition
from partitioner.ir.working_set import peak_working_set_bytes
from partitioner.plan.assemble import assemble_plan
from partitioner.plan.steps import Move, Run, Step
from tests.partitioner.plan.plans import (
    WIDE,
    WIDE_LOAD,
    forced_plan,
    mixed_plan,
    shared,
    traced_wide,
    ways,
)

GPU = ways("gpu", "gpu", "gpu")
HOST = ways("host", "host", "host")
CSD = ways("gpu", "csd", "csd")
ROW = 2 * 512 * 4
"""Bytes of one activation of a decode step: 2 rows of 512 float32; k and v are float16 already, half of that."""


def described(plan: Plan, phase: str, steps: Sequence[Step]) -> list[str]:
    """Returns steps in one line each: number, what, where, and the steps they wait for."""
    lines = []
    for s in steps:
        if isinstance(s, Run):
            what = f"{plan.phase(phase).segments[s.segment].name} on {s.device}"
        else:
            what = f"{s.kind} {s.src} > {s.dst} {s.num_bytes}"
        lines.append(f"{s.id} {what} after {','.join(map(str, s.after)) or 'nothing'}")
    return lines


def moves(plan: Plan, phase: str, kind: str) -> list[Move]:
    return [s for s in plan.phase(phase).steps if isinstance(s, Move) and s.kind == kind]


def test_a_layer_on_two_drives() -> None:
    plan = forced_plan(CSD, GPU, num_drives=2)
    assert described(plan, "decode", plan.decode.steps[:8]) == [
        "0 embed.token .. blocks.0.attention.value on gpu0 after nothing",
        f"1 hand_over gpu0 > csd0 {ROW} after 0",
        "2 blocks.0.attention on csd0 after 1",
        f"3 hand_over csd0 > gpu0 {ROW // 2} after 2",
        f"4 hand_over gpu0 > csd1 {ROW} after 0",
        "5 blocks.0.attention on csd1 after 4",
        f"6 hand_over csd1 > gpu0 {ROW // 2} after 5",
        "7 blocks.0.attention.out .. blocks.1.attention.value on gpu0 after 0,3,6",
    ]


def test_a_prefill_stores_its_caches_and_goes_on() -> None:
    plan = forced_plan(CSD, GPU, num_drives=2)
    stored = 2 * 2 * 8 * 96 * 64 * 2 // 2  # K and V, 2 rows, 8 heads, 96 tokens of 64 float16, half of it
    assert described(plan, "prefill", plan.phase("prefill").steps) == [
        "0 embed.token .. blocks.0.attention on gpu0 after nothing",
        f"1 store_cache gpu0 > csd0 {stored} after 0",
        f"2 store_cache gpu0 > csd1 {stored} after 0",
        "3 blocks.0.attention.out .. blocks.1.attention on gpu0 after 0",
        f"4 store_cache gpu0 > csd0 {stored} after 3",
        f"5 store_cache gpu0 > csd1 {stored} after 3",
        "6 blocks.1.attention.out .. logits on gpu0 after 3",
    ]


def test_a_streamed_cache_arrives_before_its_use_and_what_is_new_goes_back() -> None:
    plan = forced_plan(ways("gpu", "gpu", "csd"), GPU)
    cached = 2 * 2 * 8 * 127 * 64 * 2  # K and V, 2 rows, 8 heads, all but the newest of 128 tokens
    assert described(plan, "decode", plan.decode.steps) == [
        "0 embed.token .. blocks.0.attention.value on gpu0 after nothing",
        f"1 stream_cache csd0 > gpu0 {cached} after nothing",
        "2 blocks.0.attention on gpu0 after 0,1",
        f"3 append_cache gpu0 > csd0 {ROW} after 0,1,2",
        "4 blocks.0.attention.out .. blocks.1.attention.value on gpu0 after 0,2",
        f"5 stream_cache csd0 > gpu0 {cached} after nothing",
        "6 blocks.1.attention on gpu0 after 4,5",
        f"7 append_cache gpu0 > csd0 {ROW} after 4,5,6",
        "8 blocks.1.attention.out .. logits on gpu0 after 4,6",
    ]


def test_streamed_weights_follow_each_other_and_wait_for_one_of_two_buffers() -> None:
    plan = forced_plan(GPU, GPU, up=ways("gpu", "gpu", "host"), down=ways("gpu", "gpu", "host"))
    streams = moves(plan, "decode", "stream_weights")
    runs = [s for s in plan.decode.steps if isinstance(s, Run)]
    using = [next(r for r in runs if s.id in r.after) for s in streams]
    assert [len(s.names) for s in streams] == [2] * 4
    assert [s.num_bytes for s in streams] == [4 * (512 * 1024 + n) for n in (1024, 512)] * 2
    assert [(s.src, s.dst, s.path) for s in streams] == [("host", "gpu0", "via_host")] * 4
    assert [plan.decode.segments[r.segment].ops[0] for r in using] == [
        f"blocks.{n}.mlp.{op}" for n in (0, 1) for op in ("up", "down")
    ]
    first, second, third, _ = (s.id for s in streams)
    assert [s.after for s in streams] == [(), (first,), (using[0].id, second), (using[1].id, third)]


def test_streamed_weights_run_as_far_ahead_as_the_reserve_allows() -> None:
    plan = forced_plan(GPU, GPU, up=ways("gpu", "gpu", "host"), down=ways("gpu", "gpu", "host"))
    sizes = [s.num_bytes for s in moves(plan, "decode", "stream_weights")]
    activations = max(peak_working_set_bytes(p.graph) for p in (plan.phase("prefill"), plan.decode))
    for room, waiting in ((sum(sizes), 0), (sum(sizes) - 1, 1), (sum(sizes[:2]), 2)):
        reserved = {"gpu": activations + room, "host": 0.0, "csd": 0.0}
        made = assemble_plan(
            traced_wide(), plan.hw, WIDE_LOAD, "auto", replace(plan.decisions, reserved_bytes=reserved)
        )
        steps = made.decode.steps
        held_up = [
            s
            for s in moves(made, "decode", "stream_weights")
            if any(isinstance(steps[i], Run) for i in s.after)
        ]
        assert len(held_up) == waiting


def test_attention_on_the_host_gets_its_operands_in_one_transfer() -> None:
    plan = forced_plan(ways("gpu", "host", "host"), GPU)
    down, up = moves(plan, "decode", "hand_over")[:2]
    attention = plan.decode.op["blocks.0.attention"].attention
    assert attention is not None
    assert set(down.values) == {attention.query, attention.new_key, attention.new_value}
    assert (down.src, down.dst, down.num_bytes) == ("gpu0", "host", 2 * ROW)
    assert (up.src, up.dst, up.num_bytes, up.values) == ("host", "gpu0", ROW, (attention.output,))


def test_a_shared_attention_hands_each_tier_its_part_and_the_gpu_keeps_its_own() -> None:
    plan = forced_plan(shared(gpu=2, host=2, csd=4), GPU, num_drives=2)
    assert described(plan, "decode", plan.decode.steps[:12]) == [
        "0 embed.token .. blocks.0.attention.value on gpu0 after nothing",
        f"1 hand_over gpu0 > host {ROW // 2} after 0",
        "2 blocks.0.attention on host after 1",
        f"3 hand_over host > gpu0 {ROW // 4} after 2",
        f"4 hand_over gpu0 > csd0 {ROW // 2} after 0",
        "5 blocks.0.attention on csd0 after 4",
        f"6 hand_over csd0 > gpu0 {ROW // 4} after 5",
        f"7 hand_over gpu0 > csd1 {ROW // 2} after 0",
        "8 blocks.0.attention on csd1 after 7",
        f"9 hand_over csd1 > gpu0 {ROW // 4} after 8",
        "10 blocks.0.attention on gpu0 after 0",
        "11 blocks.0.attention.out .. blocks.1.attention.value on gpu0 after 0,3,6,9,10",
    ]


def test_a_value_is_moved_to_a_device_once() -> None:
    # norm1's output is read by q, k and v; the residual is read by out and by down
    plan = forced_plan(GPU, GPU, query=HOST, key=HOST, value=HOST)
    for phase in ("prefill", "decode"):
        seen = [(v, s.dst) for s in moves(plan, phase, "hand_over") for v in s.values]
        assert len(seen) == len(set(seen))
        assert len([s for s in moves(plan, phase, "hand_over") if s.dst == "host"]) == 2


def test_what_is_kept_on_both_devices_is_not_streamed() -> None:
    plan = forced_plan(GPU, GPU, norm2=HOST)
    assert {"blocks.0.norm2.scale", "blocks.1.norm2.scale"} <= {
        name for name, device in plan.homes.items() if device == "host"
    }
    assert not moves(plan, "decode", "stream_weights")


def test_a_cache_made_where_it_lives_moves_nowhere() -> None:
    stores = moves(forced_plan(GPU, GPU), "prefill", "store_cache")
    assert [(s.src, s.dst, s.path) for s in stores] == [("gpu0", "gpu0", "local")] * 2


@pytest.mark.parametrize(("policy", "path"), [("auto", "p2p"), ("flexgen-ssd", "via_host")])
def test_paths_follow_the_policy(policy: str, path: str) -> None:
    plan = forced_plan(ways("gpu", "gpu", "csd"), GPU, policy=policy)
    kinds = ("stream_cache", "append_cache")
    assert {s.path for kind in kinds for s in moves(plan, "decode", kind)} == {path}
    assert {s.path for s in moves(plan, "prefill", "store_cache")} == {path}


@pytest.mark.parametrize("num_drives", [1, 3, 8, 16, 11])
def test_drives_together_get_all_of_everything(num_drives: int) -> None:
    """More drives than heads share the rows too: 16 drives hold 8 heads of one row each."""
    plan = forced_plan(CSD, GPU, num_drives)
    heads = sum(s.num_bytes for s in moves(plan, "decode", "hand_over") if s.dst.startswith("csd"))
    outputs = sum(s.num_bytes for s in moves(plan, "decode", "hand_over") if s.src.startswith("csd"))
    slices = WIDE_LOAD.batch_size // plan.phase("prefill").rows
    stored = slices * sum(s.num_bytes for s in moves(plan, "prefill", "store_cache"))
    # both layers: q with k and v, the outputs, and K and V of 2 rows, 8 heads, 96 tokens of 64 float16
    assert (heads, outputs, stored) == (2 * 2 * ROW, 2 * ROW, 2 * 2 * 2 * 8 * 96 * 64 * 2)
    used = {s.device for s in plan.decode.steps if isinstance(s, Run)} - {"gpu0"}
    assert used == {share.device for shares in plan.caches.values() for share in shares}


def test_slices_store_what_the_whole_batch_makes() -> None:
    hw = HardwareSpec.load("demo").with_drives(12)
    plan = partition(abstract(WIDE), hw, Workload(8, 200, 8), "instinfer")
    slices = 8 // plan.phase("prefill").rows
    stored = sum(s.num_bytes for s in moves(plan, "prefill", "store_cache"))
    assert slices > 1
    assert slices * stored == 2 * 2 * 8 * 8 * 200 * 64 * 2


@pytest.mark.parametrize("phase", ["prefill", "decode"])
def test_steps_follow_what_they_wait_for(phase: str) -> None:
    steps = mixed_plan().phase(phase).steps
    assert [s.id for s in steps] == list(range(len(steps)))
    assert all(i < s.id for s in steps for i in s.after)
    assert all(s.after == tuple(sorted(set(s.after))) for s in steps)
