"""What shares of an attention demand, against figures worked out by hand."""

import dataclasses

import numpy as np
import pytest

from cost_models import ComputeSpec, processor_attend_cost
from partitioner.shares import Share
from runtime.attention_demand import AttentionDemand, gpu_demand, host_demand
from tests.runtime.attentions import attention

SHARE = Share("gpu0", (1, 4), (0, 2), 0.5)
SPEC = ComputeSpec(
    name="test",
    kind="gpu",
    memory_bytes=1e9,
    memory_bytes_per_s=1e6,
    peak_flops={"float32": 1e6},
    launch_s=0.5,
    memory_efficiency=0.5,
    compute_efficiency=0.25,
)


def test_a_gpu_reads_all_that_its_cache_has_room_for() -> None:
    """3 rows x 2 KV heads x 100 tokens x 8 elements of 2 bytes, K and V; each KV head serves 2 query heads."""
    demand = gpu_demand(attention("float16"), SHARE, 100, 2)
    assert demand == AttentionDemand(4.0 * 3 * 2 * 100 * 2 * 8, 2.0 * 3 * 2 * 100 * 8 * 2, "float16", 5)


def test_a_host_reads_valid_tokens_alone() -> None:
    demand = host_demand(attention("bfloat16"), SHARE, np.array([10, 0, 5]), 2)
    assert demand == AttentionDemand(4.0 * 15 * 2 * 2 * 8, 2.0 * 15 * 2 * 8 * 2, "float32")


def test_a_window_leaves_the_host_its_newest_tokens() -> None:
    """Rows of 10, 0 and 5 tokens, of which 6, 0 and 5 are seen; the GPU's kernel reads its whole cache all the same."""
    windowed = dataclasses.replace(attention("bfloat16"), window=6)
    demand = host_demand(windowed, SHARE, np.array([10, 0, 5]), 2)
    assert demand == AttentionDemand(4.0 * 11 * 2 * 2 * 8, 2.0 * 11 * 2 * 8 * 2, "float32")
    assert gpu_demand(windowed, SHARE, 100, 2) == gpu_demand(attention("bfloat16"), SHARE, 100, 2)


def test_seconds_are_the_slower_of_arithmetic_and_memory() -> None:
    assert AttentionDemand(1e6, 1e5, "float16").seconds(SPEC) == pytest.approx(0.5 + 4.0)
    assert AttentionDemand(1e4, 1e6, "float16").seconds(SPEC) == pytest.approx(0.5 + 2.0)


@pytest.mark.parametrize("kind", ["host", "gpu"])
def test_attention_may_have_an_efficiency_of_its_own(kind: str) -> None:
    spec = dataclasses.replace(SPEC, kind=kind, attention_efficiency=0.8)
    assert AttentionDemand(0.0, 1e6, "float16").seconds(spec) == pytest.approx(0.5 + 1.25)


@pytest.mark.parametrize("flops_per_s", [1e3, 1e9], ids=["compute", "memory"])
@pytest.mark.parametrize("kind", ["host", "gpu"])
@pytest.mark.parametrize("efficiency", [None, 0.8])
def test_a_share_takes_as_long_as_the_cost_model_predicts(
    kind: str, flops_per_s: float, efficiency: float | None
) -> None:
    """Two counts of the same thing, which share parameters alone."""
    spec = dataclasses.replace(
        SPEC, kind=kind, peak_flops={"float32": flops_per_s}, attention_efficiency=efficiency
    )
    given, context_len = attention("float16"), 100
    if kind == "gpu":
        demand = gpu_demand(given, SHARE, context_len, 2)
    else:
        demand = host_demand(given, SHARE, np.full(3, context_len), 2)
    predicted = processor_attend_cost(
        spec, batch=3, kv_heads=2, group_size=2, head_size=8, context_len=context_len,
        kv_bytes_per_element=2, dtype=demand.dtype,
    )  # fmt: skip
    assert demand.seconds(spec) == pytest.approx(spec.launch_s + predicted.seconds, rel=1e-12)
