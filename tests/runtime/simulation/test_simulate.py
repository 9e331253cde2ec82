"""Simulations of whole generations: what they say, what they refuse, and how they stand to the prediction."""

import json
from dataclasses import replace
from functools import cache
from itertools import product

import pytest

from benchmarks.simulation.cells import FIXED, TINY_CONTEXTS, Cell, Held, Load, drawn, hold
from cost_models import HardwareSpec
from models import abstract
from partitioner import Plan, Workload, partition
from runtime import SessionError, SimulatedRun, simulate
from runtime.simulation.counted_system import CountedSystem
from runtime.simulation.prefill_slices import SETTLED, sum_prefill

BAR = 0.03
LARGER = (("a6000-csd", 8.0), ("smartssd-16", None))
"""Systems and compressions of the larger model's loads."""
LARGE = Workload(32, 96, 160)


@cache
def large(policy: str) -> Plan:
    """Returns a plan of a model that this machine could not run."""
    return partition(abstract("opt-6.7b"), HardwareSpec.load("a6000-csd").with_drives(2), LARGE, policy)


@cache
def simulated(policy: str) -> SimulatedRun:
    return simulate(large(policy))


class TestALargeModel:
    """A model without weights, on drives that hold more than this machine does."""

    def test_time_is_that_of_the_prediction(self) -> None:
        plan, run = large("instinfer"), simulated("instinfer")
        assert run.prefill_s == pytest.approx(plan.prefill_seconds, rel=BAR)
        assert run.decode_s == pytest.approx(plan.total_decode_seconds, rel=BAR)
        assert run.tokens_per_second == pytest.approx(plan.tokens_per_second, rel=BAR)

    def test_a_sample_stands_for_every_step(self) -> None:
        run, every = simulated("instinfer"), simulate(large("instinfer"), every_step=True)
        assert run.num_steps < every.num_steps / 4
        assert run.decode_s == pytest.approx(every.decode_s, rel=1e-3)
        assert run.busy_s == pytest.approx(every.busy_s, rel=1e-2)
        assert run.num_bytes == pytest.approx(every.num_bytes, rel=1e-2)

    def test_no_resource_is_in_use_longer_than_the_generation(self) -> None:
        run = simulated("instinfer")
        assert max(run.busy_s.values()) <= run.total_s
        assert {"gpu0", "csd0", "csd1", "csd0.up", "csd0.down"} <= set(run.busy_s)

    def test_the_timeline_is_of_the_step_asked_for(self) -> None:
        early, late = (simulate(large("instinfer"), context_len=n) for n in (100, 250))
        assert (early.context_len, late.context_len) == (100, 250)
        assert early.timeline.end_s < late.timeline.end_s
        assert late.timeline.end_s == pytest.approx(large("instinfer").decode_seconds(250), rel=BAR)

    def test_equal_plans_take_equal_times(self) -> None:
        assert simulate(large("instinfer")).to_dict() == simulated("instinfer").to_dict()

    def test_plain_data_is_json(self) -> None:
        data = json.loads(json.dumps(simulated("instinfer").to_dict()))
        assert data["total_s"] == pytest.approx(data["prefill_s"] + data["decode_s"])

    @pytest.mark.parametrize("context_len", [0, LARGE.max_len + 1])
    def test_a_step_beyond_the_generation_is_refused(self, context_len: int) -> None:
        with pytest.raises(SessionError, match=r"sequences grow to 256 tokens; give 1 to 256"):
            simulate(large("instinfer"), context_len=context_len)

    def test_the_software_of_published_systems_is_refused(self) -> None:
        hw = HardwareSpec.load("paper-a6000-csd")
        with pytest.raises(
            SessionError, match=r"a simulation knows hardware alone; give hardware without it"
        ):
            simulate(partition(abstract("opt-125m"), hw, Workload(1, 64, 2), "instinfer"))

    def test_drives_that_are_too_small_are_refused(self) -> None:
        plan = large("instinfer")
        small = plan.hw.replace("drive.flash.blocks_per_plane", 1)
        with pytest.raises(SessionError, match=r"cannot hold its caches.*Lower the batch"):
            simulate(replace(plan, hw=small))


def test_slices_beyond_the_first_ones_follow_their_rhythm() -> None:
    plan = partition(
        abstract("opt-125m"),
        HardwareSpec.load("a6000-csd").with_memory("gpu0", 4e9),
        Workload(256, 1024, 2),
        "instinfer",
    )
    assert plan.prefill is not None
    assert plan.workload.batch_size // plan.prefill.rows > SETTLED
    some, every = (
        sum_prefill(plan, CountedSystem(plan), 1024, every_slice=every_slice) for every_slice in (False, True)
    )
    assert some.seconds == pytest.approx(every.seconds, rel=1e-3)
    assert some.use.num_bytes == pytest.approx(every.use.num_bytes, rel=1e-9)


class TestTheGrid:
    """The cells of ``python -m benchmarks.simulator``, some of them."""

    def test_predictions_are_within_the_bar(self) -> None:
        held = grid()
        assert len(held) >= 30
        off = {str(h.cell): h.error for h in held if abs(h.error) > BAR}
        assert not off

    def test_an_equal_seed_draws_equal_cells(self) -> None:
        first, again, more = (list(drawn(n, 0)) for n in (3, 3, 5))
        assert first == again == more[:3]

    def test_a_cell_that_fits_nowhere_is_left_out(self) -> None:
        load = Load("opt-125m", "a6000-csd", 4096, 1024, 1000, None)
        assert hold(Cell(load, "gpu-only", 1), load.trace()) is None


@cache
def grid() -> list[Held]:
    loads = [Load("tiny", "demo", batch, *tokens, None) for batch in (1, 16) for tokens in TINY_CONTEXTS]
    loads += [Load("opt-6.7b", system, 16, 256, 128, ratio) for system, ratio in LARGER]
    found: list[Held] = []
    for load in loads:
        traced = load.trace()
        cells = [Cell(load, policy, drives) for policy, drives in product(FIXED, (1, 3))]
        found += filter(None, (hold(cell, traced) for cell in cells))
    return found
