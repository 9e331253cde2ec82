"""Sessions on a device with memory of its own keep some parameters as one; the tests lend that memory to the CPU."""

import pytest

from partitioner import Workload
from partitioner.plan.steps import Move
from runtime import Session, hand_over, system
from runtime.weight_packs import WeightPack, find_packs
from tests.runtime.forced_plans import forced_plan
from tests.runtime.tiny_models import PROMPTS, WORKLOAD, demo_hardware, plain_tokens, plan_for, transformer

QKV = tuple(f"blocks.0.attention.{part}.kernel" for part in ("query", "key", "value"))


@pytest.fixture
def own_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets JAX's CPU device pass for one that everything is copied to."""
    for module in (system, hand_over):
        monkeypatch.setattr(module, "has_own_memory", lambda device: True)


@pytest.mark.parametrize("policy", ["gpu-only", "instinfer", "host-attention"])
@pytest.mark.usefixtures("own_memory")
def test_tokens_stay_the_same(policy: str) -> None:
    """Parameters are packed, and operands and results of attentions cross in pinned buffers."""
    model = transformer()
    with Session(plan_for(model, policy), model, clock="virtual") as session:
        tokens = session.generate(PROMPTS, max_new_tokens=8).tokens
        again = session.generate(PROMPTS[:1], max_new_tokens=3).tokens
    expected = plain_tokens(model, PROMPTS, 8, WORKLOAD.max_len)
    assert tokens == expected
    assert again == [expected[0][:3]]


@pytest.mark.usefixtures("own_memory")
def test_any_mixture_of_devices_stays_the_same() -> None:
    """Parameters of one product that live apart, stream or are kept twice are among what is drawn."""
    model = transformer("float16", num_kv_heads=2, num_layers=3)
    plan = forced_plan(model, demo_hardware().replace("drive.flash.page_bytes", 128), WORKLOAD, 1)
    with Session(plan, model, clock="virtual") as session:
        tokens = session.generate(PROMPTS, max_new_tokens=4).tokens
    assert tokens == plain_tokens(model, PROMPTS, 4, WORKLOAD.max_len)


def test_packs_are_what_both_phases_read_together() -> None:
    plan = plan_for(transformer(), "gpu-only")
    packs = find_packs(plan, "gpu0")
    assert packs[0] == WeightPack(QKV, 1)
    assert [len(p.members) for p in packs] == [3, 2, 3, 2]
    assert find_packs(plan, "host") == ()


def test_a_single_row_is_not_packed_for() -> None:
    assert find_packs(plan_for(transformer(), "gpu-only", workload=Workload(1, 12, 10)), "gpu0") == ()


@pytest.mark.usefixtures("own_memory")
def test_members_are_not_kept_besides_the_whole() -> None:
    model = transformer()
    with Session(plan_for(model, "gpu-only"), model, clock="virtual") as session:
        weights = session._ready().system.processors["gpu0"].weights
    assert weights[" + ".join(QKV)].shape == (32, 96)
    assert weights.keys().isdisjoint(QKV)
    assert sum(w.size for w in weights.values()) == model.config.num_parameters


def test_parameters_that_stream_are_left_alone() -> None:
    streamed: set[str] = set()
    for seed in range(6):
        plan = forced_plan(transformer(), demo_hardware(), WORKLOAD, seed)
        moved = {n for s in plan.decode.steps if isinstance(s, Move) for n in s.names if "kernel" in n}
        streamed |= moved
        for device in ("gpu0", "host"):
            assert moved.isdisjoint(n for pack in find_packs(plan, device) for n in pack.members)
    assert streamed
