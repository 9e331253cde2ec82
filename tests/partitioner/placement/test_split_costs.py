"""What splits cost, held against the same splits at single contexts, and against the plans that make them."""

from dataclasses import replace

import pytest

from partitioner.costing import Costing
from partitioner.placement.build import Mode, PairedGraphs, build_problem
from partitioner.placement.policies import POLICIES
from partitioner.placement.split_costs import SplitCosts, split_costs
from partitioner.workload import Workload
from tests.partitioner.plan.plans import WIDE_LOAD, forced_plan, shared, traced_wide, ways

CONTEXTS = ((2, 1.0), (32, 3.0), (127, 2.0))


def costs_of(contexts: tuple[tuple[int, float], ...]) -> SplitCosts:
    costing = Costing(forced_plan(shared(host=8), ways("gpu", "gpu", "gpu")).hw, WIDE_LOAD)
    attention = next(op.attention for op in traced_wide().graphs[-1].ops if op.attention)
    return split_costs(costing, attention, ("gpu", "host", "csd"), contexts, WIDE_LOAD.batch_size)


def test_every_context_has_its_own_slowest_share() -> None:
    together, apart = costs_of(CONTEXTS), [costs_of((context,)) for context in CONTEXTS]
    assert len({tuple(units) for units in together.units.tolist()}) == 45  # 8 units over 3 tiers
    assert (together.units.sum(axis=1) == 8).all()
    for row, cost in enumerate(apart):
        assert (cost.units == together.units).all()
        assert (together.gpu_s[row] == cost.gpu_s[0]).all()
        assert (together.others_s[row] == cost.others_s[0]).all()
    assert together.resume_s == pytest.approx(sum(c.resume_s for c in apart))


@pytest.mark.parametrize(
    "units", [{"gpu": 2, "host": 2, "csd": 4}, {"host": 5, "csd": 3}, {"gpu": 7, "host": 1}]
)
def test_a_variant_takes_as_long_as_the_plan_that_has_it(units: dict[str, int]) -> None:
    """Predicted steps over the generation differ by an attention from those without it by what its variant says."""
    traced, load = traced_wide(), replace(WIDE_LOAD, decode_len=32)
    gpu = ways("gpu", "gpu", "gpu")
    plan, plain = forced_plan(shared(**units), gpu), forced_plan(gpu, gpu)
    paired = PairedGraphs.of(traced.graphs)
    costing = Costing(plan.hw, load)
    steps = [load.batch_size / traced.graphs[0].phase.batch_size, float(load.decode_len - 1)]
    built = build_problem(paired, costing, POLICIES["auto"], Mode("gpu", streaming=False), steps)
    choice = next(c for s in built.problem.stages for c in s.block.choices if c.name == "blocks.*.attention")
    key = ("gpu", "split", "split", *(f"{tier}={number}" for tier, number in units.items()))
    split, whole = (next(v for v in choice.variants if v.key == k) for k in (key, ("gpu", "gpu", "gpu")))
    change_s = 2 * (split.seconds[1] - whole.seconds[1])
    assert plan.total_decode_seconds - plain.total_decode_seconds == pytest.approx(change_s, rel=0.02)


def test_a_workload_without_decode_steps_costs_nothing() -> None:
    assert Workload(2, 96, 1).decode_contexts(with_prefill=True) == ()
    costs = costs_of(())
    assert costs.gpu_s.shape == costs.others_s.shape == (0, 45)
    assert costs.resume_s == 0.0
