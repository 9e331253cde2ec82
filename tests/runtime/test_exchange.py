"""How long emulated GPUs exchange, and what they repeat."""

import jax
import pytest

from cost_models import HardwareSpec
from models import abstract
from partitioner import Workload, partition
from partitioner.ir.tensor_parallel import Collective
from partitioner.jaxpr import trace, variables
from runtime.attention_demand import gpu_demand
from runtime.demand import count_demand
from runtime.exchange import ExchangingDemand, exchange_s
from runtime.program import Program
from runtime.simulation.simulate import simulate
from tests.runtime.tiny_models import demo_hardware, transformer


def test_rounds_of_a_ring() -> None:
    hw = HardwareSpec.load("2xa6000-csd").with_gpus(4)  # PCIe: 32 GB/s and 1 us from GPU to host memory
    assert exchange_s(hw, [Collective("all_gather", 128e6)]) == pytest.approx(3 * (32e6 / 32e9 + 2e-6))
    assert exchange_s(hw, [Collective("all_reduce", 128e6)] * 2) == pytest.approx(12 * (32e6 / 32e9 + 2e-6))
    assert exchange_s(hw, []) == exchange_s(hw, [Collective("all_reduce", 0)]) == 0.0


def test_every_gpu_has_a_link_of_its_own_to_the_others() -> None:
    hw = HardwareSpec.load("h200-csd4").with_gpus(4)
    assert exchange_s(hw, [Collective("all_gather", 1.8e9)]) == pytest.approx(3 * (0.45e9 / 450e9 + 5e-6))


def test_what_all_do_alike_counts_for_each() -> None:
    shapes = jax.ShapeDtypeStruct((4, 8), "float32"), jax.ShapeDtypeStruct((8, 6), "float32")
    jaxpr, _, _ = trace(lambda x, w: x @ w.astype("float32"), *shapes)
    once = count_demand(jaxpr.eqns, variables(jaxpr.outvars))
    twice = count_demand(jaxpr.eqns, variables(jaxpr.outvars), {jaxpr.invars[1]: 2})
    assert (twice.flops, twice.num_bytes) == (2 * once.flops, 2 * once.num_bytes)


def test_what_all_have_times_what_is_cut_is_cut() -> None:
    """As the inputs of layers, of which each GPU makes K and V of its own heads."""
    shapes = jax.ShapeDtypeStruct((4, 8), "float32"), jax.ShapeDtypeStruct((8, 6), "float32")
    jaxpr, _, _ = trace(lambda x, w: x @ w.astype("float32"), *shapes)
    once = count_demand(jaxpr.eqns, variables(jaxpr.outvars))
    assert (
        count_demand(jaxpr.eqns, variables(jaxpr.outvars), dict(zip(jaxpr.invars, (2, 1), strict=True)))
        == once
    )


def test_segments_on_several_gpus_exchange() -> None:
    plan = partition(transformer(), demo_hardware().with_gpus(2), Workload(4, 12, 10), "gpu-only")
    (demand,) = Program(plan, plan.decode).demands
    assert isinstance(demand, ExchangingDemand)
    sums = [Collective("all_reduce", 4 * 4 * 32)] * 4
    assert demand.exchange_s == pytest.approx(exchange_s(plan.hw, sums))


def test_a_share_that_gpus_cannot_cut_is_attended_to_by_each() -> None:
    plan = partition(transformer(), demo_hardware(), Workload(3, 12, 10), "gpu-only")
    op = next(op for op in plan.decode.graph.ops if op.attention)
    assert op.attention is not None
    share = plan.caches[op.name][0]
    one, two, eight = (gpu_demand(op.attention, share, 22, 4, n).num_bytes for n in (1, 2, 8))
    assert one == two
    assert eight == 8 * one


def test_predictions_hold_for_several_gpus() -> None:
    for policy in ("gpu-only", "instinfer"):
        plan = partition(transformer(), demo_hardware().with_gpus(2), Workload(4, 12, 10), policy)
        assert simulate(plan).total_s == pytest.approx(plan.total_seconds, rel=0.15)


def test_a_gpu_makes_k_and_v_of_its_own_heads_again() -> None:
    plan = partition(abstract("opt-30b"), "2xa6000-csd", Workload(64, 512, 256), "recompute")
    assert simulate(plan).total_s == pytest.approx(plan.total_seconds, rel=0.03)
