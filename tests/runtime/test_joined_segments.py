"""Between two attentions a processor launches one executable: parts put together, the segment, and what is sent packed."""

from collections.abc import Callable

import jax
import numpy as np
import pytest

from partitioner.plan.steps import Segment
from runtime import Session, hand_over, joined_segments, system
from runtime.jax_device import mesh_of
from runtime.joined_segments import JoinedSegment
from runtime.segment_executables import SegmentExecutables
from runtime.share_merges import Gathered
from tests.runtime.tiny_models import PROMPTS, WORKLOAD, plain_tokens, plan_for, transformer

NUM_LAYERS = 3


@pytest.fixture
def own_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets JAX's CPU device pass for one that everything is copied to."""
    for module in (system, hand_over):
        monkeypatch.setattr(module, "has_own_memory", lambda device: True)


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int, int]]:
    """Notes for each launch of a segment how many of its inputs are merged by it, and how many operands it sends."""
    found: list[tuple[int, int, int]] = []
    launch: Callable[..., tuple[object, dict[object, object]]] = SegmentExecutables.launch

    def noted(own: SegmentExecutables, segment: Segment, inputs: list[object]) -> object:
        outputs, sent = launch(own, segment, inputs)
        found.append((segment.index, sum(isinstance(i, Gathered) for i in inputs), len(sent)))
        return outputs, sent

    monkeypatch.setattr(SegmentExecutables, "launch", noted)
    return found


def joined_of(session: Session) -> dict[int, JoinedSegment]:
    return session._ready().phases.decode.runner._segments._joined


@pytest.mark.usefixtures("own_memory")
def test_a_layer_is_one_launch(launched: list[tuple[int, int, int]]) -> None:
    model = transformer(num_layers=NUM_LAYERS)
    with Session(plan_for(model, "instinfer"), model, clock="virtual") as session:
        launched.clear()
        tokens = session.generate(PROMPTS, max_new_tokens=3).tokens
        joined = joined_of(session)
    assert tokens == plain_tokens(model, PROMPTS, 3, WORKLOAD.max_len)
    order = [numbers[1:] for numbers in launched[-(NUM_LAYERS + 1) :]]
    assert order == [(0, 1), *[(1, 1)] * (NUM_LAYERS - 1), (1, 0)]
    layers = [one for one in joined.values() if one.merges and one.packs]
    assert len(layers) == NUM_LAYERS - 1
    assert len({one.joints for one in layers}) == 1


def test_a_device_of_the_host_packs_nothing(launched: list[tuple[int, int, int]]) -> None:
    model = transformer(num_layers=NUM_LAYERS)
    with Session(plan_for(model, "instinfer"), model, clock="virtual") as session:
        launched.clear()
        session.generate(PROMPTS, max_new_tokens=3)
    assert [numbers[1:] for numbers in launched[-(NUM_LAYERS + 1) :]] == [(0, 0), *[(1, 0)] * NUM_LAYERS]


def test_segments_of_several_devices_are_not_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    model = transformer()
    with Session(plan_for(model, "instinfer"), model, clock="virtual") as session:
        runner = session._ready().phases.decode.runner
        own = runner._segments
        gpu = session._ready().system.processors["gpu0"]
        monkeypatch.setattr(gpu, "device", mesh_of(jax.devices("cpu")[:1]))
        found = joined_segments.join_segments(runner.program, runner.system, own._merges, own._sends)
    assert found == {}


def test_arguments_of_merges_come_last() -> None:
    one, two = np.zeros(1), np.ones(1)
    assert joined_segments.arguments_of([one, Gathered((two, two)), 3]) == [one, 3, two, two]
