"""What ops would cost elsewhere, held against numbers worked out by hand and against plans that do it."""

from dataclasses import replace

import pytest

from cost_models import HardwareSpec
from models import abstract
from partitioner import Plan, Workload, partition
from partitioner.ir.working_set import working_set_bytes
from partitioner.plan.alternatives import Alternative, alternatives
from partitioner.plan.names import tier_of
from partitioner.plan.op_costs import OpCosts
from partitioner.plan.steps import Move, Run
from tests.partitioner.plan.plans import forced_plan, mixed_plan, tiny_plan, unraised_plan, ways, wide_plan

GPU = ways("gpu", "gpu", "gpu")
HOST = ways("host", "host", "host")
CSD = ways("gpu", "csd", "csd")

# The demo system: bytes/s of memories and links, seconds of latencies and launches.
GPU_MEMORY, HOST_MEMORY = 3.84e9, 0.9385e9
GPU_LINK, DRIVE_LINK = 160e6, 35e6
LATENCY, LAUNCH = 0.2e-3, 1e-3
# One decode step of the wide model: 2 rows of 512; q and the output are float32, k and v are float16.
OPERANDS, OUTPUT = 2 * 512 * (4 + 2 + 2), 2 * 512 * 4
CACHED_TOKEN = 2 * 2 * 8 * 64 * 2
UP_WEIGHTS = 4 * (512 * 1024 + 1024)


def on(plan: Plan, op: str, tier: str, phase: str = "decode", alike: int = 1) -> Alternative:
    return next(a for a in alternatives(plan, phase, op, alike) if a.tier == tier)


def seconds(plan: Plan, op: str, tier: str) -> float:
    cost = on(plan, op, tier).cost
    assert cost is not None
    return cost.seconds


def work_bytes(plan: Plan, op: str) -> float:
    return plan.decode.op[op].work.num_bytes


def with_gpu_memory(plan: Plan, left: float, reserved: float = 0.0) -> Plan:
    """Returns the plan on a GPU with so much memory left beside what it holds, and so much more reserved."""
    used = plan.resident_bytes()["gpu0"]
    size = used["weights"] + used["kv_cache"] + left + reserved
    hw = replace(plan.hw, gpus=(replace(plan.hw.gpus[0], memory_bytes=size),))
    kept = replace(plan.decisions, reserved_bytes={"gpu": reserved, "host": 0.0, "csd": 0.0})
    return replace(plan, hw=hw, decisions=kept)


class TestByHand:
    def test_attention_in_the_drive(self) -> None:
        plan = forced_plan(CSD, GPU)
        context = plan.middle_context
        pages = 2 * 2 * 8 * (context // 32) // 8  # K and V, rows, heads, 32 tokens a page; over 8 channels
        attends = 8e-3 + pages * 4096 / 7e6 + 2e-3  # the first sense, the wires, the command and the engine
        there = OPERANDS / DRIVE_LINK + 2 * LATENCY
        back = OUTPUT / DRIVE_LINK + 2 * LATENCY + LAUNCH
        costs = OpCosts(plan, "decode", context)
        attention = plan.decode.op["blocks.0.attention"]
        assert context == 112
        assert costs.alone(attention).seconds == pytest.approx(attends)
        assert costs.alone(attention).bound == "flash"
        assert costs.here(attention).seconds == pytest.approx(attends + there + back)

    def test_attention_of_the_drive_on_the_gpu(self) -> None:
        plan = forced_plan(CSD, GPU)
        found = on(plan, "blocks.0.attention", "gpu")
        assert found.cost is not None
        assert found.cost.seconds == pytest.approx(work_bytes(plan, "blocks.0.attention") / GPU_MEMORY)
        assert found.cost.bound == "memory"
        assert (found.reason, found.fits) == ("its KV cache would live on gpu0", True)

    def test_attention_of_the_drive_on_the_host(self) -> None:
        plan = forced_plan(CSD, GPU)
        runs = work_bytes(plan, "blocks.0.attention") / HOST_MEMORY
        there = OPERANDS / GPU_LINK + LATENCY + LAUNCH
        back = OUTPUT / GPU_LINK + LATENCY + LAUNCH
        found = on(plan, "blocks.0.attention", "host")
        assert seconds(plan, "blocks.0.attention", "host") == pytest.approx(runs + there + back)
        assert found.reason == "its KV cache would live on host"

    def test_a_streamed_cache(self) -> None:
        plan = forced_plan(ways("gpu", "gpu", "csd"), GPU)
        attention = plan.decode.op["blocks.1.attention"]
        pages = (
            2 * 2 * 8 * (111 // 32) // 8
        )  # of each channel; the tokens of a page that is not full are in the drive's memory
        read = 8e-3 + pages * 4096 / 7e6
        shipped = 111 * CACHED_TOKEN / DRIVE_LINK
        new = CACHED_TOKEN / DRIVE_LINK
        runs = work_bytes(plan, "blocks.1.attention") / GPU_MEMORY
        costs = OpCosts(plan, "decode", 112)
        assert shipped < read
        assert costs.alone(attention).seconds == pytest.approx(runs)
        assert costs.here(attention).seconds == pytest.approx(runs + read + 2 * LATENCY + new)
        assert costs.here(attention).bound == "flash"

    def test_a_streamed_cache_that_the_link_limits(self) -> None:
        plan = forced_plan(ways("gpu", "gpu", "host"), GPU)
        attention = plan.decode.op["blocks.1.attention"]
        runs = work_bytes(plan, "blocks.1.attention") / GPU_MEMORY
        moved = (127 * CACHED_TOKEN + CACHED_TOKEN) / GPU_LINK + LATENCY
        cost = OpCosts(plan, "decode", 128).here(attention)
        assert (cost.seconds, cost.bound) == (pytest.approx(runs + moved), "link")

    def test_weights_that_would_live_elsewhere(self) -> None:
        plan = forced_plan(GPU, GPU)
        runs = work_bytes(plan, "blocks.0.mlp.up") / HOST_MEMORY
        there = OUTPUT / GPU_LINK + LATENCY + LAUNCH
        back = 2 * OUTPUT / GPU_LINK + LATENCY + LAUNCH
        assert seconds(plan, "blocks.0.mlp.up", "host") == pytest.approx(runs + there + back)
        assert on(plan, "blocks.0.mlp.up", "host").reason == "its weights would live on host"

    def test_weights_that_would_be_streamed(self) -> None:
        plan = forced_plan(GPU, GPU, up=ways("gpu", "gpu", "host"))
        runs = work_bytes(plan, "blocks.0.mlp.up") / GPU_MEMORY
        streamed = UP_WEIGHTS / GPU_LINK + LATENCY
        costs = OpCosts(plan, "decode", plan.middle_context)
        assert costs.here(plan.decode.op["blocks.0.mlp.up"]).seconds == pytest.approx(runs + streamed)


class TestAgainstPlans:
    """Moving one class of ops changes the predicted step by what the alternatives say."""

    @pytest.mark.parametrize(
        ("op", "tier", "twin"),
        [
            ("norm2", "host", lambda: forced_plan(GPU, GPU, norm2=HOST)),
            ("up", "host", lambda: forced_plan(GPU, GPU, up=HOST)),
            ("attention", "host", lambda: forced_plan(ways("gpu", "host", "host"), GPU)),
            ("attention", "csd", lambda: forced_plan(CSD, GPU)),
        ],
    )
    def test_elsewhere(self, op: str, tier: str, twin) -> None:
        plan, moved = forced_plan(GPU, GPU), twin()
        costs = OpCosts(plan, "decode", plan.middle_context)
        ops = [o for o in plan.ops("decode") if o.name.endswith(f".{op}")]
        change = sum(seconds(plan, o.name, tier) - costs.here(o).seconds for o in ops)
        steps = [p.decode_seconds(plan.middle_context) for p in (moved, plan)]
        assert len(ops) == 2
        assert steps[0] - steps[1] == pytest.approx(change, rel=1e-9)

    @pytest.mark.parametrize("policy", ["instinfer", "gpu-only"])
    def test_a_step_without_overlap_is_its_ops_launches_and_moves(self, policy: str) -> None:
        plan = wide_plan(policy)
        costs = OpCosts(plan, "decode", plan.middle_context)
        alone = sum(costs.alone(op).seconds for op in plan.ops("decode"))
        launched = LAUNCH * sum(s.device == "gpu0" for s in plan.decode.steps if isinstance(s, Run))
        moves = [s for s in plan.decode.steps if isinstance(s, Move)]
        moved = sum(s.num_bytes / DRIVE_LINK + 2 * LATENCY for s in moves)
        assert plan.decode_seconds(plan.middle_context) == pytest.approx(alone + launched + moved)


class TestMemory:
    def test_many_alike_have_to_fit_together(self) -> None:
        plan = forced_plan(GPU, GPU)  # the host has 6 MB, which two of these fit into, and not three
        assert on(plan, "blocks.0.mlp.up", "host", alike=2).reason == "its weights would live on host"
        found = on(plan, "blocks.0.mlp.up", "host", alike=3)
        assert (found.reason, found.fits) == ("streams its weights from gpu0", True)

    def test_weights_that_do_not_fit(self) -> None:
        plan = forced_plan(GPU, GPU, up=HOST)
        roomy, tight = (with_gpu_memory(plan, UP_WEIGHTS + extra) for extra in (0, -1))
        assert on(roomy, "blocks.0.mlp.up", "gpu").fits
        found = on(tight, "blocks.0.mlp.up", "gpu")
        assert (found.reason, found.fits) == ("its weights would not fit on gpu0", False)
        assert found.cost == on(roomy, "blocks.0.mlp.up", "gpu").cost

    @pytest.mark.parametrize(
        ("op", "num_bytes", "reason"),
        [
            ("blocks.0.attention", 128 * CACHED_TOKEN, "streams its KV cache from host"),
            ("blocks.0.mlp.up", UP_WEIGHTS, "streams its weights from host"),
        ],
    )
    def test_streaming_takes_two_buffers(self, op: str, num_bytes: int, reason: str) -> None:
        plan = forced_plan(ways("gpu", "host", "host"), GPU, up=HOST)
        graphs = (plan.phase("prefill").graph, plan.decode.graph)
        activations = max(working_set_bytes(g, o) for g in graphs for o in g.ops)
        enough, short = (with_gpu_memory(plan, 0, activations + 2 * num_bytes - lack) for lack in (0, 1))
        assert on(enough, op, "gpu")[2:4] == (reason, True)
        assert on(short, op, "gpu").fits is False
        spread = with_gpu_memory(plan, 1, activations + 2 * num_bytes - 1)
        assert on(spread, op, "gpu")[2:4] == (reason, True)

    def test_small_weights_have_to_fit_too(self) -> None:
        plan = forced_plan(GPU, GPU, norm2=HOST)
        assert on(with_gpu_memory(plan, 1e6), "blocks.0.norm2", "gpu").reason == ""
        found = on(with_gpu_memory(plan, 4095), "blocks.0.norm2", "gpu")
        assert (found.reason, found.fits) == ("its weights would not fit on gpu0", False)

    def test_what_fits_comes_first(self) -> None:
        plan = with_gpu_memory(forced_plan(ways("gpu", "host", "host"), GPU), 0)
        found = alternatives(plan, "decode", "blocks.0.attention")
        assert [(a.tier, a.fits) for a in found] == [("csd", True), ("gpu", False)]
        costs = [a.cost.seconds for a in found if a.cost]
        assert costs[1] < costs[0]


class TestImpossible:
    @pytest.mark.parametrize(
        ("phase", "op", "reason"),
        [
            ("decode", "blocks.0.mlp.up", "drives run attention only"),
            ("prefill", "blocks.0.attention", "drives attend in decode only"),
        ],
    )
    def test_drives(self, phase: str, op: str, reason: str) -> None:
        assert on(tiny_plan("gpu-only"), op, "csd", phase) == Alternative("csd", None, reason)

    @pytest.mark.parametrize(
        ("hw", "reason"),
        [
            (HardwareSpec.load("demo").with_drives(0), "there is no drive"),
            (HardwareSpec.load("a6000-ssd"), "the drives have no engine"),
        ],
    )
    def test_no_engine(self, hw: HardwareSpec, reason: str) -> None:
        plan = (
            partition(abstract("opt-125m"), hw, Workload(1, 16, 16), "gpu-only")
            if hw.name != "demo"
            else None
        )
        plan = plan or replace(forced_plan(GPU, GPU), hw=hw)
        assert on(plan, "blocks.0.attention", "csd") == Alternative("csd", None, reason)

    def test_caches_that_were_not_raised(self) -> None:
        plan = unraised_plan()
        stateful = next(op for op in plan.ops("decode") if op.states and not op.attention)
        reason = "it updates a cache that was not raised and stays on gpu0"
        assert on(plan, stateful.name, "host") == Alternative("host", None, reason)

    def test_a_shared_table(self) -> None:
        plan = partition(abstract("opt-125m"), "a6000-csd", Workload(1, 16, 16), "gpu-only")
        reason = "its weights are shared with another op and looked up by row"
        assert on(plan, "embed.token", "host") == Alternative("host", None, reason)


class TestPolicies:
    def test_what_a_policy_forbids_is_said(self) -> None:
        plan = wide_plan("instinfer")
        reasons = {a.tier: a.reason for a in alternatives(plan, "decode", "blocks.0.attention")}
        assert reasons["gpu"].endswith("would live on gpu0; not allowed by policy 'instinfer'")
        assert reasons["host"].endswith("not allowed by policy 'instinfer'")
        assert on(plan, "norm", "host").reason == "not allowed by policy 'instinfer'"
        assert on(plan, "blocks.0.attention", "host", "prefill").reason == "not allowed by policy 'instinfer'"

    def test_nothing_is_forbidden_under_auto(self) -> None:
        plan = mixed_plan()
        found = [
            a for p in ("prefill", "decode") for op in plan.ops(p) for a in alternatives(plan, p, op.name)
        ]
        assert not [a for a in found if "policy" in a.reason]


@pytest.mark.parametrize("phase", ["prefill", "decode"])
def test_the_other_tiers_come_in_order(phase: str) -> None:
    plan = mixed_plan()
    for op in plan.ops(phase):
        found = alternatives(plan, phase, op.name)
        here = {tier_of(device) for device in plan.device_of(phase, op.name)}
        others = {"csd", "gpu", "host"} - (here if len(here) == 1 else set())
        assert sorted(a.tier for a in found) == sorted(others)
        assert [a.rank for a in found] == sorted(a.rank for a in found)
        assert all(a.reason for a in found if a.cost is None or not a.fits)
