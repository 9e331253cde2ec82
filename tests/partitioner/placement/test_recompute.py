"""Caches of inputs are offered where they can pay, priced for what they take, and never where K and V are smaller."""

import dataclasses
import itertools
import math
from functools import cache
from typing import Any

import jax
import pytest
from jax import numpy as jnp

from cost_models import HardwareSpec
from partitioner import PlacementError, Workload, partition
from partitioner.costing import Costing
from partitioner.front import Traced, trace_model
from partitioner.frontend import adapt
from partitioner.placement.build import BuiltProblem, Mode, build_problem
from partitioner.placement.exhaustive import exhaustive
from partitioner.placement.lower_bound import lower_bound
from partitioner.placement.paired_graphs import PairedGraphs
from partitioner.placement.policies import POLICIES, Policy
from partitioner.placement.problem import Infeasible, Problem, Solution
from partitioner.placement.recompute import KeptInput, Room, kept_inputs, stream_cost
from partitioner.placement.recompute_modes import with_recompute
from partitioner.placement.solve import solve
from partitioner.placement.variant_list import Variant
from partitioner.plan.decisions import CacheForm
from tests.partitioner.kv_decoders import kv_decoder, plain_project
from tests.partitioner.small_models import LLAMA, OPT, Project, abstract_transformer

HALF = {"param_dtype": "float16", "compute_dtype": "float16"}
MHA = OPT.replace(num_layers=2, **HALF)
GROUPED = LLAMA.replace(num_layers=2, num_kv_heads=1, **HALF)
WORKLOAD = Workload(batch_size=4, prompt_len=24, decode_len=24)
FORCED = dataclasses.replace(POLICIES["auto"], cache_forms=("input",), split=False, micro_batches=1)


def hardware(gpu_bytes: float | None = None, num_drives: int = 1) -> HardwareSpec:
    hw = HardwareSpec.load("demo").with_drives(num_drives)
    hw = hw.replace("drive.flash.page_bytes", 128) if num_drives else hw
    return hw if gpu_bytes is None else hw.with_memory("gpu0", gpu_bytes)


@cache
def traced(config: Any) -> Traced:
    return trace_model(adapt(abstract_transformer(config)), hardware(), WORKLOAD)


def offered(config: Any, policy: Policy, hw: HardwareSpec) -> dict[str, KeptInput]:
    found = traced(config)
    peak = PairedGraphs.of(found.graphs).peak_activation_bytes
    return kept_inputs(found, Costing(hw, WORKLOAD), policy, peak)


def built(policy: Policy, hw: HardwareSpec) -> BuiltProblem:
    found, costing = traced(MHA), Costing(hw, WORKLOAD)
    paired = PairedGraphs.of(found.graphs)
    kept = kept_inputs(found, costing, policy, paired.peak_activation_bytes)
    assert kept
    mode = Mode("gpu", streaming=True, recompute=True)
    return build_problem(paired, costing, policy, mode, (1.0, 23.0), kept)


def inputs_of(problem: Problem) -> list[Variant]:
    choices = [c for s in problem.stages for c in s.block.choices]
    return [v for c in choices for v in c.variants if v.key[-1] == "input"]


class TestOffers:
    """When caches of inputs are offered."""

    def test_a_gpu_with_room_for_k_and_v_needs_none(self) -> None:
        assert not offered(MHA, POLICIES["auto"], hardware())

    def test_a_policy_without_the_form_gets_none(self) -> None:
        assert not offered(MHA, POLICIES["flexgen-ssd"], hardware())

    def test_a_policy_with_no_other_form_gets_all(self) -> None:
        found = offered(MHA, POLICIES["recompute"], hardware())
        assert {k.homes for k in found.values()} == {("host", "csd")}
        assert set(found) == {"blocks.0.attention", "blocks.1.attention"}
        assert found["blocks.1.attention"].params == tuple(
            f"blocks.1.attention.{name}" for name in ("key.kernel", "key.bias", "value.kernel", "value.bias")
        )

    def test_without_drives_the_host_is_left(self) -> None:
        found = offered(MHA, POLICIES["recompute"], hardware(num_drives=0))
        assert {k.homes for k in found.values()} == {("host",)}

    def test_slow_links_and_a_full_gpu_make_it_pay(self) -> None:
        """K and V fit nowhere but on a drive that is slow to read, and does not attend."""
        hw = hardware(1e5).with_memory("host", 1e5)
        no_engine = dataclasses.replace(POLICIES["auto"], decode_attention=("gpu", "host"))
        found = offered(MHA, no_engine, hw)
        assert {k.homes for k in found.values()} == {("gpu", "host", "csd")}
        fast = dataclasses.replace(hw.gpus[0], peak_flops=dict.fromkeys(hw.gpus[0].peak_flops, 1.0))
        assert not offered(MHA, no_engine, dataclasses.replace(hw, gpus=(fast,)))

    @pytest.mark.parametrize("num_kv_heads", [1, 2])
    @pytest.mark.parametrize("gpu_bytes", [None, 1e5])
    def test_never_for_few_kv_heads(self, num_kv_heads: int, gpu_bytes: float | None) -> None:
        config = GROUPED.replace(num_kv_heads=num_kv_heads)
        hw = hardware(gpu_bytes).with_memory("host", 1e5)
        assert not offered(config, POLICIES["auto"], hw)
        with pytest.raises(
            PlacementError, match=r"'recompute' keeps the inputs .* K and V take \d+\. Choose"
        ):
            offered(config, POLICIES["recompute"], hw)

    def test_never_chosen_for_few_kv_heads(self) -> None:
        model = abstract_transformer(GROUPED)
        with pytest.raises(PlacementError, match="it takes 64 bytes a token, and K and V take 32"):
            partition(model, hardware(), WORKLOAD, "recompute")
        plan = partition(model, hardware(6e4).with_memory("host", 1e5), WORKLOAD)
        assert {d.form for d in plan.decisions.ops.values()} == {"kv"}


def _no_number_at_zero(params: Any, x: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    length = jnp.sqrt(jnp.sum(x * x, axis=-1, keepdims=True))
    return x @ params["query"], (x / length) @ params["key"], x @ params["value"]


class TestProofs:
    """What is offered is proved once a placement has it, and not offered again where that fails."""

    def test_what_nothing_else_may_be_put_in_place_of_is_refused_with_the_reason(self) -> None:
        with pytest.raises(PlacementError, match="does not allow it: an empty slot gives K or V that are no"):
            partition(kv_decoder(_no_number_at_zero), hardware(), WORKLOAD, "recompute")

    @pytest.mark.parametrize("project", [plain_project, _no_number_at_zero])
    def test_what_is_refuted_is_left_for_k_and_v(
        self, project: Project, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Inputs are half as large as K and V, and the link is slow, so that the solver would keep them of both decoders."""
        forms: tuple[CacheForm, ...] = ("kv", "input")
        policy = Policy("fetching", "caches in host memory", cache_homes=("host",), cache_forms=forms)
        monkeypatch.setitem(POLICIES, "fetching", policy)
        hw = hardware(num_drives=0).replace("link.gpu.bytes_per_s", 1e5)
        plan = partition(kv_decoder(project), hw, WORKLOAD, "fetching")
        kept = {d.form for d in plan.decisions.ops.values()}
        assert ("input" in kept) == (project is plain_project)


class TestPrices:
    """What a cache of inputs costs in the problem."""

    def test_it_takes_half_the_memory_of_k_and_v(self) -> None:
        problem = built(POLICIES["auto"], hardware(1e5).with_memory("host", 1e5)).problem
        whole = 2 * 4 * 48 * 32 * 2  # K and V of four rows of 48 tokens, 32 wide, in float16
        for variant in inputs_of(problem):
            assert sum(variant.memory[:2]) in (0.0, whole / 2)
        plain = [v for s in problem.stages for c in s.block.choices for v in c.variants if "host" in v.key]
        assert whole in {v.memory[1] for v in plain}

    @pytest.mark.parametrize("faster", [1.0, 1e6])
    def test_the_matrix_products_are_on_the_critical_path_and_the_fetch_where_it_takes_longer(
        self, faster: float
    ) -> None:
        hw = hardware(1e5).with_memory("host", 1e5)
        hw = hw.replace("link.gpu.bytes_per_s", faster * hw.link("gpu0").bytes_per_s)
        hw = hw.replace("link.gpu.latency_s", hw.link("gpu0").latency_s / faster)
        problem, costing = built(FORCED, hw).problem, Costing(hw, WORKLOAD)
        on_host = next(v for v in inputs_of(problem) if v.key[-2] == "host")
        on_gpu = next(v for v in inputs_of(problem) if v.key[-2] == "gpu")
        kept = next(iter(kept_inputs(traced(MHA), costing, FORCED, 0.0).values()))
        products = 2 * 2 * 4 * 48 * 32 * 32  # two products over four rows of 48 slots
        assert sum(work.flops for work in kept.op.remakes) > products
        assert kept.op.remakes[0].flops == products
        contexts = WORKLOAD.decode_contexts(with_prefill=True)
        fetch = stream_cost(costing, kept.attention, "host", contexts)
        assert fetch.first_s == pytest.approx(
            sum(w * s for (_, w), s in zip(contexts, fetch.fetch_s, strict=True))
        )
        assert on_gpu.seconds[1] == pytest.approx(23 * costing.run_cost(kept.op, "gpu").seconds)
        under_s = on_gpu.seconds[1] + fetch.first_s / 2
        if min(fetch.fetch_s) > on_gpu.seconds[1] / 23:
            ops_s = on_gpu.seconds[1] + fetch.first_s * 3 / 2 - on_host.seconds[1]
            assert 0.0 < ops_s - on_gpu.seconds[1] < fetch.first_s, (
                "the layer's other ops run under the fetch"
            )
        else:
            assert on_host.seconds[1] == pytest.approx(under_s, rel=0.05)
        assert (min(fetch.fetch_s) > on_gpu.seconds[1] / 23) == (faster == 1.0)
        assert sum(s for _, s in on_host.busy) >= fetch.loads["gpu.down"] * (1 - 1e-9)
        assert not on_gpu.busy

    def test_the_gpu_has_room_for_k_and_v_and_two_streams(self) -> None:
        hw = hardware(1e5).with_memory("host", 1e5)
        rows, whole = 4 * 48 * 32 * 2, 2 * 4 * 48 * 32 * 2
        assert built(FORCED, hw).reserved[0] >= 2 * rows + whole

    def test_weights_of_the_projections_stay_on_the_gpu(self) -> None:
        config = MHA.replace(hidden_size=1024, num_heads=4, num_kv_heads=4, head_size=256)
        found = trace_model(adapt(abstract_transformer(config)), hardware(), WORKLOAD)
        hw = hardware(1e5).replace("drive.flash.page_bytes", 512)
        costing, paired = Costing(hw, WORKLOAD), PairedGraphs.of(found.graphs)
        kept = kept_inputs(found, costing, FORCED, 0.0)
        mode = Mode("gpu", streaming=True, recompute=True)
        problem = build_problem(paired, costing, FORCED, mode, (1.0, 23.0), kept).problem
        homes = {c.name: {v.key[2] for v in c.variants} for s in problem.stages for c in s.block.choices}
        assert homes["blocks.*.attention.key"] == homes["blocks.*.attention.value"] == {"gpu"}
        assert homes["blocks.*.attention.query"] == {"gpu", "host"}


@pytest.mark.parametrize(
    ("gpu_bytes", "host_bytes"), list(itertools.product((9e4, 1.1e5, 1.3e5, 1e6), (1e3, 1.4e4, 1e6)))
)
def test_the_solver_finds_what_trying_everything_finds(gpu_bytes: float, host_bytes: float) -> None:
    """The attentions of the problem alone, whose variants are those of both forms."""
    policy = dataclasses.replace(POLICIES["auto"], split=False, micro_batches=1, compute=("gpu",))
    policy = dataclasses.replace(policy, prefill_attention=("gpu",), weight_homes=("gpu",))
    problem = built(policy, hardware(8e4).with_memory("host", 1e5)).problem
    assert inputs_of(problem)
    problem = dataclasses.replace(problem, capacities=(gpu_bytes, host_bytes, problem.capacities[2]))
    expected, found = exhaustive(problem), solve(problem)
    if isinstance(expected, Infeasible):
        assert isinstance(found, Infeasible)
        return
    assert isinstance(found, Solution)
    assert found.objective == pytest.approx(expected.objective, rel=1e-6)
    assert lower_bound(problem).at(problem.capacities) <= found.bound * (1 + 1e-9)
    assert found.bound <= found.objective * (1 + 1e-9)


def test_modes_with_inputs_come_first_where_k_and_v_have_to_be_fetched() -> None:
    modes = [
        Mode("gpu", streaming=False, micro_batches=2),
        Mode("gpu", streaming=False),
        Mode("gpu", streaming=True),
    ]
    own, alone = (Mode("gpu", streaming=streams, recompute=True) for streams in (False, True))
    found = traced(MHA)
    roomy = Room.of(found, Costing(hardware(), WORKLOAD), 0.0)
    short = Room.of(found, Costing(hardware(1e3, 0).with_memory("host", 1e3), WORKLOAD), 0.0)
    assert with_recompute(modes, POLICIES["auto"], roomy) == [*modes, own]
    assert with_recompute(modes, POLICIES["auto"], short) == [own, *modes]
    assert with_recompute(modes, POLICIES["recompute"], short) == [alone]
    assert math.isfinite(short.weight_bytes)
