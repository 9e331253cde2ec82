"""The null device counts what a plan does, without weights, values or time."""

from collections import Counter

import pytest

from cost_models import HardwareSpec
from models import abstract
from partitioner import Plan, Workload, partition
from partitioner.errors import PlanError
from partitioner.plan.steps import Move
from runtime import Session
from runtime.devices.null import count_steps
from tests.runtime.tiny_models import WORKLOAD, counting_decoder, demo_hardware, plan_for, transformer

ROWS, HEADS, SIZE, FLOAT32 = 4, 4, 8, 4
TOKEN_BYTES = ROWS * HEADS * SIZE * FLOAT32
"""One q, k or v of the whole batch, for one layer."""


def counted_by_plan(plan: Plan, phase: str, context_len: int) -> Counter[str]:
    """Bytes per kind of move as the plan predicts them."""
    sizes: Counter[str] = Counter()
    for step in plan.phase(phase).steps:
        if isinstance(step, Move) and step.path != "local":
            sizes[step.kind] += round(plan.move_bytes(phase, step, context_len))
    return sizes


def test_a_decode_step_with_attention_on_the_drive() -> None:
    """Per layer, q, k and v go to the drive and the output comes back; three runs on the GPU enclose two on the drive."""
    counts = count_steps(plan_for(transformer(), "instinfer"), 16)
    assert counts.runs == {"gpu0": 3, "csd0": 2}
    assert counts.moves == {"hand_over": 4}
    assert counts.move_bytes == {"hand_over": 2 * 4 * TOKEN_BYTES}
    down, up = 2 * 3 * TOKEN_BYTES, 2 * TOKEN_BYTES
    assert counts.link_bytes == {"gpu0.up": down, "csd0.down": down, "csd0.up": up, "gpu0.down": up}


def test_a_decode_step_with_the_cache_shipped() -> None:
    """Per layer, K and V of the 15 tokens before this one come in, and its own go back."""
    counts = count_steps(plan_for(transformer(), "flexgen-ssd"), 16)
    assert counts.runs == {"gpu0": 5}
    assert counts.moves == {"stream_cache": 2, "append_cache": 2}
    assert counts.move_bytes == {
        "stream_cache": 2 * 2 * 15 * TOKEN_BYTES,
        "append_cache": 2 * 2 * TOKEN_BYTES,
    }
    assert counts.link_bytes["csd0.up"] == counts.move_bytes["stream_cache"]


def test_a_prefill() -> None:
    """K and V of the whole prompt go to the drive; where the cache is at home, nothing crosses a link."""
    counts = count_steps(plan_for(transformer(), "instinfer"), 12, "prefill")
    assert counts.runs == {"gpu0": 3}
    assert counts.move_bytes == {"store_cache": 2 * 2 * 12 * TOKEN_BYTES}
    local = count_steps(plan_for(transformer(), "gpu-only"), 12, "prefill")
    assert local.moves == {"store_cache": 2}
    assert local.move_bytes == local.link_bytes == {}


@pytest.mark.parametrize("num_drives", [1, 2, 4])
@pytest.mark.parametrize("policy", ["instinfer", "flexgen-ssd", "deepspeed-host"])
@pytest.mark.parametrize("context_len", [13, 17, 22])
def test_a_decode_step_moves_what_the_plan_says(policy: str, num_drives: int, context_len: int) -> None:
    plan = plan_for(transformer(), policy, num_drives)
    counts = count_steps(plan, context_len)
    assert counts.move_bytes == counted_by_plan(plan, "decode", context_len)
    assert sum(counts.moves.values()) == sum(isinstance(s, Move) for s in plan.decode.steps)


@pytest.mark.parametrize("policy", ["instinfer", "flexgen-ssd", "deepspeed-host"])
def test_a_prefill_moves_what_the_plan_says(policy: str) -> None:
    plan = plan_for(transformer(), policy)
    assert count_steps(plan, 12, "prefill").move_bytes == counted_by_plan(plan, "prefill", 12)


@pytest.mark.parametrize("policy", ["instinfer", "flexgen-ssd", "deepspeed-host"])
def test_a_session_moves_what_was_counted(policy: str) -> None:
    """A generation is one prefill and, after the token that it gives, a decode step per token."""
    plan = plan_for(transformer(), policy)
    with Session(plan, transformer(), clock="virtual") as session:
        result = session.generate([[1] * 12] * 4, max_new_tokens=4)
    counted = Counter(count_steps(plan, 12, "prefill").link_bytes)
    for context_len in (13, 14, 15):
        counted.update(count_steps(plan, context_len).link_bytes)
    links = {name: size for name, size in result.timeline.moved_bytes().items() if "." in name}
    assert links == dict(counted)


@pytest.mark.parametrize("num_drives", [1, 4])
def test_models_too_large_for_this_machine_are_counted_as_well(num_drives: int) -> None:
    """OPT-13B over drives: per layer q, k and v of 64 rows x 40 heads x 128 in float16, shared evenly."""
    hw = HardwareSpec.load("a6000-csd").with_drives(num_drives)
    plan = partition(abstract("opt-13b", num_layers=4), hw, Workload(64, 64, 64), "instinfer")
    counts = count_steps(plan, 128)
    sent = 4 * 3 * 64 * 40 * 128 * 2
    assert (
        sum(n for link, n in counts.link_bytes.items() if link.startswith("csd") and link.endswith("down"))
        == sent
    )
    assert counts.link_bytes["csd0.down"] == sent // num_drives
    assert counts.runs["csd0"] == 4


def test_a_phase_that_a_plan_lacks() -> None:
    plan = partition(counting_decoder(), demo_hardware(), WORKLOAD, "gpu-only")
    with pytest.raises(PlanError, match="this plan has no phase 'prefill'; it has decode"):
        count_steps(plan, 12, "prefill")
