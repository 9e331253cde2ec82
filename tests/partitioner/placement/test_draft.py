"""A draft's bound holds for the problem with any home of shared weights, and homes have in common what they should."""

from functools import cache

import pytest

from cost_models import HardwareSpec
from models import abstract
from partitioner.costing import Costing
from partitioner.front import Traced, trace_model
from partitioner.frontend import adapt
from partitioner.placement.build import BuiltProblem, PairedGraphs, build_problem, built
from partitioner.placement.draft import Drafts, Mode
from partitioner.placement.lower_bound import NO_PRICES, lower_bound, named_prices
from partitioner.placement.policies import POLICIES
from partitioner.placement.problem import Solution
from partitioner.placement.solve import solve
from partitioner.placement.variants import ANY
from partitioner.workload import Workload

LOAD = Workload(4, 32, 32)
STEPS = (1.0, 31.0)
STREAMED = Mode(ANY, streaming=True)


@cache
def traced() -> Traced:
    """Returns a model whose largest weights are shared: those of its embedding."""
    return trace_model(adapt(abstract("opt-125m", num_layers=2)), HardwareSpec.load("a6000-csd"), LOAD)


def drafts() -> Drafts:
    hw = HardwareSpec.load("a6000-csd").with_memory("gpu0", 280e6)
    paired = PairedGraphs.of(traced().graphs)
    return Drafts(paired, Costing(hw, LOAD), POLICIES["auto"], STEPS, {})


def solved(problem: BuiltProblem) -> Solution:
    found = solve(problem.problem)
    assert isinstance(found, Solution)
    return found


@pytest.mark.parametrize("home", ["gpu", "host"])
def test_a_bound_without_a_home_holds_with_any(home: str) -> None:
    own = drafts()
    free, fixed = own.of(STREAMED), built(own.of(Mode(home, streaming=True)))
    assert free.buffer_bytes > 0
    assert free.roomiest[0] >= fixed.problem.capacities[0]
    found = solved(fixed)
    prices = named_prices(fixed.problem, found.price)
    priced = lower_bound(free.apart, prices)
    assert 0 < lower_bound(free.apart, NO_PRICES).at(free.roomiest) <= found.objective
    assert 0 < priced.at(free.roomiest) <= found.objective * (1 + 1e-9)
    assert priced.at(free.roomiest) <= priced.at(free.capacities)


def test_attentions_alone_cost_no_more() -> None:
    own = drafts()
    alone, whole = own.attentions(STREAMED), own.of(STREAMED).apart
    assert alone is not None
    assert 0 < lower_bound(alone).fastest_s < lower_bound(whole).fastest_s
    attend = [c for c in own.of(STREAMED).choices if c.name == "blocks.*.attention"]
    assert {id(c) for s in alone.stages for c in s.block.choices} == {id(c) for c in attend}
    assert sum(stage.count for stage in alone.stages) == len(attend) == 2


def test_ops_apart_cost_no_more_than_their_problem_says() -> None:
    draft = drafts().of(STREAMED)
    problem = built(draft).problem
    prices = named_prices(problem, solved(built(draft)).price)
    apart, together = (lower_bound(p, prices).at(draft.capacities) for p in (draft.apart, problem))
    assert apart == pytest.approx(together, rel=1e-12)


def test_homes_have_all_in_common_but_the_ops_that_use_shared_weights() -> None:
    own = drafts()
    gpu, host = (own.of(Mode(home, streaming=True)) for home in ("gpu", "host"))
    shared = {pair for users in gpu.paired.users.values() for pair in users}
    assert shared
    for pair, (first, second) in enumerate(zip(gpu.choices, host.choices, strict=True)):
        assert (first == second) == (pair not in shared)
        assert pair in shared or pair == 0 or first.variants is second.variants
    alone = drafts().of(Mode("host", streaming=True))
    assert alone.choices == host.choices
    assert alone.buffer_bytes == host.buffer_bytes
    assert build_problem(gpu.paired, gpu.costing, POLICIES["auto"], host.mode, STEPS) == built(host)
