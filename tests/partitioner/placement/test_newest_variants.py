"""Ways to share an attention whose newest tokens live in host memory, held against the plans that have them."""

from dataclasses import replace
from functools import cache

import pytest

from cost_models import HardwareSpec
from models import abstract
from partitioner import Plan, Workload, partition
from partitioner.costing import Costing
from partitioner.placement import policies
from partitioner.placement.build import BuiltProblem, Mode, build_problem
from partitioner.placement.exhaustive import exhaustive
from partitioner.placement.paired_graphs import PairedGraphs
from partitioner.placement.policies import POLICIES
from partitioner.placement.problem import Problem, Solution
from partitioner.placement.solve import solve
from partitioner.placement.variant_list import Variant
from tests.partitioner.plan.plans import WIDE, WIDE_LOAD, forced_plan, shared, traced_wide, ways

GPU = ways("gpu", "gpu", "gpu")
CASES = ((0, 8, 64), (2, 6, 64), (0, 8, 32), (4, 4, 96))
"""Units of GPU and drives, and newest tokens in host memory."""


def crowded(host_bytes: float = 4.0e5, gpu_bytes: float = 2.05e7) -> HardwareSpec:
    """Returns the demo system with memory for the wide model's weights, and for few of its 1 MB of K and V."""
    hw = HardwareSpec.load("demo").with_drives(2)
    return replace(
        hw,
        gpus=(replace(hw.gpus[0], memory_bytes=gpu_bytes),),
        host=replace(hw.host, memory_bytes=host_bytes),
    )


@cache
def built(host_bytes: float = 4.0e5, policy: str = "auto", micro_batches: int = 1) -> BuiltProblem:
    traced = traced_wide(2, micro_batches)
    steps = [WIDE_LOAD.batch_size / traced.graphs[0].phase.batch_size, float(WIDE_LOAD.decode_len - 1)]
    hw = crowded(host_bytes, 2.05e7 if micro_batches == 1 else 1.9e7)  # half the rows, half the activations
    mode = Mode("gpu", streaming=False, micro_batches=micro_batches)
    return build_problem(
        PairedGraphs.of(traced.graphs), Costing(hw, WIDE_LOAD), POLICIES[policy], mode, steps
    )


def attentions(problem: Problem) -> tuple[Variant, ...]:
    return next(
        choice.variants
        for stage in problem.stages
        for choice in stage.block.choices
        if choice.name.endswith("attention")
    )


def keys(problem: Problem) -> set[tuple[str, ...]]:
    return {v.key for v in attentions(problem) if any("newest" in part for part in v.key)}


def plan_with(gpu: int, csd: int, newest: int) -> Plan:
    split = shared(gpu=gpu, csd=csd) if gpu else shared(csd=csd)
    return forced_plan(replace(split, newest=newest), GPU, 2)


@pytest.mark.parametrize(("gpu", "csd", "newest"), CASES)
def test_a_variant_takes_as_long_and_as_much_as_the_plan_that_has_it(gpu: int, csd: int, newest: int) -> None:
    plan, plain = plan_with(gpu, csd, newest), forced_plan(GPU, GPU, 2)
    split = [f"gpu={gpu}"] if gpu else []
    key = ("gpu", "split", "split", *split, f"csd={csd}", f"newest={newest}")
    found = {v.key: v for v in attentions(built().problem)}
    change_s = 2 * (found[key].seconds[1] - found["gpu", "gpu", "gpu"].seconds[1])
    assert plan.total_decode_seconds - plain.total_decode_seconds == pytest.approx(change_s, rel=0.02)
    table = plan.resident_bytes()
    kept = [
        sum(row["kv_cache"] for d, row in table.items() if d.startswith(t)) for t in ("gpu", "host", "csd")
    ]
    assert [2 * held for held in found[key].memory] == kept


def test_windows_come_in_few_sizes_of_whole_pages() -> None:
    found = keys(built().problem)
    sizes = {int(part.removeprefix("newest=")) for key in found for part in key if part.startswith("newest")}
    assert sizes == {32, 64, 96}  # pages of 32 tokens, contexts of 128
    assert len(found) < 40


@pytest.mark.parametrize("micro_batches", [1, 2])
def test_windows_are_offered_where_drives_have_to_hold_something(micro_batches: int) -> None:
    assert keys(built(micro_batches=micro_batches).problem)
    assert not keys(built(1.0e9, micro_batches=micro_batches).problem)
    assert not keys(built(0.0, micro_batches=micro_batches).problem)
    assert not keys(built(policy="instinfer").problem)


def test_what_is_found_among_windows_is_the_best_of_all() -> None:
    """Each layer has a few windows and a few plain shares to choose from; host memory holds less than two large windows."""
    rng_keys = sorted(keys(built().problem))[::4]
    others = [("gpu", "split", "split", "host=2", "csd=6"), ("gpu", "split", "split", "gpu=1", "csd=7")]
    wanted = {*rng_keys, *others}
    for host_bytes in (1.5e5, 2.6e5, 4.0e5):
        problem = built(host_bytes).problem
        stages = tuple(
            replace(
                stage,
                block=replace(
                    stage.block,
                    choices=tuple(
                        replace(
                            choice,
                            variants=tuple(v for v in choice.variants if v.key in wanted)
                            if choice.name.endswith("attention")
                            else choice.variants[:1],
                        )
                        for choice in stage.block.choices
                    ),
                ),
            )
            for stage in problem.stages
        )
        small = replace(problem, stages=stages)
        best, found = exhaustive(small), solve(small)
        assert isinstance(best, Solution)
        assert isinstance(found, Solution)
        assert found.objective == pytest.approx(best.objective, rel=1e-9)
        assert found.bound <= best.objective * (1 + 1e-9)


def test_auto_is_better_for_windows_and_never_worse(monkeypatch: pytest.MonkeyPatch) -> None:
    auto = POLICIES["auto"]
    plans: list[Plan] = []
    load = Workload(32, 32, 96)  # 17 MB of K and V
    for newest in (False, True):
        monkeypatch.setitem(policies.POLICIES, "auto", replace(auto, newest=newest))
        plans.append(partition(abstract(WIDE), crowded(4.0e6, 2.8e7), load))
    without, with_windows = plans
    assert any(decision.newest for decision in with_windows.decisions.ops.values())
    assert with_windows.decisions.certificate.objective < 0.98 * without.decisions.certificate.objective
    assert with_windows.total_seconds < 0.98 * without.total_seconds
    assert with_windows.resident_bytes()["host"]["kv_cache"] > 3.9e6
