"""The order in which predicted steps take their resources."""

from dataclasses import replace

import pytest

from partitioner.plan.assemble import assemble_plan
from partitioner.plan.ready_steps import ReadySteps, StepOrder
from partitioner.plan.steps import Run
from partitioner.plan.stream_buffers import LEAST_AHEAD, StreamWindow, weight_buffer_bytes
from tests.partitioner.plan.plans import WIDE_LOAD, forced_plan, traced_wide, ways

GPU = ways("gpu", "gpu", "gpu")
HOST_WEIGHTS = ways("gpu", "gpu", "host")


def run(number: int, device: str, *after: int) -> Run:
    return Run(number, 0, device, None, after)


def order(steps: list[Run], seconds: list[float], repeat: int = 1) -> list[tuple[float, int, int]]:
    """Returns (when ready, turn, step) in the order in which steps are handed out."""
    ready = ReadySteps(StepOrder.of(steps), [step.device for step in steps], repeat)
    found: list[tuple[float, int, int]] = []
    while (taken := ready.take()) is not None:
        start, turn, step, part = taken
        found.append((start, turn, step))
        ready.end(turn, step, part + 1, start + seconds[step])
    return found


class TestReadySteps:
    def test_what_is_ready_first_goes_first_and_plan_order_decides_between_equals(self) -> None:
        steps = [run(0, "gpu0"), run(1, "down", 0), run(2, "down"), run(3, "gpu0", 1, 2)]
        assert order(steps, [2.0, 1.0, 1.0, 1.0]) == [(0.0, 0, 0), (0.0, 0, 2), (2.0, 0, 1), (3.0, 0, 3)]

    def test_a_resource_serves_one_turn_after_the_other(self) -> None:
        steps = [run(0, "gpu0"), run(1, "up", 0), run(2, "gpu0", 0)]
        taken = [(turn, number) for _, turn, number in order(steps, [1.0, 5.0, 1.0], repeat=2)]
        assert taken.index((1, 0)) > taken.index((0, 2))
        assert taken.index((1, 1)) > taken.index((0, 1))
        assert sorted(taken) == [(turn, number) for turn in range(2) for number in range(3)]


class TestWindow:
    def test_streams_wait_for_the_run_that_makes_room(self) -> None:
        window = StreamWindow(100.0)
        for number, size in enumerate((40.0, 30.0, 30.0)):
            assert window.wait_for(size) == set()
            window.used_by(number, size)
        assert window.wait_for(40.0) == {0}
        assert window.wait_for(41.0) == {1}
        assert window.wait_for(1000.0) == {1}  # the last use may be in flight in any case

    def test_slices_share_the_room(self) -> None:
        window = StreamWindow(100.0, sliced=True)
        for number in range(2):
            window.used_by(number, 20.0)
        assert window.wait_for(10.0) == set()
        assert window.wait_for(11.0) == {0}

    def test_two_uses_always_have_room_in_the_reserve(self) -> None:
        for largest, layer, memory in (
            (1.0, 6.0, 1000.0),
            (1.0, 6.0, 40.0),
            (1.0, 6.0, 1.0),
            (5.0, 0.0, 1000.0),
        ):
            assert weight_buffer_bytes(largest, layer, memory) >= LEAST_AHEAD * largest


def test_weights_stream_under_an_attention_that_is_waited_for() -> None:
    """They take the link that the output comes back on, and their bytes are there when the GPU goes on."""
    traced = traced_wide()
    forced = forced_plan(ways("gpu", "csd", "csd"), GPU, up=HOST_WEIGHTS, down=HOST_WEIGHTS)
    roomy = {"gpu": 1e9, "host": 0.0, "csd": 0.0}
    plan = assemble_plan(
        traced, forced.hw, WIDE_LOAD, "auto", replace(forced.decisions, reserved_bytes=roomy)
    )
    events = plan.predicted_timeline("decode", 112).events
    streams = [e for e in events if e.name.startswith("stream_weights") and e.resource == "gpu0.down"]
    first_attention = next(e for e in events if e.resource == "csd0")
    assert len({e.name for e in streams}) == 4
    assert streams[0].start_s < first_attention.start_s
    assert streams[1].start_s < first_attention.end_s
    assert plan.decode_seconds(112) <= forced.decode_seconds(112)


@pytest.mark.parametrize("micro_batches", [1, 2])
def test_ends_alone_are_those_of_the_timelines(micro_batches: int) -> None:
    """What is scheduled without keeping events takes as long as with them, streams of weights among the steps."""
    plan = forced_plan(ways("gpu", "csd", "csd"), GPU, up=HOST_WEIGHTS, down=HOST_WEIGHTS)
    plan = replace(plan, decisions=replace(plan.decisions, micro_batches=micro_batches))
    assert plan.prefill_seconds == plan.prefill_timeline.end_s > 0
    assert plan.decode_seconds(112) == plan.predicted_timeline("decode", 112).end_s > 0
