"""Any valid mixture of devices generates the tokens of the plain model: small weights kept twice, streams, shares and all."""

from collections.abc import Callable
from typing import Any

import pytest

from partitioner.plan.steps import Move
from runtime import Session
from tests.runtime.forced_plans import forced_plan
from tests.runtime.tiny_models import (
    PROMPTS,
    WORKLOAD,
    counting_decoder,
    demo_hardware,
    plain_tokens,
    running_mean,
    transformer,
)

MODELS: dict[str, Callable[[], Any]] = {
    "llama": lambda: transformer("float16", num_kv_heads=2, num_layers=3),
    "opt": lambda: transformer(position="learned", num_layers=3),
    "flax attention": counting_decoder,
    "no attention": running_mean,
}
SEEDS = range(4)


def plan_of(name: str, seed: int) -> Any:
    hw = demo_hardware(1 + seed % 3).replace("drive.flash.page_bytes", 128)
    return forced_plan(MODELS[name](), hw, WORKLOAD, seed)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("seed", SEEDS)
def test_tokens_equal_plain_jit(name: str, seed: int) -> None:
    model = MODELS[name]()
    with Session(plan_of(name, seed), model, clock="virtual") as session:
        result = session.generate(PROMPTS, max_new_tokens=10)
    assert result.tokens == plain_tokens(model, PROMPTS, 10, WORKLOAD.max_len)


def test_the_draws_cover_what_plans_can_do() -> None:
    """Every kind of move is there in decode steps and in a prefill, and so are weights kept on two devices."""
    plans = [plan_of(name, seed) for name in ("llama", "opt") for seed in SEEDS]
    phases = [phase for plan in plans for phase in (plan.prefill, plan.decode)]
    kinds = {(p.graph.phase.name, s.kind) for p in phases if p for s in p.steps if isinstance(s, Move)}
    assert kinds == {
        ("prefill", "hand_over"),
        ("prefill", "stream_weights"),
        ("prefill", "store_cache"),
        ("decode", "hand_over"),
        ("decode", "stream_weights"),
        ("decode", "stream_cache"),
        ("decode", "append_cache"),
    }
    assert any(plan.copies for plan in plans)
    homes = [{s.device[:3] for shares in plan.caches.values() for s in shares} for plan in plans]
    assert {"gpu", "hos", "csd"} in homes
