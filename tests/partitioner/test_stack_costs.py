"""What a stack's software costs, by mechanism: page cache, files, swapping, sparse fetches, whole prefills, time of layers."""

import dataclasses
from functools import cache

import pytest

from cost_models import HardwareSpec, SoftwareSpec
from models import abstract
from partitioner import PlacementError, Plan, SparF, Workload, partition

SOFTWARE = SoftwareSpec(
    storage_bytes_per_s=1e9,
    host_copy_bytes_per_s=10e9,
    swap_bytes_per_s=0.25e9,
    host_bytes_per_kv_byte=2.0,
    engine_flops=50e9,
    flash_read_efficiency=0.5,
    layer_s=10e-3,
    tokens_per_cluster=2.0,
)
LAYERS = 12
"""Of opt-125m, whose head size is 64: a page holds 32 tokens of a head."""
CONTEXT = 193
"""A step at this context reads 192 cached tokens, which are whole pages."""


@cache
def planned(
    policy: str,
    *,
    stack: bool = True,
    host_bytes: float = 96e9,
    gpu_bytes: float = 48e9,
    drives: int = 1,
    sparsity: SparF | None = None,
    batch_size: int = 4,
) -> Plan:
    hw = HardwareSpec.load("a6000-csd").with_drives(drives).with_memory("host", host_bytes)
    hw = dataclasses.replace(hw.with_memory("gpu0", gpu_bytes), software=SOFTWARE if stack else None)
    return partition(abstract("opt-125m"), hw, Workload(batch_size, 128, 128, sparsity), policy)


def step_s(policy: str, **options: object) -> float:
    return planned(policy, **options).decode_seconds(CONTEXT)  # type: ignore[arg-type]


def kv_bytes(tokens: int = CONTEXT - 1) -> float:
    """Returns the K and V of all layers and rows, float16."""
    return LAYERS * 4 * tokens * 2 * 768 * 2.0


def busy_s(plan: Plan) -> float:
    """Returns the seconds in which the GPU works in a step."""
    events = plan.predicted_timeline("decode", CONTEXT).events
    return sum(e.end_s - e.start_s for e in events if e.resource == "gpu0")


OTHERS_S = LAYERS * SOFTWARE.layer_s
"""Of a step beside its caches, but for GPU work and latencies of well below a millisecond a layer."""


def test_files_in_the_page_cache_pass_the_storage_path_alone() -> None:
    assert step_s("flexgen-ssd") == pytest.approx(kv_bytes() / 1e9 + OTHERS_S, rel=0.05)


def test_files_that_outgrow_the_page_cache_cross_the_drives_link_as_well() -> None:
    small = kv_bytes(256) * 0.99
    grown = step_s("flexgen-ssd", host_bytes=small) - step_s("flexgen-ssd")
    assert grown == pytest.approx(kv_bytes() / 7e9, rel=0.02)
    assert step_s("flexgen-ssd", host_bytes=kv_bytes(256)) == step_s("flexgen-ssd")


def test_a_second_drive_does_not_speed_up_the_storage_path() -> None:
    assert step_s("flexgen-ssd", drives=2) == pytest.approx(step_s("flexgen-ssd"), rel=0.01)
    assert step_s("flexgen-ssd", drives=2, stack=False) < 0.7 * step_s("flexgen-ssd", stack=False)


def test_direct_reads_do_without_the_page_cache() -> None:
    more = step_s("flexgen-gds") - step_s("flexgen-ssd")
    assert more == pytest.approx(kv_bytes() / 7e9, rel=0.02)


def test_a_sparse_fetch_reads_pages_and_hands_over_entries() -> None:
    eighth = SparF.ratio(8)
    saved = step_s("flexgen-ssd") - step_s("flexgen-sparq", sparsity=eighth)
    assert saved == pytest.approx(7 / 8 * kv_bytes() / 1e9, rel=0.01)
    plain = step_s("flexgen-sparq", sparsity=eighth, stack=False)
    assert plain < step_s("flexgen-ssd", stack=False)
    assert step_s("flexgen-sparq", stack=False) == pytest.approx(step_s("flexgen-ssd", stack=False))


def test_copies_from_host_memory_and_swapping() -> None:
    copied = step_s("deepspeed-host")
    assert copied == pytest.approx(kv_bytes() / 10e9 + OTHERS_S, rel=0.1)
    swapping = step_s("deepspeed-host", host_bytes=2 * kv_bytes(256) * 0.99)
    assert swapping - copied == pytest.approx(kv_bytes() / 0.25e9, rel=0.02)
    assert step_s("deepspeed-host", host_bytes=2 * kv_bytes(256)) == copied


def test_what_outgrows_host_memory_is_refused_without_a_stack_that_swaps() -> None:
    with pytest.raises(PlacementError, match="host is short of"):
        planned("deepspeed-host", host_bytes=kv_bytes(256) * 0.9, stack=False)


def test_an_engines_arithmetic_is_added_to_reads_at_their_share_of_the_rate() -> None:
    read = kv_bytes() / (0.5 * 11.2e9)
    computed = kv_bytes(CONTEXT) / 2 * 2 / 50e9
    plain = planned("instinfer", stack=False)
    overheads = plain.decode_seconds(CONTEXT) - kv_bytes() / 11.2e9
    assert step_s("instinfer") == pytest.approx(read + computed + OTHERS_S + overheads, rel=0.02)


def test_inputs_are_fetched_before_and_not_under_compute() -> None:
    """Published stacks copy in the stream of their kernels, so recomputing waits for what it is made of."""
    plain, stack = planned("recompute", stack=False), planned("recompute")
    moved = kv_bytes() / 2 / 32e9
    assert stack.decode_seconds(CONTEXT) >= plain.decode_seconds(CONTEXT) + OTHERS_S
    gpu_s = busy_s(stack)
    assert stack.decode_seconds(CONTEXT) == pytest.approx(gpu_s + moved, rel=0.02)


def test_a_whole_prefill_needs_room_for_all_rows_at_once() -> None:
    weights = planned("flexgen-ssd").resident_bytes()["gpu0"]["weights"]
    tight = weights + 150e6
    sliced = planned("flexgen-ssd", batch_size=64, gpu_bytes=tight, stack=False)
    assert sliced.prefill is not None
    assert sliced.prefill.rows < 64
    with pytest.raises(PlacementError, match=r"nothing fits under policy .flexgen-ssd.: .*activations"):
        planned("flexgen-ssd", batch_size=64, gpu_bytes=tight)


def test_kv_stays_on_the_gpu_as_far_as_it_fits_and_the_rest_is_made_again() -> None:
    roomy = planned("vllm-recompute", stack=False)
    assert {d.form for d in roomy.decisions.ops.values()} == {"kv"}
    weights = roomy.resident_bytes()["gpu0"]["weights"]
    tight = planned("vllm-recompute", stack=False, gpu_bytes=weights + 50e6)
    found = {(d.home, d.form) for name, d in tight.decisions.ops.items() if name.endswith("attention")}
    assert ("gpu", "kv") in found
    assert any(form == "input" and home != "gpu" for home, form in found)
    assert all(home == "gpu" for home, form in found if form == "kv")


@pytest.mark.parametrize("policy", ["instinfer", "flexgen-ssd", "deepspeed-host", "recompute"])
def test_the_solver_counts_what_the_schedule_takes(policy: str) -> None:
    plan = planned(policy)
    assert plan.decisions.certificate.account == pytest.approx(plan.total_seconds, rel=0.02)
