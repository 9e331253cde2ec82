from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cost_models import HardwareSpec, Work, compute_cost, launch_cost, ridge_point
from tests.cost_models.systems import GPU, is_cost

AMOUNTS = st.floats(0, 1e15)


def test_memory_bound_and_compute_bound():
    # 100 GB/s x 0.5 and 1 TFLOP/s x 0.25
    assert is_cost(compute_cost(Work(1e9, 3e9, 2e9), GPU, "float32"), 0.1, "memory")
    assert is_cost(compute_cost(Work(1e12, 3e9, 2e9), GPU, "float32"), 4.0, "compute")
    assert compute_cost(Work(), GPU, "float32").seconds == 0.0


def test_ridge_point_separates_the_bounds():
    ridge = ridge_point(GPU, "float16")
    assert ridge == pytest.approx(4e12 * 0.25 / 50e9)
    assert compute_cost(Work(ridge * 1.01e6, 1e6, 0.0), GPU, "float16").bound == "compute"
    assert compute_cost(Work(ridge * 0.99e6, 1e6, 0.0), GPU, "float16").bound == "memory"


def test_launch():
    assert is_cost(launch_cost(GPU, 3), 3e-5, "overhead")


def test_opt_13b_decode_reads_its_weights():
    # 24 GB of weights at 768 GB/s is 31 ms at the datasheet rate
    gpu = replace(HardwareSpec.load("a6000-csd").gpus[0], memory_efficiency=1.0)
    cost = compute_cost(Work(2 * 12e9, 24e9, 0.0), gpu, "float16")
    assert is_cost(cost, 24 / 768, "memory")


@given(flops=AMOUNTS, read=AMOUNTS, factor=st.floats(1, 1e3))
def test_a_faster_device_is_never_slower(flops, read, factor):
    work = Work(flops, read, 0.0)
    base = compute_cost(work, GPU, "float32").seconds
    wide = replace(GPU, memory_bytes_per_s=GPU.memory_bytes_per_s * factor)
    strong = replace(GPU, peak_flops={"float32": GPU.flops("float32") * factor})
    assert compute_cost(work, wide, "float32").seconds <= base
    assert compute_cost(work, strong, "float32").seconds <= base
