"""What stays on each device: the numbers of the capacity check, worked out from shapes."""

import math
from collections.abc import Mapping

import pytest

from cost_models import HardwareSpec
from models import abstract
from partitioner import Plan, Workload, partition
from partitioner.jaxpr import num_bytes
from partitioner.plan.residency import resident_bytes
from tests.partitioner.plan.plans import (
    WIDE,
    biased_cache,
    forced_plan,
    mixed_plan,
    tiny_plan,
    unraised_plan,
    ways,
)

PAGE_BYTES = 4096


def total(table: Mapping[str, Mapping[str, float]], key: str) -> float:
    return math.fsum(row[key] for row in table.values())


def param_bytes(plan: Plan) -> dict[str, int]:
    return {i.name: num_bytes(i.var) for i in plan.decode.graph.phase.inputs if i.role == "param"}


def test_devices_come_in_the_order_of_the_hardware() -> None:
    plan = tiny_plan("instinfer")
    assert (
        tuple(resident_bytes(plan))
        == plan.hw.device_names
        == ("gpu0", "host", "csd0", "csd1", "csd2", "csd3")
    )
    assert plan.resident_bytes() == resident_bytes(plan)


def test_capacities_are_those_of_the_hardware() -> None:
    plan = tiny_plan("instinfer")
    for device, row in resident_bytes(plan).items():
        assert row["capacity"] == plan.hw.memory_bytes(device)


def test_every_weight_is_counted_once_where_it_lives() -> None:
    plan = tiny_plan("instinfer")
    table = resident_bytes(plan)
    assert table["gpu0"]["weights"] == sum(param_bytes(plan).values())
    assert total(table, "weights") == table["gpu0"]["weights"]


def test_small_weights_are_counted_wherever_they_are_kept() -> None:
    gpu = ways("gpu", "gpu", "gpu")
    plan = forced_plan(gpu, gpu, norm2=ways("gpu", "host", "-"))
    sizes = param_bytes(plan)
    copies = sum(sizes[name] * len(devices) for name, devices in plan.copies.items())
    assert copies == 2 * 2 * 512 * 4  # scale and bias of two layers, 512 float32
    assert total(resident_bytes(plan), "weights") == sum(sizes.values()) + copies


def test_a_large_weight_that_is_streamed_is_counted_at_home() -> None:
    plan = forced_plan(ways("gpu", "gpu", "gpu"), ways("gpu", "gpu", "gpu"), up=ways("gpu", "gpu", "host"))
    up = [size for name, size in param_bytes(plan).items() if ".mlp.up." in name]
    assert resident_bytes(plan)["host"]["weights"] == sum(up) == 2 * 4 * (512 * 1024 + 1024)


@pytest.mark.parametrize("device", ["gpu", "host"])
def test_caches_in_memory_hold_the_longest_context(device: str) -> None:
    home = ways(device, device, device)
    table = resident_bytes(forced_plan(home, ways("gpu", "gpu", "gpu")))
    name = "gpu0" if device == "gpu" else device
    # 2 layers, K and V, 2 rows, 8 heads, 96 + 32 tokens of 64 float16
    assert table[name]["kv_cache"] == 2 * 2 * 2 * 8 * 128 * 64 * 2
    assert total(table, "kv_cache") == table[name]["kv_cache"]


@pytest.mark.parametrize(("num_drives", "heads"), [(1, (8,)), (3, (3, 3, 2)), (4, (2, 2, 2, 2))])
def test_drives_keep_whole_pages_of_their_heads(num_drives: int, heads: tuple[int, ...]) -> None:
    csd = ways("gpu", "csd", "csd")
    table = resident_bytes(forced_plan(csd, ways("gpu", "gpu", "gpu"), num_drives))
    # a page of 4096 B holds 32 tokens of a head of 64 float16, so 128 tokens take 4
    held = [table[f"csd{i}"]["kv_cache"] for i in range(num_drives)]
    assert held == pytest.approx([2 * 2 * 2 * n * 4 * PAGE_BYTES for n in heads])


def test_a_page_is_kept_for_a_single_token_more() -> None:
    workloads = [Workload(1, 64, decode_len) for decode_len in (32, 33)]
    pages = []
    for workload in workloads:
        plan = partition(abstract(WIDE), "demo", workload, "instinfer")
        pages.append(resident_bytes(plan)["csd0"]["kv_cache"] / PAGE_BYTES)
    assert pages == [2 * 2 * 8 * 3, 2 * 2 * 8 * 4]


def test_gpus_of_one_host_share_evenly() -> None:
    hw = HardwareSpec.load("2xa6000-csd")
    table = resident_bytes(partition(abstract("opt-125m"), hw, Workload(4, 32, 32), "gpu-only"))
    assert table["gpu0"] == table["gpu1"]
    # 125 million parameters of float16, embedded positions on each, and 12 layers of K and V, 4 rows, 768 wide, 64 tokens
    positions = 2050 * 768
    assert 2 * table["gpu0"]["weights"] == pytest.approx(2 * (125.2e6 + positions), rel=2e-3)
    assert 2 * table["gpu0"]["kv_cache"] == 12 * 2 * 4 * 768 * 64 * 2


def test_what_gpus_cannot_cut_takes_its_room_on_each() -> None:
    load = Workload(4, 32, 32)
    one, three = (
        resident_bytes(
            partition(abstract("opt-125m"), HardwareSpec.load("a6000-csd").with_gpus(n), load, "gpu-only")
        )
        for n in (1, 5)
    )
    assert three["gpu4"]["kv_cache"] == one["gpu0"]["kv_cache"]  # 12 heads
    assert three["gpu4"]["weights"] == one["gpu0"]["weights"]


def test_caches_that_were_not_raised_stay_on_the_gpu() -> None:
    plan = unraised_plan()
    cached = sum(layer[n].nbytes for layer in biased_cache(2, 10) for n in ("keys", "values"))
    table = resident_bytes(plan)
    assert table["gpu0"]["kv_cache"] == total(table, "kv_cache") == cached


def test_the_reserve_is_the_solvers() -> None:
    plan = mixed_plan()
    table = resident_bytes(plan)
    assert table["gpu0"]["reserve"] == plan.decisions.reserved_bytes["gpu"] > 0
    assert total(table, "reserve") == sum(plan.decisions.reserved_bytes.values())
